/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM whose vCPUs are held: out of KVM_RUN, and kept out of the guest, while
 * their state is read or replaced.
 */
#ifndef KVMFORK_STOP_H
#define KVMFORK_STOP_H

#include <linux/fs.h>

#include "kvmcall.h"
#include "report.h"

struct kvmfork_vm;

struct kvmfork_stopped_vcpu {
	struct file *file;
	struct kvm_vcpu *vcpu;
	u64 exits;
	u8 immediate_exit;	/* as it was */
};

struct kvmfork_stopped {
	struct kvmfork_vm *vm;			/* set by the caller */
	struct kvmfork_report *report;		/* likewise */
	struct kvmfork_scratch scratch;
	u32 nr_vcpus;
	struct kvmfork_stopped_vcpu *vcpus;	/* in order of creation */
};

/*
 * Hold the vCPUs of stopped->vm, whose lock the caller has: all of them, given
 * as s32[@nr_vcpus] at the user address @vcpu_fds. -EIO, -EXDEV: the VM is dead
 * or another process's. -EBADF, -ENXIO: not its vCPUs. -EBUSY: one is running.
 */
int kvmfork_stop(struct kvmfork_stopped *stopped, u64 vcpu_fds, u32 nr_vcpus);
void kvmfork_restart(struct kvmfork_stopped *stopped);

/* -EBUSY: a vCPU got into the guest all the same. */
int kvmfork_stop_check(struct kvmfork_stopped *stopped);

/*
 * Complete the I/O that vCPUs have left for. -EINPROGRESS: what came out of it
 * is an exit, which is the monitor's to answer.
 */
int kvmfork_stop_complete_io(struct kvmfork_stopped *stopped);
/* The same, for vCPUs whose state is about to be replaced: no exit matters. */
int kvmfork_stop_discard_io(struct kvmfork_stopped *stopped);

#endif
