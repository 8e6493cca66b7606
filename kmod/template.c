// SPDX-License-Identifier: GPL-2.0-only
/* Making templates: freezing a VM. See template.h. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/kvm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "args.h"
#include "compat/kvm.h"
#include "kvmcall.h"
#include "state.h"
#include "template.h"
#include "trace.h"
#include "vm.h"

/* The vCPUs of a VM while it is being frozen. */
struct stopped_vcpu {
	struct file *file;
	struct kvm_vcpu *vcpu;
	u64 exits;
	u8 immediate_exit;	/* as it was */
};

struct stopped_vm {
	struct kvmfork_vm *vm;
	struct kvmfork_report *report;
	struct kvmfork_scratch scratch;
	u32 nr_vcpus;
	struct stopped_vcpu *vcpus;	/* in order of creation */
};

static void release_vcpus(struct stopped_vm *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++)
		if (stopped->vcpus[i].file)
			fput(stopped->vcpus[i].file);
	kvfree(stopped->vcpus);
}

/* Take the vCPU behind @fd into its place. */
static int take_vcpu(struct stopped_vm *stopped, int fd)
{
	struct file *file = fget(fd);
	struct stopped_vcpu *place;
	struct kvm_vcpu *vcpu;
	int ret = -EBADF;

	if (!file)
		return kvmfork_report(stopped->report, ret,
				      "vcpu_fds: %d is not an open file", fd);
	vcpu = kvmfork_file_to_vcpu(file);
	if (!vcpu || kvmfork_vcpu_kvm(vcpu) != stopped->vm->kvm) {
		kvmfork_report(stopped->report, ret,
			       "vcpu_fds: %d is not a vCPU of this VM", fd);
		goto put;
	}

	ret = -ENXIO;
	if (kvmfork_vcpu_index(vcpu) >= stopped->nr_vcpus)
		goto put;
	place = &stopped->vcpus[kvmfork_vcpu_index(vcpu)];
	if (place->file) {
		kvmfork_report(stopped->report, ret,
			       "vcpu_fds: vCPU %u is named twice",
			       kvmfork_vcpu_id(vcpu));
		goto put;
	}
	place->file = file;
	place->vcpu = vcpu;
	return 0;
put:
	fput(file);
	return ret;
}

static int take_vcpus(struct stopped_vm *stopped,
		      const struct kvmfork_freeze *args)
{
	const s32 __user *fds = u64_to_user_ptr(args->vcpu_fds);
	int nr = kvmfork_kvm_count_vcpus(stopped->vm->kvm);
	int ret = 0;
	s32 fd;
	u32 i;

	if (nr < 0)
		return nr;
	if (args->nr_vcpus != nr)
		return kvmfork_report(stopped->report, -ENXIO,
				      "nr_vcpus is %u, the VM has %d vCPUs",
				      args->nr_vcpus, nr);
	if (!nr)
		return 0;

	stopped->vcpus = kvcalloc(nr, sizeof(*stopped->vcpus),
				  GFP_KERNEL_ACCOUNT);
	if (!stopped->vcpus)
		return -ENOMEM;
	stopped->nr_vcpus = nr;
	for (i = 0; !ret && i < nr; i++)
		ret = get_user(fd, fds + i) ? -EFAULT : take_vcpu(stopped, fd);
	if (ret)
		release_vcpus(stopped);
	return ret;
}

/*
 * The value that keeps a vCPU from entering the guest here. User space writes
 * 1 to kick a vCPU, which must not be lost when the old value is put back.
 */
#define STOPPED	2

/*
 * All vCPUs must be out of KVM_RUN. One that another thread sends back there
 * meanwhile leaves again at once, and check_stopped() notices if it got far.
 */
static int stop_vcpus(struct stopped_vm *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct stopped_vcpu *v = &stopped->vcpus[i];

		if (kvmfork_vcpu_is_busy(v->vcpu))
			return kvmfork_report(stopped->report, -EBUSY,
					      "vCPU %u is running",
					      kvmfork_vcpu_id(v->vcpu));
	}
	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct stopped_vcpu *v = &stopped->vcpus[i];
		u8 *flag = compat_kvm_run_immediate_exit(kvmfork_vcpu_run(v->vcpu));

		v->exits = kvmfork_vcpu_count_exits(v->vcpu);
		v->immediate_exit = xchg(flag, STOPPED);
	}
	return 0;
}

