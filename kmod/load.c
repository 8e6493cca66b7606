// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_LOAD: a template from a state that user space has kept. That is
 * hostile until proven otherwise: it is checked for all that this module relies
 * on; the values themselves are checked by KVM when a VM is given them.
 */
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "blob.h"
#include "load.h"
#include "mem.h"
#include "template.h"

/* More could not be in different slots. */
#define MEMORIES_MAX	((u32)KVM_USER_MEM_SLOTS)

/* The memory files that the caller names. */
struct memories {
	u32 nr;
	struct file **files;
};

static void put_memories(struct memories *memories)
{
	u32 i;

	for (i = 0; i < memories->nr; i++)
		fput(memories->files[i]);
	kvfree(memories->files);
}

static int take_memory(struct memories *memories, int fd,
		       struct kvmfork_report *report)
{
	struct file *file = fget(fd);
	u32 i;

	if (!file || !kvmfork_mem_from_file(file)) {
		if (file)
			fput(file);
		return kvmfork_report(report, -EBADF,
				      "memory_fds: %d is not a memory file", fd);
	}
	for (i = 0; i < memories->nr; i++) {
		if (kvmfork_mem_from_file(memories->files[i]) !=
		    kvmfork_mem_from_file(file))
			continue;
		fput(file);
		return kvmfork_report(report, -EINVAL,
				      "memory_fds: %d is there twice", fd);
	}
	memories->files[memories->nr++] = file;
	return 0;
}

static int take_memories(struct memories *memories,
			 const struct kvmfork_load *args,
			 struct kvmfork_report *report)
{
	const s32 __user *fds = u64_to_user_ptr(args->memory_fds);
	int ret = 0;
	s32 fd;
	u32 i;

	if (args->nr_memories > MEMORIES_MAX)
		return kvmfork_report(report, -EINVAL,
				      "nr_memories: %u are more than %u",
				      args->nr_memories, MEMORIES_MAX);
	if (!args->nr_memories)
		return 0;
	memories->files = kvcalloc(args->nr_memories, sizeof(*memories->files),
				   GFP_KERNEL_ACCOUNT);
	if (!memories->files)
		return -ENOMEM;
	for (i = 0; !ret && i < args->nr_memories; i++) {
		/* Each is compared with all before it. */
		cond_resched();
		if (fatal_signal_pending(current))
			ret = -EINTR;
		else if (get_user(fd, fds + i))
			ret = -EFAULT;
		else
			ret = take_memory(memories, fd, report);
	}
	return ret;
}

/* Must a record be there, or must it not be? */
static bool is_wanted(const struct kvmfork_record_type *type,
		      const struct kvmfork_shape *shape)
{
	switch (type->presence) {
	case KVMFORK_WITH_VMX:
		return boot_cpu_has(X86_FEATURE_VMX);
	case KVMFORK_WITH_LAPIC:
		return shape->irqchip != KVMFORK_IRQCHIP_NONE;
	case KVMFORK_WITH_PIC:
		return shape->irqchip == KVMFORK_IRQCHIP_KERNEL;
	case KVMFORK_WITH_PIT:
		return shape->pit;
	default:
		return true;
	}
}

/* Take the record, which is of this type. */
static int load_record(struct kvmfork_blob *blob,
		       const struct kvmfork_record_type *type,
		       struct kvmfork_state *state)
{
	struct kvmfork_blob at = *blob;		/* where it begins */
	struct kvmfork_report reason = {};
	struct kvmfork_record *record;
	u32 size = at.record.size;
	int ret;

	if (type->size && size != type->size)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "%s: it has %u bytes, not %u",
					   type->name, size, type->size);
	if (size > KVMFORK_SCRATCH_SIZE)
		return kvmfork_blob_refuse(blob, -EINVAL, "%s: it is too long",
					   type->name);
	record = kvmfork_state_add(state, type, size);
	if (!record)
		return -ENOMEM;
	ret = kvmfork_blob_take(blob, record->data);
	if (ret || !type->check)
		return ret;
	ret = type->check(record, &reason);
	if (ret)
		kvmfork_blob_refuse(&at, ret, "%s: %s", type->name, reason.text);
	return ret;
}

