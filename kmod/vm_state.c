// SPDX-License-Identifier: GPL-2.0-only
/* Saving the devices of a VM. */
#include <linux/kvm.h>

#include "kvmpeek.h"
#include "state.h"

static int irqchip_check(const struct kvmfork_record *record,
			 struct kvmfork_report *reason);

#define IRQCHIP(_id)				\
	.id = KVMFORK_STATE_##_id,		\
	.name = "KVM_SET_IRQCHIP",		\
	.cmd = KVM_SET_IRQCHIP,			\
	.size = sizeof(struct kvm_irqchip),	\
	.presence = KVMFORK_WITH_PIC,		\
	.check = irqchip_check

const struct kvmfork_record_type kvmfork_record_pic_slave = {
	IRQCHIP(PIC_SLAVE),
};

const struct kvmfork_record_type kvmfork_record_pic_master = {
	IRQCHIP(PIC_MASTER),
};

const struct kvmfork_record_type kvmfork_record_ioapic = {
	IRQCHIP(IOAPIC),
};

static u32 irqchip_id(const struct kvmfork_record_type *type)
{
	if (type == &kvmfork_record_pic_slave)
		return KVM_IRQCHIP_PIC_SLAVE;
	if (type == &kvmfork_record_pic_master)
		return KVM_IRQCHIP_PIC_MASTER;
	return KVM_IRQCHIP_IOAPIC;
}

static int irqchip_check(const struct kvmfork_record *record,
			 struct kvmfork_report *reason)
{
	const struct kvm_irqchip *chip = (const void *)record->data;

	if (chip->chip_id != irqchip_id(record->type))
		return kvmfork_report(reason, -EINVAL, "chip_id is %u",
				      chip->chip_id);
	return 0;
}

static int irqchip_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	/* The master last: it takes what the slave has pending at that time. */
	static const struct kvmfork_record_type *const types[] = {
		&kvmfork_record_pic_slave, &kvmfork_record_pic_master,
		&kvmfork_record_ioapic,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		struct kvmfork_record *record;
		struct kvm_irqchip *chip;
		long ret;

		record = kvmfork_state_add(state, types[i], sizeof(*chip));
		if (!record)
			return -ENOMEM;
		chip = (void *)record->data;
		chip->chip_id = irqchip_id(types[i]);
		ret = kvmfork_kvm_exchange(target->scratch, target->file,
					   KVM_GET_IRQCHIP, chip, sizeof(*chip));
		if (ret < 0)
			return kvmfork_target_report(target, "KVM_GET_IRQCHIP",
						     ret);
		/* Another thread of the caller's can have written there. */
		chip->chip_id = irqchip_id(types[i]);
	}
	return 0;
}

const struct kvmfork_record_type kvmfork_record_pit = {
	KVMFORK_PAIR(PIT, PIT2, struct kvm_pit_state2),
	.presence = KVMFORK_WITH_PIT,
};

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
	int ret = 0;

	if (shape->irqchip == KVMFORK_IRQCHIP_KERNEL)
		ret = irqchip_save(target, state);
	if (!ret && shape->pit)
		ret = kvmfork_state_save_pair(target, state, &kvmfork_record_pit);
	return ret;
}
