// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making a VM from a template: memory files, KVM's objects, their state, and
 * only then the fds that show all that to user space.
 */
#include <linux/file.h>
#include <linux/kvm.h>
#include <linux/ktime.h>
#include <linux/mman.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "args.h"
#include "kvmcall.h"
#include "state.h"
#include "template.h"
#include "trace.h"
#include "vm.h"

/* A VM that nobody sees yet. Files are referenced, NULL where not made. */
struct child {
	const struct kvmfork_template *template;
	struct kvmfork_scratch scratch;
	struct kvmfork_report *report;
	struct file **memories;
	unsigned long *addrs;		/* of mappings, 0: not mapped */
	struct file *vm;
	struct file **vcpus;
	struct file *attach;
};

static struct kvmfork_target vm_target(struct child *child)
{
	return (struct kvmfork_target) {
		.file = child->vm,
		.scratch = &child->scratch,
		.report = child->report,
		.name = "new VM",
	};
}

static int child_map(struct child *child, u64 flags)
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

static int child_set_caps(struct child *child)
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

static long child_create_irqchip(struct child *child)
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

static long child_create_pit(struct child *child)
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

/* All that has to be there before the first vCPU. */
static int child_create_board(struct child *child)
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
	if (shape->routing) {
		what = "KVM_SET_GSI_ROUTING";
		ret = kvmfork_kvm_set(&child->scratch, child->vm,
				      KVM_SET_GSI_ROUTING, shape->routing,
				      struct_size(shape->routing, entries,
						  shape->routing->nr));
		if (ret < 0)
			goto report;
	}
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

static int child_set_slots(struct child *child)
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

static int child_load_vcpus(struct child *child)
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
		};
		int ret;

		ret = kvmfork_state_load(&target, &template->vcpus[i].state);
		if (ret)
			return ret;
	}
	return 0;
}

static int child_create_vcpus(struct child *child)
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

static int child_create_vm(struct child *child, int kvm_fd)
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

static int child_attach(struct child *child)
{
	struct file *attach = kvmfork_vm_attach(child->vm,
						child->template->traps);

	if (IS_ERR(attach))
		return PTR_ERR(attach);
	child->attach = attach;
	return 0;
}

/* All of the child that takes arguments for KVM, which need scratch memory. */
static int child_furnish(struct child *child)
{
	struct kvmfork_target target = vm_target(child);
	int ret;

	ret = child_create_board(child);
	ret = ret ?: child_set_slots(child);
	ret = ret ?: child_create_vcpus(child);
	ret = ret ?: kvmfork_state_load(&target, &child->template->clock);
	ret = ret ?: child_load_vcpus(child);
	ret = ret ?: kvmfork_state_load(&target, &child->template->devices);
	return ret ?: child_attach(child);
}

static int child_build(struct child *child, const struct kvmfork_spawn *args)
{
	int ret;

	ret = child_create_vm(child, args->kvm_fd);
	/* Before the scratch memory, which might land where this has to be. */
	ret = ret ?: child_map(child, args->flags);
	ret = ret ?: kvmfork_scratch_get(&child->scratch);
	if (ret)
		return ret;
	ret = child_furnish(child);
	kvmfork_scratch_put(&child->scratch);
	return ret;
}

/* Undo child_build(), in reverse. */
static void child_unbuild(struct child *child)
{
	const struct kvmfork_template *template = child->template;
	u32 i;

	if (child->attach)
		fput(child->attach);
	for (i = 0; i < template->nr_vcpus; i++)
		if (child->vcpus[i])
			fput(child->vcpus[i]);
	if (child->vm)
		fput(child->vm);
	for (i = 0; i < template->nr_mappings; i++)
		if (child->addrs[i])
			vm_munmap(child->addrs[i], template->mappings[i].size);
	for (i = 0; i < template->nr_memories; i++)
		if (child->memories[i])
			fput(child->memories[i]);
}

/* The fds of a child: VM first, so that it has the number that KVM gave it. */
static u32 child_files(struct child *child, struct file **files)
{
	const struct kvmfork_template *template = child->template;
	u32 i, nr = 0;

	files[nr++] = child->vm;
	files[nr++] = child->attach;
	for (i = 0; i < template->nr_vcpus; i++)
		files[nr++] = child->vcpus[i];
	for (i = 0; i < template->nr_memories; i++)
		files[nr++] = child->memories[i];
	return nr;
}

