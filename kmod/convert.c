// SPDX-License-Identifier: GPL-2.0-only
/*
 * Converting memory slots that are not of this module: which memory there is,
 * into which memory files it goes, and telling the caller. move.c does it.
 */
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "args.h"
#include "convert.h"
#include "fs.h"
#include "kvmpeek.h"
#include "move.h"
#include "source.h"
#include "stop.h"
#include "template.h"
#include "trace.h"
#include "vm.h"

/* Slots that overlap: has to be one stretch of one memory file. */
struct span {
	unsigned long start;
	unsigned long end;
	u32 slot;		/* the first, for messages */
	s32 region;		/* -1: nothing to be done */
};

/* What goes into one memory file: the spans of one host mapping. */
struct region {
	unsigned long start;
	unsigned long end;
	struct file *file;
	u64 offset;		/* in @file, of @start */
};

struct plan {
	struct kvmfork_report *report;
	u32 nr_spans;
	u32 nr_regions;
	struct span *spans;	/* by rising address */
	struct region *regions;	/* likewise */
};

static int compare_start(const void *a, const void *b)
{
	const struct span *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

static int plan_spans(struct plan *plan, const struct kvmfork_shape *shape)
{
	struct span *last = NULL;
	u32 i;

	if (!shape->nr_slots)
		return 0;
	plan->spans = kvcalloc(shape->nr_slots, sizeof(*plan->spans),
				GFP_KERNEL_ACCOUNT);
	plan->regions = kvcalloc(shape->nr_slots, sizeof(*plan->regions),
				 GFP_KERNEL_ACCOUNT);
	if (!plan->spans || !plan->regions)
		return -ENOMEM;

	for (i = 0; i < shape->nr_slots; i++) {
		const struct kvm_userspace_memory_region *slot = &shape->slots[i];

		plan->spans[i] = (struct span) {
			.start = slot->userspace_addr,
			.end = slot->userspace_addr + slot->memory_size,
			.slot = slot->slot,
			.region = -1,
		};
	}
	sort(plan->spans, shape->nr_slots, sizeof(*plan->spans), compare_start,
	     NULL);
	for (i = 0; i < shape->nr_slots; i++) {
		struct span *span = &plan->spans[i];

		if (last && span->start < last->end) {
			last->end = max(last->end, span->end);
			continue;
		}
		last = &plan->spans[plan->nr_spans++];
		*last = *span;
	}
	return 0;
}

/*
 * The region for a span of which nothing is of a memory file, and which @vma
 * begins: the last one when that has its end in the same mapping.
 */
static void plan_region(struct plan *plan, struct span *span,
			const struct vm_area_struct *vma)
{
	struct region *last = plan->nr_regions ?
			      &plan->regions[plan->nr_regions - 1] : NULL;

	if (last && !last->file && vma->vm_start < last->end &&
	    span->end - last->start <= KVMFORK_MEMORY_SIZE_MAX) {
		last->end = span->end;
	} else {
		last = &plan->regions[plan->nr_regions++];
		last->start = span->start;
		last->end = span->end;
	}
	span->region = last - plan->regions;
}

/*
 * The same for one of which a part is of a memory file, as a conversion that
 * failed half-way leaves it, or one of other slots: the rest goes there, too.
 */
static int plan_rest(struct plan *plan, struct span *span,
		     const struct vm_area_struct *vma)
{
	u64 offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) - vma->vm_start +
		     span->start;
	struct region *region;

	/* Of others it is not known what is to be where. */
	if (!kvmfork_mem_from_file(vma->vm_file)->is_converted ||
	    (s64)offset < 0)
		return kvmfork_report(plan->report, -EMEDIUMTYPE,
				      "slot %u: only a part of it, at %#lx, is forkable memory",
				      span->slot, vma->vm_start);
	region = &plan->regions[plan->nr_regions];
	region->start = span->start;
	region->end = span->end;
	region->file = get_file(vma->vm_file);
	region->offset = offset;
	span->region = plan->nr_regions++;
	return 0;
}

