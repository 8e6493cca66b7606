/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM's user ABI has no getter for, or a slow one for what hardly ever changes,
 * read from struct kvm: which slots, vCPUs and interrupt routes a VM has, and what was
 * enabled on it; machine-check banks and MTRRs. Only the files behind this header look
 * for state in KVM's structures.
 */
#ifndef KVMFORK_KVMPEEK_H
#define KVMFORK_KVMPEEK_H

#include <linux/kvmfork_state.h>
#include <linux/kvm.h>
#include <linux/types.h>

#include "report.h"

struct kvm;
struct kvm_vcpu;

/* What a capability was enabled with; KVMFORK_NR_CAPS of them, fixed order. */
struct kvmfork_cap {
	const char *name;
	u32 cap;
	u64 value;
};

#define KVMFORK_NR_CAPS	17

enum kvmfork_irqchip {
	KVMFORK_IRQCHIP_NONE,
	KVMFORK_IRQCHIP_KERNEL,
	KVMFORK_IRQCHIP_SPLIT,
};

/* A VM without its contents: all that is needed to make another like it. */
struct kvmfork_shape {
	enum kvmfork_irqchip irqchip;
	u32 split_pins;			/* of KVM_CAP_SPLIT_IRQCHIP */
	bool pit;
	bool pit_speaker;		/* KVM_PIT_SPEAKER_DUMMY */
	u32 boot_cpu_id;
	u32 tsc_khz;			/* of vCPUs to come */
	u64 tss_addr;			/* 0: not set */
	u64 identity_map_addr;		/* 0: not set, or not in use */
	struct kvmfork_cap caps[KVMFORK_NR_CAPS];
	u32 nr_slots;
	struct kvm_userspace_memory_region *slots;	/* by rising id */
	struct kvm_irq_routing *routing;	/* NULL: none; by rising GSI */
};

/*
 * Read the shape of @kvm, which the caller holds. -EOPNOTSUPP, reported, when
 * it has something that cannot be carried. kvmfork_shape_destroy() afterwards.
 */
int kvmfork_shape_read(struct kvm *kvm, struct kvmfork_shape *shape,
		       struct kvmfork_report *report);
void kvmfork_shape_destroy(struct kvmfork_shape *shape);

/*
 * What two shapes differ in, of that which cannot be changed in a VM; NULL:
 * nothing. Where the memory of slots is in the address space does not count,
 * nor does the routing.
 */
const char *kvmfork_shape_compare(const struct kvmfork_shape *a,
				  const struct kvmfork_shape *b);

/*
 * The interrupt routes of a VM that has an interrupt controller, by rising GSI;
 * kvfree() them. -EOPNOTSUPP, reported, when one cannot be carried.
 */
int kvmfork_routing_read(struct kvm *kvm, struct kvm_irq_routing **to,
			 struct kvmfork_report *report);
bool kvmfork_routing_equal(const struct kvm_irq_routing *a,
			   const struct kvm_irq_routing *b);

/* Which capabilities there are. */
void kvmfork_caps_list(struct kvmfork_cap *caps);
/* The capabilities of a VM, for comparing a new one with what it shall be. */
void kvmfork_caps_read(struct kvm *kvm, struct kvmfork_cap *caps);

/* -EIO: KVM has given up on this VM. -EXDEV: it belongs to another process. */
int kvmfork_kvm_check(struct kvm *kvm);
/*
 * KVM keeps shadows of the guest's own page tables (without EPT/NPT, or of a
 * nested guest), which only writes of the guest keep up to date.
 */
bool kvmfork_kvm_has_shadow_pages(struct kvm *kvm);
/* How many vCPUs there are; -EBUSY while one is being made. */
int kvmfork_kvm_count_vcpus(struct kvm *kvm);