static int child_tell(struct child *child, struct kvmfork_spawn *args,
		      const int *fds)
{
	const struct kvmfork_template *template = child->template;
	struct kvmfork_vcpu __user *vcpus = u64_to_user_ptr(args->vcpus);
	struct kvmfork_mapping __user *mappings = u64_to_user_ptr(args->mappings);
	const int *memory_fds = fds + 2 + template->nr_vcpus;
	u32 i;

	for (i = 0; i < template->nr_vcpus; i++) {
		struct kvmfork_vcpu out = {
			.id = template->vcpus[i].id,
			.fd = fds[2 + i],
		};

		if (copy_to_user(&vcpus[i], &out, sizeof(out)))
			return -EFAULT;
	}
	for (i = 0; i < template->nr_mappings; i++) {
		const struct kvmfork_template_mapping *m = &template->mappings[i];
		struct kvmfork_mapping out = {
			.address = child->addrs[i],
			.parent_address = m->addr,
			.size = m->size,
			.offset = m->offset,
			.memory_fd = memory_fds[m->memory],
		};

		if (copy_to_user(&mappings[i], &out, sizeof(out)))
			return -EFAULT;
	}
	args->vm_fd = fds[0];
	args->attach_fd = fds[1];
	return 0;
}

/* Show the child to user space: the files become the fd table's. */
static int child_publish(struct child *child, struct kvmfork_spawn *args,
			 size_t offset, const struct kvmfork_args *to)
{
	const struct kvmfork_template *template = child->template;
	u32 room = 2 + template->nr_vcpus + template->nr_memories;
	struct file **files;
	u32 i, nr, made = 0;
	int *fds;
	int ret = -ENOMEM;

	files = kvcalloc(room, sizeof(*files), GFP_KERNEL);
	fds = kvcalloc(room, sizeof(*fds), GFP_KERNEL);
	if (!files || !fds)
		goto free;

	nr = child_files(child, files);
	for (made = 0; made < nr; made++) {
		ret = get_unused_fd_flags(O_CLOEXEC);
		if (ret < 0)
			goto put_fds;
		fds[made] = ret;
	}
	ret = child_tell(child, args, fds);
	if (!ret)
		ret = kvmfork_args_put(to, offset, args, sizeof(*args));
	if (ret)
		goto put_fds;

	for (i = 0; i < nr; i++)
		fd_install(fds[i], files[i]);
	goto free;

put_fds:
	while (made--)
		put_unused_fd(fds[made]);
free:
	kvfree(files);
	kvfree(fds);
	return ret;
}

int kvmfork_spawn_check(const struct kvmfork_spawn *args)
{
	if (args->flags & ~KVMFORK_SPAWN_FIXED ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	return 0;
}

/* Do the caller's arrays hold the result? If not, tell what it takes. */
static int spawn_check_room(const struct kvmfork_template *template,
			    struct kvmfork_spawn *args, size_t offset,
			    const struct kvmfork_args *to)
{
	bool fits = args->nr_vcpus >= template->nr_vcpus &&
		    args->nr_mappings >= template->nr_mappings;
	int ret;

	args->nr_vcpus = template->nr_vcpus;
	args->nr_mappings = template->nr_mappings;
	if (fits)
		return 0;
	ret = kvmfork_args_put(to, offset, args, sizeof(*args));
	return ret ?: -E2BIG;
}

int kvmfork_spawn(const struct kvmfork_template *template,
		  struct kvmfork_spawn *args, size_t offset,
		  const struct kvmfork_args *to, struct kvmfork_report *report)
{
	struct child child = { .template = template, .report = report };
	u64 start = ktime_get_ns();
	int ret;

	ret = kvmfork_spawn_check(args);
	ret = ret ?: spawn_check_room(template, args, offset, to);
	if (ret)
		return ret;

	child.memories = kvcalloc(template->nr_memories,
				  sizeof(*child.memories), GFP_KERNEL);
	child.addrs = kvcalloc(template->nr_mappings, sizeof(*child.addrs),
			       GFP_KERNEL);
	child.vcpus = kvcalloc(template->nr_vcpus, sizeof(*child.vcpus),
			       GFP_KERNEL);
	ret = -ENOMEM;
	if ((template->nr_memories && !child.memories) ||
	    (template->nr_mappings && !child.addrs) ||
	    (template->nr_vcpus && !child.vcpus))
		goto free;

	ret = child_build(&child, args);
	ret = ret ?: child_publish(&child, args, offset, to);
	if (ret)
		child_unbuild(&child);
free:
	trace_kvmfork_spawn(template->nr_vcpus, template->nr_mappings,
			    ktime_get_ns() - start, ret);
	kvfree(child.vcpus);
	kvfree(child.addrs);
	kvfree(child.memories);
	return ret;
}