/* Look at all that is behind a span, before anything is changed. */
static int plan_span(struct plan *plan, struct span *span)
{
	struct vm_area_struct *vma, *ours = NULL, *others = NULL;
	unsigned long addr = span->start;
	const char *reason;

	for (; addr < span->end; addr = vma->vm_end) {
		vma = find_vma(current->mm, addr);
		if (!vma || vma->vm_start > addr)
			return kvmfork_report(plan->report, -EMEDIUMTYPE,
					      "slot %u, address %#lx: nothing is mapped",
					      span->slot, addr);
		if (vma->vm_file && kvmfork_mem_from_file(vma->vm_file)) {
			ours = ours ?: vma;
			continue;
		}
		others = others ?: vma;
		reason = kvmfork_source_refuse(vma);
		if (reason)
			return kvmfork_report(plan->report, -EOPNOTSUPP,
					      "slot %u, address %#lx: the memory is %s",
					      span->slot, addr, reason);
	}
	if (!others)
		return 0;
	if (span->end - span->start > KVMFORK_MEMORY_SIZE_MAX)
		return kvmfork_report(plan->report, -EFBIG,
				      "slot %u: too much memory in one piece",
				      span->slot);
	if (ours)
		return plan_rest(plan, span, ours);
	plan_region(plan, span, others);
	return 0;
}

static int plan_all(struct plan *plan)
{
	u32 i;
	int ret;

	ret = mmap_read_lock_killable(current->mm);
	if (ret)
		return ret;
	for (i = 0; !ret && i < plan->nr_spans; i++)
		ret = plan_span(plan, &plan->spans[i]);
	if (!ret && plan->nr_regions && (current->mm->def_flags & VM_LOCKED))
		ret = kvmfork_report(plan->report, -EOPNOTSUPP,
				     "mlockall(MCL_FUTURE) is on");
	mmap_read_unlock(current->mm);
	return ret;
}

static int create_memories(struct plan *plan)
{
	u32 i;

	for (i = 0; i < plan->nr_regions; i++) {
		struct region *region = &plan->regions[i];
		struct file *file;

		if (region->file)
			continue;
		file = kvmfork_mem_create((region->end - region->start) >> PAGE_SHIFT, 0);
		if (IS_ERR(file))
			return PTR_ERR(file);
		kvmfork_mem_from_file(file)->is_converted = true;
		region->file = file;
	}
	return 0;
}

static int move_all(struct plan *plan, struct kvmfork_move *move)
{
	u32 i;

	for (i = 0; i < plan->nr_spans; i++) {
		struct span *span = &plan->spans[i];
		struct region *region;
		int ret;

		if (span->region < 0)
			continue;
		region = &plan->regions[span->region];
		ret = kvmfork_move(move, region->file,
				   region->offset + (span->start - region->start),
				   span->start, span->end, span->slot);
		if (ret)
			return ret;
	}
	return 0;
}

static void plan_destroy(struct plan *plan)
{
	u32 i;

	for (i = 0; i < plan->nr_regions; i++)
		if (plan->regions[i].file)
			fput(plan->regions[i].file);
	kvfree(plan->regions);
	kvfree(plan->spans);
}

/*
 * While a nested guest is there KVM holds pages of its hypervisor by reference
 * (VMX), and would go on with those that are no longer the VM's.
 */
static int check_vcpus(struct kvmfork_stopped *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++)
		if (kvmfork_vcpu_is_nested(stopped->vcpus[i].vcpu))
			return kvmfork_report(stopped->report, -EBUSY,
					      "vCPU %u is in a nested guest",
					      kvmfork_vcpu_id(stopped->vcpus[i].vcpu));
	return 0;
}

static int convert(struct kvmfork_stopped *stopped,
		   const struct kvmfork_shape *shape, u64 *nr_pages)
{
	struct plan plan = { .report = stopped->report };
	struct kvmfork_move *move;
	u64 start = ktime_get_ns();
	int ret;

	*nr_pages = 0;
	ret = plan_spans(&plan, shape);
	ret = ret ?: plan_all(&plan);
	if (ret || !plan.nr_regions)
		goto destroy;
	ret = check_vcpus(stopped);
	ret = ret ?: create_memories(&plan);
	if (ret)
		goto destroy;

	move = kvmfork_move_alloc(stopped->report);
	ret = move ? move_all(&plan, move) : -ENOMEM;
	if (move) {
		*nr_pages = kvmfork_move_count(move);
		kvmfork_move_free(move);
	}
	trace_kvmfork_convert(plan.nr_regions, *nr_pages, ktime_get_ns() - start,
			      ret);
destroy:
	plan_destroy(&plan);
	return ret;
}