static void restart_vcpus(struct stopped_vm *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct stopped_vcpu *v = &stopped->vcpus[i];
		u8 *flag = compat_kvm_run_immediate_exit(kvmfork_vcpu_run(v->vcpu));

		cmpxchg(flag, STOPPED, v->immediate_exit);
	}
}

static int check_stopped(struct stopped_vm *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct stopped_vcpu *v = &stopped->vcpus[i];

		if (kvmfork_vcpu_count_exits(v->vcpu) != v->exits)
			return kvmfork_report(stopped->report, -EBUSY,
					      "vCPU %u ran during the freeze",
					      kvmfork_vcpu_id(v->vcpu));
	}
	return 0;
}

/*
 * A vCPU that left for I/O has the second half of the instruction still to do,
 * and may have registers to take from its kvm_run (KVM_CAP_SYNC_REGS); KVM does
 * both on the way into the next KVM_RUN. What comes out of it may be the
 * next exit, which is the monitor's to answer.
 */
static int complete_io(struct stopped_vm *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct stopped_vcpu *v = &stopped->vcpus[i];
		long ret;

		if (!kvmfork_vcpu_has_pending_io(v->vcpu) &&
		    !READ_ONCE(kvmfork_vcpu_run(v->vcpu)->kvm_dirty_regs))
			continue;
		ret = kvmfork_kvm_call(v->file, KVM_RUN, 0);
		if (ret && ret != -EINTR)
			return kvmfork_report(stopped->report, ret,
					      "vCPU %u: KVM_RUN: error %ld",
					      kvmfork_vcpu_id(v->vcpu), ret);
		if (READ_ONCE(kvmfork_vcpu_run(v->vcpu)->kvm_dirty_regs))
			return kvmfork_report(stopped->report, -EINPROGRESS,
					      "vCPU %u: KVM does not take the registers in its kvm_run yet",
					      kvmfork_vcpu_id(v->vcpu));
		if (!ret || kvmfork_vcpu_has_pending_io(v->vcpu))
			return kvmfork_report(stopped->report, -EINPROGRESS,
					      "vCPU %u: answer the exit in its kvm_run first",
					      kvmfork_vcpu_id(v->vcpu));
	}
	return 0;
}

static int save_vcpus(struct stopped_vm *stopped,
		      struct kvmfork_template *template)
{
	u32 i;
	int ret;

	template->vcpus = kvcalloc(stopped->nr_vcpus, sizeof(*template->vcpus),
				   GFP_KERNEL_ACCOUNT);
	if (stopped->nr_vcpus && !template->vcpus)
		return -ENOMEM;
	template->nr_vcpus = stopped->nr_vcpus;
	for (i = 0; i < stopped->nr_vcpus; i++)
		INIT_LIST_HEAD(&template->vcpus[i].state);

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct stopped_vcpu *v = &stopped->vcpus[i];
		struct kvmfork_target target = {
			.file = v->file,
			.scratch = &stopped->scratch,
			.report = stopped->report,
			.name = "vCPU",
			.id = kvmfork_vcpu_id(v->vcpu),
		};

		template->vcpus[i].id = target.id;
		ret = kvmfork_vcpu_save(&target, v->vcpu, stopped->vm->file,
					&template->vcpus[i].state);
		if (ret)
			return ret;
	}
	return 0;
}

static int save_vm(struct stopped_vm *stopped,
		   struct kvmfork_template *template)
{
	struct kvmfork_target target = {
		.file = stopped->vm->file,
		.scratch = &stopped->scratch,
		.report = stopped->report,
		.name = "VM",
	};
	int ret;

	ret = kvmfork_devices_save(&target, &template->shape,
				   &template->devices);
	return ret ?: kvmfork_clock_save(&target, &template->clock);
}

static int freeze_memories(struct stopped_vm *stopped,
			   struct kvmfork_template *template)
{
	struct file **files;
	u32 i, nr_files;
	int ret;

	ret = kvmfork_mappings_find(template, &files, &nr_files,
				    stopped->report);
	if (ret)
		goto put_files;