struct kvm *kvmfork_vcpu_kvm(struct kvm_vcpu *vcpu);
u32 kvmfork_vcpu_id(struct kvm_vcpu *vcpu);
/* Position in the order of creation, from 0. */
unsigned int kvmfork_vcpu_index(struct kvm_vcpu *vcpu);
bool kvmfork_vcpu_has_lapic(struct kvm_vcpu *vcpu);
/* Somebody is in KVM_RUN, or in another ioctl of the vCPU. */
bool kvmfork_vcpu_is_busy(struct kvm_vcpu *vcpu);
/* Rises when the guest runs. */
u64 kvmfork_vcpu_count_exits(struct kvm_vcpu *vcpu);
/* The last exit has a second half, to be done by the next KVM_RUN. */
bool kvmfork_vcpu_has_pending_io(struct kvm_vcpu *vcpu);
struct kvm_run *kvmfork_vcpu_run(struct kvm_vcpu *vcpu);
/* KVM_SET_GUEST_DEBUG as it was called last; control 0: not at all. */
void kvmfork_vcpu_guest_debug(struct kvm_vcpu *vcpu,
			      struct kvm_guest_debug *debug);
/* Entries of KVM_GET_CPUID2. */
u32 kvmfork_vcpu_count_cpuid(struct kvm_vcpu *vcpu);
/*
 * Is that what the vCPU has? It is compared as it is: what KVM changes in it as
 * the guest runs may make it differ where KVM_SET_CPUID2 sees none.
 */
bool kvmfork_vcpu_has_cpuid(struct kvm_vcpu *vcpu,
			    const struct kvm_cpuid2 *cpuid);
/*
 * Bytes that KVM_GET_XSAVE2 writes; beyond struct kvm_xsave when the guest may use
 * AMX. KVM_CAP_XSAVE2 says the same, for vCPUs that are made now.
 */
u32 kvmfork_vcpu_xsave_size(struct kvm_vcpu *vcpu);
/* KVM keeps Hyper-V state for it. */
bool kvmfork_vcpu_has_hyperv(struct kvm_vcpu *vcpu);
/*
 * Machine-check state, which KVM_GET_MSRS would take as long for as for all
 * other MSRs. There are @nr banks, at most the number in MSR_IA32_MCG_CAP.
 */
u64 kvmfork_vcpu_mcg_cap(struct kvm_vcpu *vcpu);
void kvmfork_vcpu_mce_banks(struct kvm_vcpu *vcpu,
			    struct kvmfork_state_mce_bank *banks, u32 nr);
bool kvmfork_vcpu_has_mce_bank(struct kvm_vcpu *vcpu, u32 i,
			       const struct kvmfork_state_mce_bank *bank);
/* The same for a memory type range register. False: @index is none. */
bool kvmfork_vcpu_mtrr(struct kvm_vcpu *vcpu, u32 index, u64 *value);
/* The VM may have a PMU: without one all counters are zero. */
bool kvmfork_vcpu_has_pmu(struct kvm_vcpu *vcpu);
/*
 * Forget a triple fault that is about to end the VM. Only with
 * KVM_CAP_X86_TRIPLE_FAULT_EVENT it is state that could be set.
 */
void kvmfork_vcpu_cancel_shutdown(struct kvm_vcpu *vcpu);
/*
 * Make the vCPU forget translations of guest-virtual addresses: the guest's page
 * tables were written behind its back, with nothing unmapped.
 */
void kvmfork_vcpu_flush_tlb(struct kvm_vcpu *vcpu);
/* The guest has switched async page faults on. */
bool kvmfork_vcpu_has_async_pf(struct kvm_vcpu *vcpu);
/* KVM holds pages of a nested guest's hypervisor by reference. */
bool kvmfork_vcpu_is_nested(struct kvm_vcpu *vcpu);
/* KVM_CAP_ENFORCE_PV_FEATURE_CPUID is on. */
bool kvmfork_vcpu_enforces_pv_cpuid(struct kvm_vcpu *vcpu);
/* -EOPNOTSUPP, reported, when the vCPU has something that cannot be carried. */
int kvmfork_vcpu_check(struct kvm_vcpu *vcpu, struct kvmfork_report *report);

#endif
