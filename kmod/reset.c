// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resetting: a VM that exists takes the memory and state of a template. Nothing
 * is made for it and nothing closed, so it costs what differs between the two.
 */
#include <linux/file.h>
#include <linux/kvm.h>
#include <linux/ktime.h>
#include <linux/slab.h>

#include "kvmcall.h"
#include "state.h"
#include "stop.h"
#include "template.h"
#include "trace.h"
#include "vm.h"

struct reset {
	struct kvmfork_stopped stopped;
	const struct kvmfork_template *template;
	struct kvmfork_template now;	/* shape and mappings of the VM */
	struct file **files;		/* memories of the VM, of now.mappings */
	u32 nr_files;
	struct file **memories;		/* of these, by index in the template */
	unsigned long nr_pages;
};

static struct kvmfork_target vm_target(struct reset *reset)
{
	return (struct kvmfork_target) {
		.file = reset->stopped.vm->file,
		.scratch = &reset->stopped.scratch,
		.report = reset->stopped.report,
		.name = "VM",
	};
}

static struct kvmfork_target vcpu_target(struct reset *reset, u32 i)
{
	return (struct kvmfork_target) {
		.file = reset->stopped.vcpus[i].file,
		.scratch = &reset->stopped.scratch,
		.report = reset->stopped.report,
		.name = "vCPU",
		.id = reset->template->vcpus[i].id,
	};
}

static int report_mismatch(struct reset *reset, const char *what)
{
	return kvmfork_report(reset->stopped.report, -ESTALE,
			      "the VM is not of the template's shape: %s", what);
}

static int check_vcpus(struct reset *reset)
{
	u32 i;

	if (reset->stopped.nr_vcpus != reset->template->nr_vcpus)
		return report_mismatch(reset, "number of vCPUs");
	for (i = 0; i < reset->stopped.nr_vcpus; i++)
		if (kvmfork_vcpu_id(reset->stopped.vcpus[i].vcpu) !=
		    reset->template->vcpus[i].id)
			return report_mismatch(reset, "ids of vCPUs");
	return 0;
}

/*
 * Pair the memories of the VM and of the template by the slots that show them:
 * the two may lie in another order in their address spaces.
 */
static int pair_memories(struct reset *reset)
{
	const struct kvmfork_template *template = reset->template;
	u32 i;

	if (reset->nr_files != template->nr_memories)
		return report_mismatch(reset, "number of memory files");
	if (!reset->nr_files)
		return 0;
	reset->memories = kvcalloc(reset->nr_files, sizeof(*reset->memories),
				   GFP_KERNEL);
	if (!reset->memories)
		return -ENOMEM;

	for (i = 0; i < template->shape.nr_slots; i++) {
		u64 here, there;
		u32 mine = kvmfork_mappings_memory(&reset->now,
						   &reset->now.shape.slots[i],
						   &here);
		u32 theirs = kvmfork_mappings_memory(template,
						     &template->shape.slots[i],
						     &there);
		struct file *file = reset->files[mine];
		const struct kvmfork_mem *mem = kvmfork_mem_from_file(file);

		if (here != there ||
		    (reset->memories[theirs] && reset->memories[theirs] != file) ||
		    mem->nr_pages != template->memories[theirs].nr_pages)
			return report_mismatch(reset, "memory behind slots");
		if (mem->flags != template->memories[theirs].flags)
			return report_mismatch(reset, "flags of memory");
		reset->memories[theirs] = file;
	}
	return 0;
}

static int check_shape(struct reset *reset)
{
	const char *what;
	int ret;

	ret = check_vcpus(reset);
	ret = ret ?: kvmfork_shape_read(reset->stopped.vm->kvm,
					&reset->now.shape,
					reset->stopped.report);
	if (ret)
		return ret;
	what = kvmfork_shape_compare(&reset->now.shape,
				     &reset->template->shape);
	if (what)
		return report_mismatch(reset, what);
	ret = kvmfork_mappings_find(&reset->now, &reset->files,
				    &reset->nr_files, reset->stopped.report);
	return ret ?: pair_memories(reset);
}

static long set_slot(struct reset *reset, u32 i, bool there)
{
	struct kvm_userspace_memory_region slot = reset->now.shape.slots[i];

	if (!there)
		slot.memory_size = 0;
	return kvmfork_kvm_set(&reset->stopped.scratch, reset->stopped.vm->file,
			       KVM_SET_USER_MEMORY_REGION, &slot, sizeof(slot));
}

/*
 * Make KVM drop its shadows of the guest's page tables, which have changed
 * without a write: taking a slot away does.
 */
