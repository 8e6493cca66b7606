// SPDX-License-Identifier: GPL-2.0-only
/* Making a VM from a template. See child.h. */
#include <linux/file.h>
#include <linux/kvm.h>
#include <linux/mman.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "child.h"
#include "kvmcall.h"
#include "state.h"
#include "template.h"
#include "vm.h"

static struct kvmfork_target vm_target(struct kvmfork_child *child)
{
	return (struct kvmfork_target) {
		.file = child->vm,
		.scratch = &child->scratch,
		.report = child->report,
		.name = "new VM",
	};
}

static int child_map(struct kvmfork_child *child, u64 flags)
{
	const struct kvmfork_template *template = child->template;
	bool fixed = flags & KVMFORK_SPAWN_FIXED;
	unsigned long addr;
	u32 i;

	for (i = 0; i < template->nr_memories; i++) {
		struct file *file = kvmfork_mem_spawn(&template->memories[i]);

		if (IS_ERR(file))
			return PTR_ERR(file);
		child->memories[i] = file;
	}

	for (i = 0; i < template->nr_mappings; i++) {
		const struct kvmfork_template_mapping *m = &template->mappings[i];

		if (fixed)
			kvmfork_scratch_move(m->addr, m->size);
		addr = vm_mmap(child->memories[m->memory], fixed ? m->addr : 0,
			       m->size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | (fixed ? MAP_FIXED_NOREPLACE : 0),
			       m->offset);
		if (IS_ERR_VALUE(addr))
			return kvmfork_report(child->report, (long)addr,
					      "%lu bytes of guest memory at %#lx: cannot be mapped",
					      m->size, fixed ? m->addr : 0);
		child->addrs[i] = addr;
	}
	return 0;
}

static int child_set_caps(struct kvmfork_child *child)
{
	const struct kvmfork_cap *wanted = child->template->shape.caps;
	struct kvmfork_cap have[KVMFORK_NR_CAPS];
	struct kvmfork_target target = vm_target(child);
	unsigned int i;
	long ret;

	kvmfork_caps_read(kvmfork_file_to_kvm(child->vm), have);
	for (i = 0; i < KVMFORK_NR_CAPS; i++) {
		struct kvm_enable_cap cap = {
			.cap = wanted[i].cap,
			.args[0] = wanted[i].value,
		};

		if (have[i].value == wanted[i].value)
			continue;
		/* Takes 0 for on, and there is no off. */
		if (cap.cap == KVM_CAP_VM_DISABLE_NX_HUGE_PAGES)
			cap.args[0] = 0;
		ret = kvmfork_kvm_set(&child->scratch, child->vm, KVM_ENABLE_CAP,
				      &cap, sizeof(cap));
		if (ret < 0)
			return kvmfork_target_report(&target, wanted[i].name, ret);
	}
	return 0;
}

static long child_create_irqchip(struct kvmfork_child *child)
{
	const struct kvmfork_shape *shape = &child->template->shape;
	struct kvm_enable_cap split = {
		.cap = KVM_CAP_SPLIT_IRQCHIP,
		.args[0] = shape->split_pins,
	};

	switch (shape->irqchip) {
	case KVMFORK_IRQCHIP_KERNEL:
		return kvmfork_kvm_call(child->vm, KVM_CREATE_IRQCHIP, 0);
	case KVMFORK_IRQCHIP_SPLIT:
		return kvmfork_kvm_set(&child->scratch, child->vm,
				       KVM_ENABLE_CAP, &split, sizeof(split));
	default:
		return 0;
	}
}

static long child_create_pit(struct kvmfork_child *child)
{
	const struct kvmfork_shape *shape = &child->template->shape;
	struct kvm_pit_config config = {
		.flags = shape->pit_speaker ? KVM_PIT_SPEAKER_DUMMY : 0,
	};

	if (!shape->pit)
		return 0;
	return kvmfork_kvm_set(&child->scratch, child->vm, KVM_CREATE_PIT2,
			       &config, sizeof(config));
}

