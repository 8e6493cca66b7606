// SPDX-License-Identifier: GPL-2.0-only
/* Saving the devices and the clock of a VM. */
#include <linux/kvm.h>
#include <linux/ktime.h>

#include "kvmpeek.h"
#include "state.h"

static int irqchip_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	/* The master last: it takes what the slave has pending at that time. */
	static const u32 chips[] = {
		KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_IOAPIC,
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

/* The guest's clock, and the host's at the same instant. */
struct clock_state {
	u64 clock;
	u64 boottime;
};

/* Realtime minus boottime, which changes when the host's time is set. */
static u64 realtime_offset(void)
{
	return ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_REAL)) -
	       ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_BOOT));
}

/*
 * The clock of the child goes on from where the parent's was, plus the time
 * since. KVM adds that by itself, with interrupts off, to what is given to it
 * with a realtime: reading the time here would add what passes until the call.
 */
static int clock_load(struct kvmfork_target *target,
		      const struct kvmfork_record *record)
{
	const struct clock_state *saved = (const void *)record->data;
	struct kvm_clock_data data = {
		.clock = saved->clock,
		.flags = KVM_CLOCK_REALTIME,
		.realtime = saved->boottime + realtime_offset(),
	};
	long ret;

	ret = kvmfork_kvm_set(target->scratch, target->file, record->cmd, &data,
			      sizeof(data));
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

int kvmfork_clock_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct kvm_clock_data data;
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
	/* Without the pair (the host's clock is not the TSC) it is a bit late. */
	saved->boottime = data.flags & KVM_CLOCK_REALTIME ?
			  data.realtime - realtime_offset() :
			  ktime_get_boottime_ns();
	return 0;
}

/* Of the modes of a channel, one in which it has no timer. */
#define PIT_MODE_IDLE	5

int kvmfork_devices_calm(struct kvmfork_target *target,
			 const struct kvmfork_shape *shape)
{
	struct kvm_pit_state2 idle = {
		.channels[0].mode = PIT_MODE_IDLE,
	};
	long ret;

	if (!shape->pit)
		return 0;
	ret = kvmfork_kvm_set(target->scratch, target->file, KVM_SET_PIT2, &idle,
			      sizeof(idle));
	return ret < 0 ? kvmfork_target_report(target, "KVM_SET_PIT2", ret) : 0;
}

int kvmfork_routing_load(struct kvmfork_target *target,
			 const struct kvm_irq_routing *routing)
{
	long ret = kvmfork_kvm_set(target->scratch, target->file,
				   KVM_SET_GSI_ROUTING, routing,
				   struct_size(routing, entries, routing->nr));

	if (ret < 0)
		return kvmfork_target_report(target, "KVM_SET_GSI_ROUTING", ret);
	return 0;
}

int kvmfork_devices_save(struct kvmfork_target *target,
			 const struct kvmfork_shape *shape,
			 struct kvmfork_state *state)
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
