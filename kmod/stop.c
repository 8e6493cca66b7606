// SPDX-License-Identifier: GPL-2.0-only
/* Holding the vCPUs of a VM. See stop.h. */
#include <linux/file.h>
#include <linux/kvm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat/kvm.h"
#include "kvmpeek.h"
#include "stop.h"
#include "vm.h"

static void release_vcpus(struct kvmfork_stopped *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++)
		if (stopped->vcpus[i].file)
			fput(stopped->vcpus[i].file);
	kvfree(stopped->vcpus);
}

/* Take the vCPU behind @fd into its place. */
static int take_vcpu(struct kvmfork_stopped *stopped, int fd)
{
	struct file *file = fget(fd);
	struct kvmfork_stopped_vcpu *place;
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

static int take_vcpus(struct kvmfork_stopped *stopped, const s32 __user *fds,
		      u32 nr_vcpus)
{
	int nr = kvmfork_kvm_count_vcpus(stopped->vm->kvm);
	int ret = 0;
	s32 fd;
	u32 i;

	if (nr < 0)
		return nr;
	if (nr_vcpus != nr)
		return kvmfork_report(stopped->report, -ENXIO,
				      "nr_vcpus is %u, the VM has %d vCPUs",
				      nr_vcpus, nr);
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
 * meanwhile leaves again at once, and kvmfork_stop_check() notices if it got far.
 */
static int stop_vcpus(struct kvmfork_stopped *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct kvmfork_stopped_vcpu *v = &stopped->vcpus[i];

		if (kvmfork_vcpu_is_busy(v->vcpu))
			return kvmfork_report(stopped->report, -EBUSY,
					      "vCPU %u is running",
					      kvmfork_vcpu_id(v->vcpu));
	}
	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct kvmfork_stopped_vcpu *v = &stopped->vcpus[i];
		u8 *flag = compat_kvm_run_immediate_exit(kvmfork_vcpu_run(v->vcpu));

		v->exits = kvmfork_vcpu_count_exits(v->vcpu);
		v->immediate_exit = xchg(flag, STOPPED);
	}
	return 0;
}

static void restart_vcpus(struct kvmfork_stopped *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct kvmfork_stopped_vcpu *v = &stopped->vcpus[i];
		u8 *flag = compat_kvm_run_immediate_exit(kvmfork_vcpu_run(v->vcpu));

		cmpxchg(flag, STOPPED, v->immediate_exit);
	}
}

int kvmfork_stop_check(struct kvmfork_stopped *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct kvmfork_stopped_vcpu *v = &stopped->vcpus[i];

		if (kvmfork_vcpu_count_exits(v->vcpu) != v->exits)
			return kvmfork_report(stopped->report, -EBUSY,
					      "vCPU %u ran during the freeze",
					      kvmfork_vcpu_id(v->vcpu));
	}
	return 0;
}

int kvmfork_stop(struct kvmfork_stopped *stopped, u64 vcpu_fds, u32 nr_vcpus)
{
	int ret;

	lockdep_assert_held(&stopped->vm->lock);
	ret = kvmfork_kvm_check(stopped->vm->kvm);
	if (ret == -EXDEV)
		kvmfork_report(stopped->report, ret,
			       "the VM belongs to another process");
	ret = ret ?: take_vcpus(stopped, u64_to_user_ptr(vcpu_fds), nr_vcpus);
	if (ret)
		return ret;
	ret = kvmfork_scratch_get(&stopped->scratch);
	if (ret)
		goto release_vcpus;
	ret = stop_vcpus(stopped);
	if (ret)
		goto put_scratch;
	return 0;

put_scratch:
	kvmfork_scratch_put(&stopped->scratch);
release_vcpus:
	release_vcpus(stopped);
	return ret;
}

void kvmfork_restart(struct kvmfork_stopped *stopped)
{
	restart_vcpus(stopped);
	kvmfork_scratch_put(&stopped->scratch);
	release_vcpus(stopped);
}

/*
 * Let KVM do what it left for the next KVM_RUN: the second half of an I/O
 * instruction, and taking registers from kvm_run (KVM_CAP_SYNC_REGS).
 */
static int enter_once(struct kvmfork_stopped *stopped,
		      struct kvmfork_stopped_vcpu *v, bool *has_exit)
{
	struct kvm_run *run = kvmfork_vcpu_run(v->vcpu);
	long ret;

	*has_exit = false;
	if (!kvmfork_vcpu_has_pending_io(v->vcpu) &&
	    !READ_ONCE(run->kvm_dirty_regs))
		return 0;
	ret = kvmfork_kvm_call(v->file, KVM_RUN, 0);
	if (ret && ret != -EINTR)
		return kvmfork_report(stopped->report, ret,
				      "vCPU %u: KVM_RUN: error %ld",
				      kvmfork_vcpu_id(v->vcpu), ret);
	if (READ_ONCE(run->kvm_dirty_regs))
		return kvmfork_report(stopped->report, -EINPROGRESS,
				      "vCPU %u: KVM does not take the registers in its kvm_run yet",
				      kvmfork_vcpu_id(v->vcpu));
	*has_exit = !ret || kvmfork_vcpu_has_pending_io(v->vcpu);
	return 0;
}

int kvmfork_stop_complete_io(struct kvmfork_stopped *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct kvmfork_stopped_vcpu *v = &stopped->vcpus[i];
		bool has_exit;
		int ret;

		ret = enter_once(stopped, v, &has_exit);
		if (ret)
			return ret;
		if (has_exit)
			return kvmfork_report(stopped->report, -EINPROGRESS,
					      "vCPU %u: answer the exit in its kvm_run first",
					      kvmfork_vcpu_id(v->vcpu));
	}
	return 0;
}

/*
 * An instruction leaves once for each of its pieces, and KVM lets the guest in
 * between after 1,024 rounds of a REP prefix.
 */
#define MAX_EXITS	2048

/* KVM leaves what a vCPU has begun alone while that waits to be started. */
static int make_runnable(struct kvmfork_stopped *stopped,
			 struct kvmfork_stopped_vcpu *v)
{
	static const struct kvm_mp_state runnable = {
		.mp_state = KVM_MP_STATE_RUNNABLE,
	};
	long ret;

	ret = kvmfork_kvm_set(&stopped->scratch, v->file, KVM_SET_MP_STATE,
			      &runnable, sizeof(runnable));
	if (ret < 0)
		return kvmfork_report(stopped->report, ret,
				      "vCPU %u: KVM_SET_MP_STATE: error %ld",
				      kvmfork_vcpu_id(v->vcpu), ret);
	return 0;
}

int kvmfork_stop_discard_io(struct kvmfork_stopped *stopped)
{
	u32 i;

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct kvmfork_stopped_vcpu *v = &stopped->vcpus[i];
		bool has_exit = true;
		u32 nr;
		int ret;

		WRITE_ONCE(kvmfork_vcpu_run(v->vcpu)->kvm_dirty_regs, 0);
		for (nr = 0; has_exit && nr < MAX_EXITS; nr++) {
			ret = nr == 1 ? make_runnable(stopped, v) : 0;
			ret = ret ?: enter_once(stopped, v, &has_exit);
			if (ret)
				return ret;
		}
		if (has_exit)
			return kvmfork_report(stopped->report, -EINPROGRESS,
					      "vCPU %u: answer the exit in its kvm_run first",
					      kvmfork_vcpu_id(v->vcpu));
	}
	return 0;
}