	template->memories = kvcalloc(nr_files, sizeof(*template->memories),
				      GFP_KERNEL_ACCOUNT);
	if (nr_files && !template->memories) {
		ret = -ENOMEM;
		goto put_files;
	}
	for (i = 0; !ret && i < nr_files; i++) {
		unsigned long nr_dirty;

		ret = kvmfork_mem_freeze(kvmfork_mem_from_file(files[i]),
					 &template->memories[i], &nr_dirty);
		if (ret)
			break;
		template->nr_memories++;
		template->nr_dirty += nr_dirty;
	}
put_files:
	for (i = 0; i < nr_files; i++)
		fput(files[i]);
	kvfree(files);
	return ret;
}

/* The memory last: reading state may make KVM write some of it there. */
static int freeze_stopped(struct stopped_vm *stopped,
			  struct kvmfork_template *template)
{
	int ret;

	ret = complete_io(stopped);
	ret = ret ?: kvmfork_shape_read(stopped->vm->kvm, &template->shape,
					stopped->report);
	ret = ret ?: save_vcpus(stopped, template);
	ret = ret ?: save_vm(stopped, template);
	ret = ret ?: freeze_memories(stopped, template);
	return ret ?: check_stopped(stopped);
}

struct kvmfork_template *
kvmfork_template_create(struct kvmfork_vm *vm, const struct kvmfork_freeze *args,
			struct kvmfork_report *report)
{
	struct stopped_vm stopped = { .vm = vm, .report = report };
	struct kvmfork_template *template;
	u64 start = ktime_get_ns();
	int ret;

	lockdep_assert_held(&vm->lock);
	ret = kvmfork_kvm_check(vm->kvm);
	if (ret == -EXDEV)
		kvmfork_report(report, ret, "the VM belongs to another process");
	if (ret)
		return ERR_PTR(ret);

	template = kzalloc(sizeof(*template), GFP_KERNEL_ACCOUNT);
	if (!template)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&template->clock);
	INIT_LIST_HEAD(&template->devices);
	template->traps = vm->traps;

	ret = take_vcpus(&stopped, args);
	if (ret)
		goto destroy_template;
	ret = kvmfork_scratch_get(&stopped.scratch);
	if (ret)
		goto release_vcpus;
	ret = stop_vcpus(&stopped);
	if (ret)
		goto put_scratch;
	ret = freeze_stopped(&stopped, template);
	restart_vcpus(&stopped);
put_scratch:
	kvmfork_scratch_put(&stopped.scratch);
release_vcpus:
	release_vcpus(&stopped);
destroy_template:
	trace_kvmfork_freeze(template->nr_vcpus, template->nr_dirty,
			     ktime_get_ns() - start, ret);
	if (!ret)
		return template;
	kvmfork_template_destroy(template);
	return ERR_PTR(ret);
}

void kvmfork_template_destroy(struct kvmfork_template *template)
{
	u32 i;

	for (i = 0; i < template->nr_memories; i++)
		kvmfork_frozen_destroy(&template->memories[i]);
	kvfree(template->memories);
	kvfree(template->mappings);
	for (i = 0; i < template->nr_vcpus; i++)
		kvmfork_state_destroy(&template->vcpus[i].state);
	kvfree(template->vcpus);
	kvmfork_state_destroy(&template->devices);
	kvmfork_state_destroy(&template->clock);
	kvmfork_shape_destroy(&template->shape);
	kfree(template);
}

static long kvmfork_ioctl_spawn(struct kvmfork_template *template,
				struct kvmfork_args *from)
{
	struct kvmfork_report report = {};
	struct kvmfork_spawn args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	ret = kvmfork_spawn(template, &args, 0, from, &report);
	if (ret)
		kvmfork_report_copy(&report, u64_to_user_ptr(args.message),
				    args.message_size);
	return ret;
}

static long kvmfork_template_ioctl(struct file *file, unsigned int cmd,
				   unsigned long arg)
{
	struct kvmfork_args args;

	switch (kvmfork_args_init(&args, cmd, arg)) {
	case KVMFORK_CMD(KVMFORK_SPAWN):
		return kvmfork_ioctl_spawn(file->private_data, &args);
	default:
		return -ENOTTY;
	}
}

static int kvmfork_template_release(struct inode *inode, struct file *file)
{
	kvmfork_template_destroy(file->private_data);
	return 0;
}

static const struct file_operations kvmfork_template_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= kvmfork_template_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
	.release	= kvmfork_template_release,
};

int kvmfork_template_install(struct kvmfork_template *template)
{
	return anon_inode_getfd("[kvmfork-template]", &kvmfork_template_fops,
				template, O_RDWR | O_CLOEXEC);
}