/* All records of an owner, which has to have them in the order of @types. */
static int load_records(struct kvmfork_blob *blob, u32 vcpu,
			const struct kvmfork_record_type *const *types,
			const struct kvmfork_shape *shape,
			struct kvmfork_state *state)
{
	for (; *types; types++) {
		const struct kvmfork_record_type *type = *types;
		int ret;

		if (!is_wanted(type, shape))
			continue;
		if (!kvmfork_blob_is(blob, type->id, vcpu)) {
			if (type->presence == KVMFORK_SOMETIMES)
				continue;
			return kvmfork_blob_miss(blob, type->name);
		}
		ret = load_record(blob, type, state);
		if (ret)
			return ret;
	}
	return 0;
}

static int load_vcpu(struct kvmfork_blob *blob, unsigned long *ids,
		     struct kvmfork_template *template, u32 i)
{
	struct kvmfork_template_vcpu *vcpu = &template->vcpus[i];
	u32 id = blob->record.vcpu;

	if (fatal_signal_pending(current))
		return -EINTR;
	if (!blob->record.type || id == KVMFORK_STATE_VM)
		return kvmfork_blob_miss(blob, "another vCPU");
	if (id >= KVM_MAX_VCPU_IDS)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "vCPU id %u is not below %u", id,
					   KVM_MAX_VCPU_IDS);
	if (__test_and_set_bit(id, ids))
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "vCPU id %u is there twice", id);
	vcpu->id = id;
	return load_records(blob, id, kvmfork_vcpu_records, &template->shape,
			    &vcpu->state);
}

static int load_vcpus(struct kvmfork_blob *blob,
		      struct kvmfork_template *template)
{
	unsigned long *ids;
	int ret = 0;
	u32 i;

	ids = bitmap_zalloc(KVM_MAX_VCPU_IDS, GFP_KERNEL);
	if (!ids)
		return -ENOMEM;
	for (i = 0; !ret && i < template->nr_vcpus; i++)
		ret = load_vcpu(blob, ids, template, i);
	bitmap_free(ids);
	return ret;
}

/* The offset of each vCPU is to the TSC of the host as it was then. */
static void adjust_tsc(struct kvmfork_template *template)
{
	struct kvmfork_tsc_shift shift;
	u32 i;

	kvmfork_tsc_shift_find(&template->clock, &shift);
	for (i = 0; i < template->nr_vcpus; i++)
		kvmfork_tsc_shift_apply(&shift, &template->vcpus[i].state);
}

static int load_state(struct kvmfork_blob *blob, struct memories *memories,
		      struct kvmfork_template *template)
{
	int ret;

	ret = kvmfork_blob_open(blob);
	ret = ret ?: kvmfork_load_vm(blob, template, memories->files,
				     memories->nr);
	ret = ret ?: load_vcpus(blob, template);
	ret = ret ?: load_records(blob, KVMFORK_STATE_VM,
				  kvmfork_device_records, &template->shape,
				  &template->devices);
	if (!ret && blob->record.type)
		ret = kvmfork_blob_miss(blob, "the end");
	if (!ret)
		adjust_tsc(template);
	return ret;
}

static int freeze_memories(struct memories *memories,
			   struct kvmfork_template *template)
{
	u32 i;

	if (!memories->nr)
		return 0;
	template->memories = kvcalloc(memories->nr, sizeof(*template->memories),
				      GFP_KERNEL_ACCOUNT);
	if (!template->memories)
		return -ENOMEM;
	for (i = 0; i < memories->nr; i++) {
		unsigned long nr_dirty;
		int ret;

		ret = kvmfork_mem_freeze(kvmfork_mem_from_file(memories->files[i]),
					 &template->memories[i], &nr_dirty);
		if (ret)
			return ret;
		template->nr_memories++;
		template->nr_dirty += nr_dirty;
	}
	return 0;
}

struct kvmfork_template *kvmfork_load(const struct kvmfork_load *args,
				      struct kvmfork_report *report)
{
	struct kvmfork_blob blob = {
		.from = u64_to_user_ptr(args->state),
		.size = args->size,
		.report = report,
	};
	struct memories memories = {};
	struct kvmfork_template *template;
	int ret;

	template = kvmfork_template_alloc();
	if (!template)
		return ERR_PTR(-ENOMEM);
	ret = take_memories(&memories, args, report);
	ret = ret ?: load_state(&blob, &memories, template);
	/* When nothing can be wrong with the rest any more. */
	ret = ret ?: freeze_memories(&memories, template);
	put_memories(&memories);
	if (!ret)
		return template;
	kvmfork_template_destroy(template);
	return ERR_PTR(ret);
}
