// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_EXPORT: the state of a template as bytes. A template does not change,
 * so what is written in a second call is the same as in the first.
 */
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "load.h"
#include "template.h"

struct writer {
	char __user *to;
	u64 room;
	u64 pos;
};

/* What has no room is counted only. */
static int put(struct writer *writer, const void *data, size_t size)
{
	u64 pos = writer->pos;

	writer->pos += size;
	if (writer->pos > writer->room)
		return 0;
	return copy_to_user(writer->to + pos, data, size) ? -EFAULT : 0;
}

static int put_head(struct writer *writer, u32 type, u32 vcpu, u32 size)
{
	struct kvmfork_state_record head = {
		.type = type,
		.vcpu = vcpu,
		.size = size,
	};

	return put(writer, &head, sizeof(head));
}

static int put_record(struct writer *writer, u32 type, u32 vcpu,
		      const void *data, u32 size)
{
	static const u8 padding[KVMFORK_STATE_ALIGN];
	int ret;

	ret = put_head(writer, type, vcpu, size);
	ret = ret ?: put(writer, data, size);
	return ret ?: put(writer, padding, -size % KVMFORK_STATE_ALIGN);
}

static int put_host(struct writer *writer, const struct kvmfork_clock *clock)
{
	struct kvmfork_state_host host = {
		.virtualization = boot_cpu_has(X86_FEATURE_SVM) ?
				  KVMFORK_STATE_HOST_SVM : KVMFORK_STATE_HOST_VMX,
		.tsc_khz = clock->host_khz,
	};

	return put_record(writer, KVMFORK_STATE_HOST, KVMFORK_STATE_VM, &host,
			  sizeof(host));
}

static int put_shape(struct writer *writer,
		     const struct kvmfork_template *template)
{
	static const u32 irqchips[] = {
		[KVMFORK_IRQCHIP_NONE] = KVMFORK_STATE_IRQCHIP_NONE,
		[KVMFORK_IRQCHIP_KERNEL] = KVMFORK_STATE_IRQCHIP_KERNEL,
		[KVMFORK_IRQCHIP_SPLIT] = KVMFORK_STATE_IRQCHIP_SPLIT,
	};
	const struct kvmfork_shape *shape = &template->shape;
	struct kvmfork_state_shape saved = {
		.irqchip = irqchips[shape->irqchip],
		.split_pins = shape->split_pins,
		.flags = (shape->pit ? KVMFORK_STATE_SHAPE_PIT : 0) |
			 (shape->pit_speaker ? KVMFORK_STATE_SHAPE_SPEAKER : 0),
		.nr_vcpus = template->nr_vcpus,
		.boot_cpu_id = shape->boot_cpu_id,
		.tsc_khz = shape->tsc_khz,
		.tss_addr = shape->tss_addr,
		.identity_map_addr = shape->identity_map_addr,
		.traps = template->traps,
	};

	return put_record(writer, KVMFORK_STATE_SHAPE, KVMFORK_STATE_VM, &saved,
			  sizeof(saved));
}

static int put_caps(struct writer *writer, const struct kvmfork_shape *shape)
{
	struct kvmfork_state_cap saved[KVMFORK_NR_CAPS] = {};
	u32 i;

	for (i = 0; i < KVMFORK_NR_CAPS; i++) {
		saved[i].cap = shape->caps[i].cap;
		saved[i].value = shape->caps[i].value;
	}
	return put_record(writer, KVMFORK_STATE_CAPS, KVMFORK_STATE_VM, saved,
			  sizeof(saved));
}

static int put_memories(struct writer *writer,
			const struct kvmfork_template *template)
{
	int ret;
	u32 i;

	ret = put_head(writer, KVMFORK_STATE_MEMORIES, KVMFORK_STATE_VM,
		       template->nr_memories * sizeof(u64));
	for (i = 0; !ret && i < template->nr_memories; i++) {
		u64 size = (u64)template->memories[i].nr_pages << PAGE_SHIFT;

		ret = put(writer, &size, sizeof(size));
	}
	return ret;
}

static int put_slots(struct writer *writer,
		     const struct kvmfork_template *template)
{
	const struct kvmfork_shape *shape = &template->shape;
	int ret;
	u32 i;

	ret = put_head(writer, KVMFORK_STATE_SLOTS, KVMFORK_STATE_VM,
		       shape->nr_slots * sizeof(struct kvmfork_state_slot));
	for (i = 0; !ret && i < shape->nr_slots; i++) {
		struct kvmfork_state_slot slot = { .region = shape->slots[i] };

		slot.memory = kvmfork_mappings_memory(template,
						      &shape->slots[i],
						      &slot.offset);
		ret = put(writer, &slot, sizeof(slot));
	}
	return ret;
}

static int put_routing(struct writer *writer, const struct kvmfork_shape *shape)
{
	if (!shape->routing)
		return 0;
	return put_record(writer, KVMFORK_STATE_GSI_ROUTING, KVMFORK_STATE_VM,
			  shape->routing,
			  struct_size(shape->routing, entries,
				      shape->routing->nr));
}

static int put_clock(struct writer *writer, const struct kvmfork_clock *clock)
{
	struct kvm_clock_data data;

	kvmfork_clock_export(clock, &data);
	return put_record(writer, KVMFORK_STATE_CLOCK, KVMFORK_STATE_VM, &data,
			  sizeof(data));
}

static int put_state(struct writer *writer, u32 vcpu,
		     const struct kvmfork_state *state)
{
	const struct kvmfork_record *record;
	int ret;

	list_for_each_entry(record, &state->records, link) {
		ret = put_record(writer, record->type->id, vcpu, record->data,
				 record->size);
		if (ret)
			return ret;
	}
	return 0;
}

static int put_vcpus(struct writer *writer,
		     const struct kvmfork_template *template)
{
	int ret = 0;
	u32 i;

	for (i = 0; !ret && i < template->nr_vcpus; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = put_state(writer, template->vcpus[i].id,
				&template->vcpus[i].state);
	}
	return ret;
}

/* With the size, which is known when all else has been written. */
static int put_header(const struct writer *writer)
{
	struct kvmfork_state_header header = {
		.magic = KVMFORK_STATE_MAGIC,
		.version = KVMFORK_STATE_VERSION,
		.size = writer->pos,
	};

	if (writer->room < sizeof(header))
		return 0;
	return copy_to_user(writer->to, &header, sizeof(header)) ? -EFAULT : 0;
}

int kvmfork_export(const struct kvmfork_template *template, char __user *to,
		   u64 room, u64 *size)
{
	struct writer writer = {
		.to = to,
		.room = room,
		.pos = sizeof(struct kvmfork_state_header),
	};
	int ret;

	ret = put_host(&writer, &template->clock);
	ret = ret ?: put_shape(&writer, template);
	ret = ret ?: put_caps(&writer, &template->shape);
	ret = ret ?: put_memories(&writer, template);
	ret = ret ?: put_slots(&writer, template);
	ret = ret ?: put_routing(&writer, &template->shape);
	ret = ret ?: put_clock(&writer, &template->clock);
	ret = ret ?: put_vcpus(&writer, template);
	ret = ret ?: put_state(&writer, KVMFORK_STATE_VM, &template->devices);
	ret = ret ?: put_header(&writer);
	*size = writer.pos;
	return ret;
}