/* Most VMs keep those that came with the irqchip, and setting them is slow. */
static int child_set_routing(struct kvmfork_child *child)
{
	const struct kvm_irq_routing *wanted = child->template->shape.routing;
	struct kvmfork_target target = vm_target(child);
	struct kvm_irq_routing *now;
	int ret;

	if (!wanted)
		return 0;
	ret = kvmfork_routing_read(kvmfork_file_to_kvm(child->vm), &now,
				   child->report);
	if (ret)
		return ret;
	if (!kvmfork_routing_equal(now, wanted))
		ret = kvmfork_routing_load(&target, wanted);
	kvfree(now);
	return ret;
}

/* All that has to be there before the first vCPU. */
static int child_create_board(struct kvmfork_child *child)
{
	const struct kvmfork_shape *shape = &child->template->shape;
	struct kvmfork_target target = vm_target(child);
	const char *what = "KVM_CREATE_IRQCHIP";
	long ret;

	ret = child_create_irqchip(child);
	if (ret < 0)
		goto report;
	ret = child_set_caps(child);
	if (ret)
		return ret;

	what = "KVM_CREATE_PIT2";
	ret = child_create_pit(child);
	if (ret < 0)
		goto report;
	ret = child_set_routing(child);
	if (ret)
		return ret;
	if (shape->tss_addr) {
		what = "KVM_SET_TSS_ADDR";
		ret = kvmfork_kvm_call(child->vm, KVM_SET_TSS_ADDR,
				       shape->tss_addr);
		if (ret < 0)
			goto report;
	}
	if (shape->identity_map_addr) {
		what = "KVM_SET_IDENTITY_MAP_ADDR";
		ret = kvmfork_kvm_set(&child->scratch, child->vm,
				      KVM_SET_IDENTITY_MAP_ADDR,
				      &shape->identity_map_addr, sizeof(u64));
		if (ret < 0)
			goto report;
	}
	if (kvmfork_kvm_call(child->vm, KVM_GET_TSC_KHZ, 0) != shape->tsc_khz) {
		what = "KVM_SET_TSC_KHZ";
		ret = kvmfork_kvm_call(child->vm, KVM_SET_TSC_KHZ,
				       shape->tsc_khz);
		if (ret < 0)
			goto report;
	}
	if (shape->boot_cpu_id) {
		what = "KVM_SET_BOOT_CPU_ID";
		ret = kvmfork_kvm_call(child->vm, KVM_SET_BOOT_CPU_ID,
				       shape->boot_cpu_id);
		if (ret < 0)
			goto report;
	}
	return 0;
report:
	return kvmfork_target_report(&target, what, ret);
}

static int child_set_slots(struct kvmfork_child *child)
{
	const struct kvmfork_template *template = child->template;
	u32 i;

	for (i = 0; i < template->shape.nr_slots; i++) {
		struct kvm_userspace_memory_region slot = template->shape.slots[i];
		const struct kvmfork_template_mapping *m;
		long ret;

		m = kvmfork_mappings_at(template, slot.userspace_addr);
		slot.userspace_addr += child->addrs[m - template->mappings] -
				       m->addr;
		ret = kvmfork_kvm_set(&child->scratch, child->vm,
				      KVM_SET_USER_MEMORY_REGION, &slot,
				      sizeof(slot));
		if (ret < 0)
			return kvmfork_report(child->report, ret,
					      "new VM: slot %u: error %ld",
					      slot.slot, ret);
	}
	return 0;
}

static int child_load_vcpus(struct kvmfork_child *child)
{
	const struct kvmfork_template *template = child->template;
	u32 i;

	for (i = 0; i < template->nr_vcpus; i++) {
		struct kvmfork_target target = {
			.file = child->vcpus[i],
			.scratch = &child->scratch,
			.report = child->report,
			.name = "new vCPU",
			.id = template->vcpus[i].id,
			.is_new = true,
		};
		int ret;

		ret = kvmfork_state_load(&target, &template->vcpus[i].state);
		if (ret)
			return ret;
	}
	return 0;
}

static int child_create_vcpus(struct kvmfork_child *child)
{
	const struct kvmfork_template *template = child->template;
	u32 i;

	for (i = 0; i < template->nr_vcpus; i++) {
		struct file *file;

		file = kvmfork_kvm_create_vcpu(child->vm, template->vcpus[i].id);
		if (IS_ERR(file))
			return kvmfork_report(child->report, PTR_ERR(file),
					      "KVM_CREATE_VCPU %u: error %ld",
					      template->vcpus[i].id,
					      PTR_ERR(file));
		child->vcpus[i] = file;
	}
	return 0;
}

