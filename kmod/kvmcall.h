/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calling KVM the way user space does: through the file operations of KVM's
 * own files, in the context of the task that called us.
 *
 * KVM copies its arguments from and to user memory, so they pass through scratch
 * memory of the calling task. Its other threads can write there: what is read
 * from it is copied once and not trusted, and KVM validates what it is given
 * as it does for anybody.
 */
#ifndef KVMFORK_KVMCALL_H
#define KVMFORK_KVMCALL_H

#include <linux/fs.h>
#include <linux/kvm.h>

#include "scratch.h"

struct kvm;
struct kvm_vcpu;

/*
 * Learn what KVM's files look like from a VM made for the purpose, and which
 * MSRs it lists; then let @learn have a look at the vCPU. -ENODEV when KVM is
 * not there.
 */
typedef int (*kvmfork_learn_fn)(struct kvmfork_scratch *scratch,
				struct file *vcpu);
int kvmfork_kvmcall_module_init(kvmfork_learn_fn learn);
void kvmfork_kvmcall_module_exit(void);

/* MSRs of KVM_GET_MSR_INDEX_LIST. */
extern struct kvm_msr_list *kvmfork_msr_list;

/* Is @file an open /dev/kvm? */
bool kvmfork_file_is_kvm_dev(struct file *file);
/* The VM or vCPU of a KVM file, NULL for any other file. No reference taken. */
struct kvm *kvmfork_file_to_kvm(struct file *file);
struct kvm_vcpu *kvmfork_file_to_vcpu(struct file *file);

/* The plain call; @arg is whatever the command takes. KVM's return value. */
long kvmfork_kvm_call(struct file *file, unsigned int cmd, unsigned long arg);

/*
 * Calls with a struct of @size bytes at @data: given to KVM, taken from it, or
 * both. KVM's return value, which is -EFAULT when the scratch memory went away;
 * or -ENOMEM or -E2BIG, from kvmfork_scratch_fill().
 */
long kvmfork_kvm_set(struct kvmfork_scratch *scratch, struct file *file,
		     unsigned int cmd, const void *data, size_t size);
long kvmfork_kvm_get(struct kvmfork_scratch *scratch, struct file *file,
		     unsigned int cmd, void *data, size_t size);
long kvmfork_kvm_exchange(struct kvmfork_scratch *scratch, struct file *file,
			  unsigned int cmd, void *data, size_t size);

/*
 * Commands that return a new file: KVM_CREATE_VM on @file = /dev/kvm, and
 * KVM_CREATE_VCPU on a VM. The fd that KVM made is closed again, so that the
 * caller decides when, and under which number, user space sees the file.
 */
struct file *kvmfork_kvm_create_vm(struct file *file, unsigned long type);
struct file *kvmfork_kvm_create_vcpu(struct file *file, unsigned long id);

#endif
