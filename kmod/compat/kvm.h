/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs in KVM's own structures between the supported kernels. */
#ifndef KVMFORK_COMPAT_KVM_H
#define KVMFORK_COMPAT_KVM_H

#include <linux/kvm_host.h>
#include <linux/version.h>
#include <asm/mtrr.h>

/* 6.8: the number of address spaces (normal and SMM) became a constant. */
#ifndef KVM_MAX_NR_ADDRESS_SPACES
#define KVM_MAX_NR_ADDRESS_SPACES	KVM_ADDRESS_SPACE_NUM
#endif

/* 7.x: made private. A bit of kvm_vcpu_arch.apic_attention. */
#ifndef KVM_APIC_CHECK_VAPIC
#define KVM_APIC_CHECK_VAPIC	0
#endif

/* 6.8: VM types. Before, there was one. */
static inline unsigned long compat_kvm_type(struct kvm *kvm)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	return kvm->arch.vm_type;
#else
	return 0;
#endif
}

/* 6.16: four booleans became one mask. */
static inline u64 compat_kvm_disabled_exits(struct kvm *kvm)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	return kvm->arch.disabled_exits;
#else
	return (kvm->arch.mwait_in_guest ? KVM_X86_DISABLE_EXITS_MWAIT : 0) |
	       (kvm->arch.hlt_in_guest ? KVM_X86_DISABLE_EXITS_HLT : 0) |
	       (kvm->arch.pause_in_guest ? KVM_X86_DISABLE_EXITS_PAUSE : 0) |
	       (kvm->arch.cstate_in_guest ? KVM_X86_DISABLE_EXITS_CSTATE : 0);
#endif
}

static inline u64 compat_kvm_x2apic_api(struct kvm *kvm)
{
	u64 flags = 0;

	if (kvm->arch.x2apic_format)
		flags |= KVM_X2APIC_API_USE_32BIT_IDS;
	if (kvm->arch.x2apic_broadcast_quirk_disabled)
		flags |= KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
#ifdef KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST
	if (kvm->arch.suppress_eoi_broadcast_mode ==
	    KVM_SUPPRESS_EOI_BROADCAST_ENABLED)
		flags |= KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST;
	if (kvm->arch.suppress_eoi_broadcast_mode ==
	    KVM_SUPPRESS_EOI_BROADCAST_DISABLED)
		flags |= KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST;
#endif
	return flags;
}

/* 6.10: the frequency of the APIC bus can be chosen; before it was 1 GHz. */
static inline u64 compat_kvm_apic_bus_cycle_ns(struct kvm *kvm)
{
#ifdef KVM_CAP_X86_APIC_BUS_CYCLES_NS
	return kvm->arch.apic_bus_cycle_ns;
#else
	return 1;
#endif
}

#ifndef KVM_CAP_X86_APIC_BUS_CYCLES_NS
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS	237
#endif

/* 7.x: part of struct kvm_xen, and only there when Xen support is built in. */
static inline bool compat_kvm_is_xen(struct kvm *kvm)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#ifdef CONFIG_KVM_XEN
	return kvm->arch.xen.hvm_config.flags || kvm->arch.xen.hvm_config.msr;
#else
	return false;
#endif
#else
	return kvm->arch.xen_hvm_config.flags || kvm->arch.xen_hvm_config.msr;
#endif
}

/*
 * A memory type range register of a vCPU; false: @index is none. Between 6.1 and
 * 6.12 the bytes of fixed ranges became a register each, and variable ranges lost the
 * guest's reserved address bits that were set there.
 */
static inline bool compat_kvm_mtrr(struct kvm_vcpu *vcpu, u32 index, u64 *value)
{
	const struct kvm_mtrr *mtrr = &vcpu->arch.mtrr_state;
#ifdef KVM_NR_FIXED_MTRR_REGION
	const u64 *fixed_64k = (const u64 *)mtrr->fixed_ranges;
	const u64 *fixed_16k = fixed_64k + 1;
	const u64 *fixed_4k = fixed_16k + 2;
#else
	const u64 *fixed_64k = &mtrr->fixed_64k;
	const u64 *fixed_16k = mtrr->fixed_16k;
	const u64 *fixed_4k = mtrr->fixed_4k;
#endif

	switch (index) {
	case MTRRphysBase_MSR(0) ... MTRRphysMask_MSR(KVM_NR_VAR_MTRR - 1):
		index -= MTRRphysBase_MSR(0);
#ifdef KVM_NR_FIXED_MTRR_REGION
		*value = index % 2 ? READ_ONCE(mtrr->var_ranges[index / 2].mask) :
				     READ_ONCE(mtrr->var_ranges[index / 2].base);
		/* Any number of bits that user space has put into CPUID. */
		if (!vcpu->arch.maxphyaddr)
			*value = 0;
		else if (vcpu->arch.maxphyaddr < 64)
			*value &= BIT_ULL(vcpu->arch.maxphyaddr) - 1;
#else
		*value = READ_ONCE(mtrr->var[index]);
#endif
		return true;
	case MSR_MTRRfix64K_00000:
		*value = READ_ONCE(*fixed_64k);
		return true;
	case MSR_MTRRfix16K_80000 ... MSR_MTRRfix16K_A0000:
		*value = READ_ONCE(fixed_16k[index - MSR_MTRRfix16K_80000]);
		return true;
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
		*value = READ_ONCE(fixed_4k[index - MSR_MTRRfix4K_C0000]);
		return true;
	case MSR_MTRRdefType:
		*value = READ_ONCE(mtrr->deftype);
		return true;
	default:
		return false;
	}
}

/* 6.12: renamed for the kernel side, since user space may change it any time. */
static inline u8 *compat_kvm_run_immediate_exit(struct kvm_run *run)
{
#ifdef HINT_UNSAFE_IN_KVM
	return &run->immediate_exit__unsafe;
#else
	return &run->immediate_exit;
#endif
}

#endif
