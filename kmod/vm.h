/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Attach files: the hold of this module on one KVM VM.
 *
 * Locking: kvmfork_vm.lock is the outermost lock of the module; it is held
 * across a freeze and taken with trylock, so that it can never be waited for
 * from below KVM's or the mm's locks. attached_lock (vm.c) is innermost.
 */
#ifndef KVMFORK_VM_H
#define KVMFORK_VM_H

#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct kvm;

struct kvmfork_vm {
	struct mutex lock;
	struct file *file;	/* of the VM: keeps it, as KVM's device fds do */
	struct kvm *kvm;
	struct kvmfork_scratch_area *scratch;	/* kept for calls to this VM */
	struct hlist_node link;	/* among the attached VMs */
	struct rcu_head rcu;
	u64 traps;		/* lock; KVMFORK_TRAP_* */
	unsigned long nr_resets;	/* lock */
};

/*
 * Attach to the VM of @file, with @traps switched on, and return the attach
 * file. Takes its own reference to @file. ERR_PTR: -EEXIST when it is attached
 * already, -EOPNOTSUPP and -EINVAL for the traps.
 */
struct file *kvmfork_vm_attach(struct file *file, u64 traps);

/* The traps of an attached VM, 0 for any other. Callable in any context. */
u64 kvmfork_vm_traps(const struct kvm *kvm);

#endif
