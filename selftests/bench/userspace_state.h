/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of a VM, read and set by KVM's calls alone, as a monitor without
 * kvmfork has to. No call is made that this guest does not need.
 */
#ifndef _KVMFORK_BENCH_USERSPACE_STATE_H
#define _KVMFORK_BENCH_USERSPACE_STATE_H

#include <linux/kvm.h>
#include <stdint.h>

#include "vm.h"

#define USERSPACE_MAX_MSRS	256	/* KVM takes as many in a call */

struct userspace_vcpu {
	struct vcpu_cpuid cpuid;
	uint64_t tsc_offset;
	struct kvm_sregs2 sregs2;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[USERSPACE_MAX_MSRS];
	} msrs;
	struct kvm_regs regs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
};

struct userspace_state {
	struct kvm_clock_data clock;
	struct kvm_irqchip irqchips[3];
	struct kvm_pit_state2 pit;
	struct userspace_vcpu vcpus[VM_MAX_VCPUS];
};

/*
 * What a monitor knows of its VM without asking each time: the CPUID it gave,
 * and which MSRs can be read and set.
 */
void userspace_state_init(struct userspace_state *state, struct vm *vm);

/* All else. */
void userspace_state_save(struct userspace_state *state, struct vm *vm);

/* Into a VM that has its slots, and no vCPUs yet; those are made. */
void userspace_state_load(const struct userspace_state *state, struct vm *vm,
			  unsigned int nr_vcpus);

#endif /* _KVMFORK_BENCH_USERSPACE_STATE_H */
