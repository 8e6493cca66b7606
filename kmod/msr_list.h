/* SPDX-License-Identifier: GPL-2.0-only */
/* Which model-specific registers there are. Private to the files of vCPU state. */
#ifndef KVMFORK_MSR_LIST_H
#define KVMFORK_MSR_LIST_H

#include <linux/types.h>

struct file;
struct kvm_msr_entry;
struct kvmfork_scratch;

enum kvmfork_msr_class {
	KVMFORK_MSR_PLAIN,
	KVMFORK_MSR_VMX,	/* which VMX the guest has */
	KVMFORK_MSR_COUNTER,	/* of the PMU; without one they are zero */
	KVMFORK_MSR_HYPERV,	/* reading one would make KVM set up state for it */
	KVMFORK_MSR_MTRR,	/* kvmfork_vcpu_mtrr() is faster */
	KVMFORK_MSR_APART,	/* carried by other means, or by none */
	KVMFORK_NR_MSR_CLASSES,
};

/* Learn from a vCPU made for the purpose. Once, at load. */
int kvmfork_msr_list_learn(struct kvmfork_scratch *scratch, struct file *vcpu);
void kvmfork_msr_list_module_exit(void);

/* All that there are, of all classes. */
u32 kvmfork_msr_list_count(void);
/* From 0, another for each that KVM_SET_MSRS may be given; -1: none. */
int kvmfork_msr_list_find(u32 index);
/* Put those of @class into @entries, without values; how many. */
u32 kvmfork_msr_list_fill(enum kvmfork_msr_class class,
			  struct kvm_msr_entry *entries);

#endif
