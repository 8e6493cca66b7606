/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calling KVM the way user space does: through the file operations of KVM's
 * own files, in the context of the task that called us.
 *
 * KVM copies its arguments from and to user memory, so they pass through a
 * scratch mapping of the calling task. Its other threads can write there: what
 * is read from it is copied once and not trusted, and KVM validates what it
 * is given as it does for anybody.
 */
#ifndef KVMFORK_KVMCALL_H
#define KVMFORK_KVMCALL_H

#include <linux/fs.h>
#include <linux/kvm.h>

struct kvm;
struct kvm_vcpu;

/* Big enough for the largest argument: a full GSI routing table. */
#define KVMFORK_SCRATCH_SIZE	(256UL << 10)

struct kvmfork_scratch {
	unsigned long addr;	/* in current->mm */
};

/*
 * Learn what KVM's files look like from a VM made for the purpose, and which
 * MSRs it lists. -ENODEV when KVM is not there.
 */
int kvmfork_kvmcall_module_init(void);
void kvmfork_kvmcall_module_exit(void);

/* MSRs of KVM_GET_MSR_INDEX_LIST. */
extern struct kvm_msr_list *kvmfork_msr_list;

int kvmfork_scratch_get(struct kvmfork_scratch *scratch);
void kvmfork_scratch_put(struct kvmfork_scratch *scratch);

/* Is @file an open /dev/kvm? */
bool kvmfork_file_is_kvm_dev(struct file *file);
/* The VM or vCPU of a KVM file, NULL for any other file. No reference taken. */
struct kvm *kvmfork_file_to_kvm(struct file *file);
struct kvm_vcpu *kvmfork_file_to_vcpu(struct file *file);

/* The plain call; @arg is whatever the command takes. KVM's return value. */
long kvmfork_kvm_call(struct file *file, unsigned int cmd, unsigned long arg);

/*
 * Calls with a struct of @size bytes at @data: given to KVM, taken from it, or
 * both. KVM's return value; -EFAULT when the scratch memory went away.
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
