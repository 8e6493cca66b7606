/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All state of a VM that KVM has a getter for, as bytes that can be compared.
 * What moves on by itself (counts of running timers, clocks) reads as zero.
 */
#ifndef _KVMFORK_TEST_STATE_H
#define _KVMFORK_TEST_STATE_H

#include "vm.h"

enum state_id {
	STATE_REGS,
	STATE_SREGS,
	STATE_SREGS2,
	STATE_XCRS,
	STATE_XSAVE,
	STATE_FPU,
	STATE_DEBUGREGS,
	STATE_LAPIC,
	STATE_MP_STATE,
	STATE_EVENTS,
	STATE_CPUID,
	STATE_TSC_KHZ,
	STATE_TSC_OFFSET,
	STATE_NESTED,
	STATE_VCPU_END,		/* those before are of a vCPU */
	STATE_PIC_MASTER = STATE_VCPU_END,
	STATE_PIC_SLAVE,
	STATE_IOAPIC,
	STATE_PIT,
	STATES,
};

/* As one getter gives it; size 0: it failed, there is no such state. */
struct state {
	unsigned int size;
	unsigned char data[8192];
};

const char *state_name(enum state_id id);
void state_get(struct vm *vm, struct vcpu *vcpu, enum state_id id, struct state *state);
bool state_equal(const struct state *a, const struct state *b);

struct state_image {
	struct state states[STATES];
};

/* All states of @vm, those of a vCPU from its vCPU number @index. */
void state_image_get(struct vm *vm, unsigned int index, struct state_image *image);
/* How many states differ; each is said on stderr with the first bytes. */
unsigned int state_image_compare(const struct state_image *a, const struct state_image *b);

#endif /* _KVMFORK_TEST_STATE_H */
