// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which model-specific registers there are: those that KVM lists, and those that
 * it knows and does not list. See msr_list.h.
 */
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>
#include <asm/mtrr.h>

#include "kvmcall.h"
#include "msr_list.h"

/* Of the Hyper-V TLFS, section 3: synthetic MSRs. */
#define HYPERV_MSR_FIRST	0x40000000
#define HYPERV_MSR_LAST		0x4000ffff

/* What KVM keeps and, on some of the kernels or on all, does not list. */
static const u32 unlisted[] = {
	MSR_IA32_TSX_CTRL, MSR_IA32_DEBUGCTLMSR, MSR_VM_CR,
	MSR_IA32_SGXLEPUBKEYHASH0, MSR_IA32_SGXLEPUBKEYHASH1,
	MSR_IA32_SGXLEPUBKEYHASH2, MSR_IA32_SGXLEPUBKEYHASH3,
	MSR_MTRRdefType, MSR_MTRRfix64K_00000, MSR_MTRRfix16K_80000,
	MSR_MTRRfix16K_A0000, MSR_MTRRfix4K_C0000, MSR_MTRRfix4K_C8000,
	MSR_MTRRfix4K_D0000, MSR_MTRRfix4K_D8000, MSR_MTRRfix4K_E0000,
	MSR_MTRRfix4K_E8000, MSR_MTRRfix4K_F0000, MSR_MTRRfix4K_F8000,
};

#define NR_VAR_MTRRS	(2 * KVM_NR_VAR_MTRR)

/* All of them, class by class; class_end[i] is behind class i. */
static u32 *msrs;
static u32 class_end[KVMFORK_NR_MSR_CLASSES];

static enum kvmfork_msr_class class_of(u32 index)
{
	switch (index) {
	case MSR_IA32_TSC:	/* by the TSC offset; writing it makes it jump */
	case MSR_IA32_FEAT_CTL:	/* with those of VMX */
	case HV_X64_MSR_VP_RUNTIME:		/* these follow from the clock */
	case HV_X64_MSR_TIME_REF_COUNT:
	case HV_X64_MSR_TSC_FREQUENCY:
	case HV_X64_MSR_APIC_FREQUENCY:
		return KVMFORK_MSR_APART;
	case MSR_IA32_VMX_BASIC ... MSR_IA32_VMX_VMFUNC:
		return KVMFORK_MSR_VMX;
	case MSR_IA32_PERFCTR0 ... MSR_IA32_PERFCTR0 + 7:
	case MSR_P6_EVNTSEL0 ... MSR_P6_EVNTSEL0 + 7:
	case MSR_CORE_PERF_FIXED_CTR0 ... MSR_CORE_PERF_FIXED_CTR0 + 2:
	case MSR_CORE_PERF_FIXED_CTR_CTRL ... MSR_CORE_PERF_GLOBAL_OVF_CTRL:
	case MSR_K7_EVNTSEL0 ... MSR_K7_PERFCTR3:
	case MSR_F15H_PERF_CTL0 ... MSR_F15H_PERF_CTR5:
		return KVMFORK_MSR_COUNTER;
	case MTRRphysBase_MSR(0) ... MTRRphysBase_MSR(0) + NR_VAR_MTRRS - 1:
	case MSR_MTRRfix64K_00000:
	case MSR_MTRRfix16K_80000 ... MSR_MTRRfix16K_A0000:
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
	case MSR_MTRRdefType:
		return KVMFORK_MSR_MTRR;
	default:
		return index >= HYPERV_MSR_FIRST && index <= HYPERV_MSR_LAST ?
		       KVMFORK_MSR_HYPERV : KVMFORK_MSR_PLAIN;
	}
}

static bool is_listed(u32 index)
{
	u32 i;

	for (i = 0; i < kvmfork_msr_list->nmsrs; i++)
		if (kvmfork_msr_list->indices[i] == index)
			return true;
	return false;
}

/* 1: yes, 0: no, or an error. */
static long is_readable(struct kvmfork_scratch *scratch, struct file *vcpu,
			struct kvm_msrs *one, u32 index)
{
	one->nmsrs = 1;
	one->entries[0].index = index;
	return kvmfork_kvm_exchange(scratch, vcpu, KVM_GET_MSRS, one,
				    struct_size(one, entries, 1));
}

/* All that there are on this host, whatever the guest's CPUID. */
static int collect(struct kvmfork_scratch *scratch, struct file *vcpu, u32 *all)
{
	u32 i, nr = kvmfork_msr_list->nmsrs;
	struct kvm_msrs *one;
	long ret = 0;

	one = kzalloc(struct_size(one, entries, 1), GFP_KERNEL);
	if (!one)
		return -ENOMEM;
	memcpy(all, kvmfork_msr_list->indices, nr * sizeof(*all));
	for (i = 0; ret >= 0 && i < ARRAY_SIZE(unlisted); i++) {
		if (is_listed(unlisted[i]))
			continue;
		ret = is_readable(scratch, vcpu, one, unlisted[i]);
		if (ret == 1)
			all[nr++] = unlisted[i];
	}
	for (i = 0; i < NR_VAR_MTRRS; i++)
		all[nr++] = MTRRphysBase_MSR(0) + i;
	kfree(one);
	return ret < 0 ? ret : nr;
}

/* Within a class they keep their order. */
static void sort_by_class(const u32 *all, u32 nr)
{
	enum kvmfork_msr_class class;
	u32 i, next = 0;

	for (class = 0; class < KVMFORK_NR_MSR_CLASSES; class++) {
		for (i = 0; i < nr; i++)
			if (class_of(all[i]) == class)
				msrs[next++] = all[i];
		class_end[class] = next;
	}
}

int kvmfork_msr_list_learn(struct kvmfork_scratch *scratch, struct file *vcpu)
{
	u32 max = kvmfork_msr_list->nmsrs + ARRAY_SIZE(unlisted) + NR_VAR_MTRRS;
	int ret = -ENOMEM;
	u32 *all;

	all = kcalloc(max, sizeof(*all), GFP_KERNEL);
	msrs = kcalloc(max, sizeof(*msrs), GFP_KERNEL);
	if (all && msrs)
		ret = collect(scratch, vcpu, all);
	if (ret > 0)
		sort_by_class(all, ret);
	else
		kvmfork_msr_list_module_exit();
	kfree(all);
	return min(ret, 0);
}

void kvmfork_msr_list_module_exit(void)
{
	kfree(msrs);
	msrs = NULL;
}

u32 kvmfork_msr_list_count(void)
{
	return class_end[KVMFORK_NR_MSR_CLASSES - 1];
}

int kvmfork_msr_list_find(u32 index)
{
	u32 i;

	if (index == MSR_IA32_TSC)
		return -1;
	for (i = 0; i < kvmfork_msr_list_count(); i++)
		if (msrs[i] == index)
			return i;
	return -1;
}

u32 kvmfork_msr_list_fill(enum kvmfork_msr_class class,
			  struct kvm_msr_entry *entries)
{
	u32 first = class ? class_end[class - 1] : 0;
	u32 i, nr = class_end[class] - first;

	for (i = 0; i < nr; i++)
		entries[i] = (struct kvm_msr_entry) { .index = msrs[first + i] };
	return nr;
}