static int drop_shadow_pages(struct reset *reset)
{
	u32 i;

	for (i = 0; i < reset->now.shape.nr_slots; i++) {
		long ret = set_slot(reset, i, false);

		ret = ret < 0 ? ret : set_slot(reset, i, true);
		if (ret < 0)
			return kvmfork_report(reset->stopped.report, ret,
					      "slot %u: error %ld",
					      reset->now.shape.slots[i].slot,
					      ret);
	}
	return 0;
}

static int reset_memory(struct reset *reset, bool keep)
{
	const struct kvmfork_template *template = reset->template;
	u32 i;

	for (i = 0; i < template->nr_memories; i++)
		reset->nr_pages +=
			kvmfork_mem_reset(kvmfork_mem_from_file(reset->memories[i]),
					  &template->memories[i], keep);
	for (i = 0; keep && i < reset->stopped.nr_vcpus; i++)
		kvmfork_vcpu_flush_tlb(reset->stopped.vcpus[i].vcpu);
	if (!kvmfork_kvm_has_shadow_pages(reset->stopped.vm->kvm))
		return 0;
	return drop_shadow_pages(reset);
}

static int reset_routing(struct reset *reset)
{
	const struct kvm_irq_routing *routing = reset->template->shape.routing;
	struct kvmfork_target target = vm_target(reset);

	if (!routing || kvmfork_routing_equal(reset->now.shape.routing, routing))
		return 0;
	return kvmfork_routing_load(&target, routing);
}

/* Make all that acts on its own stop, and what is on its way arrive. */
static int calm(struct reset *reset)
{
	struct kvmfork_target target = vm_target(reset);
	u32 i;
	int ret;

	ret = kvmfork_stop_discard_io(&reset->stopped);
	ret = ret ?: kvmfork_devices_calm(&target, &reset->template->shape);
	for (i = 0; !ret && i < reset->template->nr_vcpus; i++) {
		struct kvmfork_target vcpu = vcpu_target(reset, i);

		ret = kvmfork_vcpu_calm(&vcpu, reset->stopped.vm->file);
	}
	return ret;
}

/* In the order in which a new VM gets it, see state.h. */
static int reset_state(struct reset *reset)
{
	const struct kvmfork_template *template = reset->template;
	struct kvmfork_target target = vm_target(reset);
	u32 i;
	int ret;

	ret = reset_routing(reset);
	ret = ret ?: kvmfork_clock_load(&target, &template->clock);
	for (i = 0; !ret && i < template->nr_vcpus; i++) {
		struct kvmfork_target vcpu = vcpu_target(reset, i);

		ret = kvmfork_state_load(&vcpu, &template->vcpus[i].state);
	}
	return ret ?: kvmfork_state_load(&target, &template->devices);
}

/*
 * The state last: KVM reads memory when it gets some of it. But calm first: it
 * writes there, when an event ends a nested guest for example.
 */
static int reset_stopped(struct reset *reset, u64 flags)
{
	int ret = check_shape(reset);

	if (!ret && flags & KVMFORK_RESET_STATE)
		ret = calm(reset);
	if (!ret && flags & KVMFORK_RESET_MEMORY)
		ret = reset_memory(reset, flags & KVMFORK_RESET_KEEP);
	if (!ret && flags & KVMFORK_RESET_STATE)
		ret = reset_state(reset);
	return ret ?: kvmfork_stop_check(&reset->stopped);
}

static void release(struct reset *reset)
{
	u32 i;

	kvfree(reset->memories);
	for (i = 0; i < reset->nr_files; i++)
		fput(reset->files[i]);
	kvfree(reset->files);
	kvfree(reset->now.mappings);
	kvmfork_shape_destroy(&reset->now.shape);
}

int kvmfork_reset(struct kvmfork_vm *vm, const struct kvmfork_template *template,
		  const struct kvmfork_reset *args, struct kvmfork_report *report)
{
	struct reset *reset;
	u64 start = ktime_get_ns();
	int ret;

	reset = kzalloc(sizeof(*reset), GFP_KERNEL);
	if (!reset)
		return -ENOMEM;
	reset->template = template;
	reset->stopped.vm = vm;
	reset->stopped.report = report;

	ret = kvmfork_stop(&reset->stopped, args->vcpu_fds, args->nr_vcpus);
	if (!ret) {
		ret = reset_stopped(reset, args->flags);
		kvmfork_restart(&reset->stopped);
	}
	release(reset);
	trace_kvmfork_reset(template->nr_vcpus, reset->nr_pages,
			    ktime_get_ns() - start, ret);
	kfree(reset);
	return ret;
}
