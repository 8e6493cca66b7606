/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest that has a guest of its own by VMX. */
#ifndef _KVMFORK_TEST_VMX_H
#define _KVMFORK_TEST_VMX_H

#include <stdbool.h>
#include <stdint.h>

#include "vm.h"

/* The region for VMXON, and behind it the VMCS: pages of the guest's. */
#define VMX_REGION	(GUEST_DATA + 0x6000)
#define VMX_L2_STACK	(GUEST_DATA + 0x9000)

#define VMX_EXIT_VMCALL	18

/* The vCPU's CPUID has VMX, and the guest may switch it on. */
bool vcpu_allow_vmx(struct vcpu *vcpu);

/*
 * Guest code, for the test's own: switch VMX on, and fill a VMCS so that L2 will
 * begin at @l2 in the mode and with the tables of L1.
 */
void __guest guest_vmx_prepare(uint64_t l2);
/* Run L2 until it leaves; the reason. */
uint32_t __guest guest_vmx_launch(void);

#endif /* _KVMFORK_TEST_VMX_H */