static int child_create_vm(struct kvmfork_child *child, int kvm_fd)
{
	struct file *dev = fget(kvm_fd);
	int ret = 0;

	if (!dev || !kvmfork_file_is_kvm_dev(dev)) {
		ret = kvmfork_report(child->report, -EBADF,
				     "kvm_fd: %d is not an open /dev/kvm", kvm_fd);
	} else {
		struct file *vm = kvmfork_kvm_create_vm(dev, 0);

		if (IS_ERR(vm))
			ret = kvmfork_report(child->report, PTR_ERR(vm),
					     "KVM_CREATE_VM: error %ld",
					     PTR_ERR(vm));
		else
			child->vm = vm;
	}
	if (dev)
		fput(dev);
	return ret;
}

static int child_attach(struct kvmfork_child *child)
{
	struct file *attach = kvmfork_vm_attach(child->vm,
						child->template->traps);

	if (IS_ERR(attach))
		return PTR_ERR(attach);
	child->attach = attach;
	return 0;
}

/* All of the child that takes arguments for KVM, which need scratch memory. */
static int child_furnish(struct kvmfork_child *child)
{
	struct kvmfork_target target = vm_target(child);
	int ret;

	ret = child_create_board(child);
	ret = ret ?: child_set_slots(child);
	ret = ret ?: child_create_vcpus(child);
	ret = ret ?: kvmfork_clock_load(&target, &child->template->clock);
	ret = ret ?: child_load_vcpus(child);
	ret = ret ?: kvmfork_state_load(&target, &child->template->devices);
	return ret ?: child_attach(child);
}

static int child_alloc(struct kvmfork_child *child)
{
	const struct kvmfork_template *template = child->template;

	child->memories = kvcalloc(template->nr_memories,
				   sizeof(*child->memories), GFP_KERNEL);
	child->addrs = kvcalloc(template->nr_mappings, sizeof(*child->addrs),
				GFP_KERNEL);
	child->vcpus = kvcalloc(template->nr_vcpus, sizeof(*child->vcpus),
				GFP_KERNEL);
	if ((template->nr_memories && !child->memories) ||
	    (template->nr_mappings && !child->addrs) ||
	    (template->nr_vcpus && !child->vcpus))
		return -ENOMEM;
	return 0;
}

static int child_build(struct kvmfork_child *child, int kvm_fd, u64 flags)
{
	int ret;

	ret = child_alloc(child);
	ret = ret ?: child_create_vm(child, kvm_fd);
	/* Before the scratch memory, which might land where this has to be. */
	ret = ret ?: child_map(child, flags);
	ret = ret ?: kvmfork_scratch_get(&child->scratch);
	if (ret)
		return ret;
	ret = child_furnish(child);
	kvmfork_scratch_put(&child->scratch);
	return ret;
}

int kvmfork_child_build(struct kvmfork_child *child,
			const struct kvmfork_template *template, int kvm_fd,
			u64 flags, struct kvmfork_report *report)
{
	int ret;

	*child = (struct kvmfork_child) {
		.template = template,
		.report = report,
	};
	ret = child_build(child, kvm_fd, flags);
	if (ret)
		kvmfork_child_destroy(child);
	return ret;
}

void kvmfork_child_release(struct kvmfork_child *child)
{
	kvfree(child->vcpus);
	kvfree(child->addrs);
	kvfree(child->memories);
}

/* Undo child_build(), in reverse. */
void kvmfork_child_destroy(struct kvmfork_child *child)
{
	const struct kvmfork_template *template = child->template;
	u32 i;

	if (child->attach)
		fput(child->attach);
	for (i = 0; child->vcpus && i < template->nr_vcpus; i++)
		if (child->vcpus[i])
			fput(child->vcpus[i]);
	if (child->vm)
		fput(child->vm);
	for (i = 0; child->addrs && i < template->nr_mappings; i++)
		if (child->addrs[i])
			vm_munmap(child->addrs[i], template->mappings[i].size);
	for (i = 0; child->memories && i < template->nr_memories; i++)
		if (child->memories[i])
			fput(child->memories[i]);
	kvmfork_child_release(child);
}
