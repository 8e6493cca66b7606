// SPDX-License-Identifier: GPL-2.0-only
/* Saving the devices and the clock of a VM. */
#include <linux/kvm.h>
#include <linux/ktime.h>

#include "kvmpeek.h"
#include "state.h"

static int irqchip_save(struct kvmfork_target *target, struct list_head *state)
{
	static const u32 chips[] = {
		KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(chips); i++) {
		struct kvmfork_record *record;
		struct kvm_irqchip *chip;
		long ret;

		record = kvmfork_state_add(state, "KVM_SET_IRQCHIP",
					   KVM_SET_IRQCHIP, NULL, sizeof(*chip));
		if (!record)
			return -ENOMEM;
		chip = (void *)record->data;
		chip->chip_id = chips[i];
		ret = kvmfork_kvm_exchange(target->scratch, target->file,
					   KVM_GET_IRQCHIP, chip, sizeof(*chip));
		if (ret < 0)
			return kvmfork_target_report(target, "KVM_GET_IRQCHIP",
						     ret);
	}
	return 0;
}

/* The guest's clock, and when that was. */
struct clock_state {
	u64 clock;
	u64 boottime;
};

/*
 * The clock of the child goes on from where the parent's was, plus the time
 * since. It never goes back: the clock was read before the time was.
 */
static int clock_load(struct kvmfork_target *target,
		      const struct kvmfork_record *record)
{
	const struct clock_state *saved = (const void *)record->data;
	struct kvm_clock_data data = {
		.clock = saved->clock + ktime_get_boottime_ns() - saved->boottime,
	};
	long ret;

	ret = kvmfork_kvm_set(target->scratch, target->file, record->cmd, &data,
			      sizeof(data));
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

int kvmfork_clock_save(struct kvmfork_target *target, struct list_head *state)
{
	struct kvm_clock_data data;
	struct kvmfork_record *record;
	struct clock_state *saved;
	long ret;

	record = kvmfork_state_add(state, "KVM_SET_CLOCK", KVM_SET_CLOCK,
				   clock_load, sizeof(*saved));
	if (!record)
		return -ENOMEM;
	ret = kvmfork_kvm_get(target->scratch, target->file, KVM_GET_CLOCK,
			      &data, sizeof(data));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_CLOCK", ret);
	saved = (void *)record->data;
	saved->clock = data.clock;
	saved->boottime = ktime_get_boottime_ns();
	return 0;
}

int kvmfork_devices_save(struct kvmfork_target *target,
			 const struct kvmfork_shape *shape,
			 struct list_head *state)
{
	static const struct kvmfork_pair pit =
		KVMFORK_PAIR(PIT2, struct kvm_pit_state2);
	int ret = 0;

	if (shape->irqchip == KVMFORK_IRQCHIP_KERNEL)
		ret = irqchip_save(target, state);
	if (!ret && shape->pit)
		ret = kvmfork_state_save_pair(target, state, &pit);
	return ret;
}
