/* SPDX-License-Identifier: GPL-2.0-only */
/* The model-specific registers that KVM lists. */
#ifndef _KVMFORK_TEST_MSR_H
#define _KVMFORK_TEST_MSR_H

#include "vm.h"

#define MSR_LIST_MAX	1024

/*
 * Fills @indices, which has room for MSR_LIST_MAX, and returns how many there
 * are. Not among them is what runs on by itself, what belongs to the control
 * registers, and what is Hyper-V's: reading those alone makes KVM set up state
 * for them.
 */
unsigned int msr_list(uint32_t *indices);

/*
 * Write something other than @value that the register takes and keeps. False:
 * there is no such thing.
 */
bool msr_change(struct vcpu *vcpu, uint32_t index, uint64_t value);

#endif /* _KVMFORK_TEST_MSR_H */