int kvmfork_convert_stopped(struct kvmfork_stopped *stopped, u64 *nr_pages)
{
	struct kvmfork_shape shape;
	int ret;

	ret = kvmfork_shape_read(stopped->vm->kvm, &shape, stopped->report);
	if (ret)
		return ret;
	ret = convert(stopped, &shape, nr_pages);
	kvmfork_shape_destroy(&shape);
	return ret;
}

/* The memory of the VM, all of which is forkable now. */
struct result {
	struct kvmfork_template now;	/* shape and mappings */
	struct file **files;
	u32 nr_files;
	int *fds;
	u32 nr_fds;
};

static int reserve_fds(struct result *result)
{
	result->fds = kvcalloc(result->nr_files, sizeof(*result->fds),
			       GFP_KERNEL);
	if (result->nr_files && !result->fds)
		return -ENOMEM;
	while (result->nr_fds < result->nr_files) {
		int fd = get_unused_fd_flags(O_CLOEXEC);

		if (fd < 0)
			return fd;
		result->fds[result->nr_fds++] = fd;
	}
	return 0;
}

static int tell_mappings(struct result *result, struct kvmfork_convert *args)
{
	struct kvmfork_mapping __user *to = u64_to_user_ptr(args->mappings);
	const struct kvmfork_template *now = &result->now;
	u32 i;

	for (i = 0; i < now->nr_mappings; i++) {
		const struct kvmfork_template_mapping *m = &now->mappings[i];
		struct kvmfork_mapping out = {
			.address = m->addr,
			.parent_address = m->addr,
			.size = m->size,
			.offset = m->offset,
			.memory_fd = result->fds[m->memory],
		};

		if (copy_to_user(&to[i], &out, sizeof(out)))
			return -EFAULT;
	}
	args->nr_mappings = now->nr_mappings;
	return 0;
}

/* What can fail, then the fds, which are the caller's from there on. */
static int tell(struct result *result, struct kvmfork_convert *args,
		const struct kvmfork_args *to, struct kvmfork_report *report)
{
	int ret = 0;

	if (args->nr_mappings) {
		ret = kvmfork_mappings_find(&result->now, &result->files,
					    &result->nr_files, report);
		ret = ret ?: reserve_fds(result);
		ret = ret ?: tell_mappings(result, args);
	}
	ret = ret ?: kvmfork_args_put(to, 0, args, sizeof(*args));
	if (ret)
		return ret;
	while (result->nr_fds) {
		u32 i = --result->nr_fds;

		fd_install(result->fds[i], get_file(result->files[i]));
	}
	return 0;
}

static void result_destroy(struct result *result)
{
	u32 i;

	while (result->nr_fds)
		put_unused_fd(result->fds[--result->nr_fds]);
	kvfree(result->fds);
	for (i = 0; i < result->nr_files; i++)
		fput(result->files[i]);
	kvfree(result->files);
	kvfree(result->now.mappings);
	kvmfork_shape_destroy(&result->now.shape);
}

static int check_room(const struct kvmfork_shape *shape,
		      struct kvmfork_convert *args,
		      const struct kvmfork_args *to)
{
	if (!args->nr_mappings || args->nr_mappings >= shape->nr_slots)
		return 0;
	args->nr_mappings = shape->nr_slots;
	return kvmfork_args_put(to, 0, args, sizeof(*args)) ?: -E2BIG;
}

int kvmfork_convert(struct kvmfork_vm *vm, struct kvmfork_convert *args,
		    const struct kvmfork_args *from,
		    struct kvmfork_report *report)
{
	struct kvmfork_stopped stopped = { .vm = vm, .report = report };
	struct result *result;
	int ret;

	result = kzalloc(sizeof(*result), GFP_KERNEL);
	if (!result)
		return -ENOMEM;
	ret = kvmfork_stop(&stopped, args->vcpu_fds, args->nr_vcpus);
	if (ret)
		goto free;
	ret = kvmfork_shape_read(vm->kvm, &result->now.shape, report);
	ret = ret ?: check_room(&result->now.shape, args, from);
	ret = ret ?: convert(&stopped, &result->now.shape, &args->nr_pages);
	kvmfork_restart(&stopped);
	ret = ret ?: tell(result, args, from, report);
	result_destroy(result);
free:
	kfree(result);
	return ret;
}
