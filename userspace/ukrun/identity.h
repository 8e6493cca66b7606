/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tells a copy of a VM from all others: the place that the guest has
 * named with KVMFORK_CALL_IDENTITY is written before a copy runs.
 */
#ifndef UKRUN_IDENTITY_H
#define UKRUN_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

struct identity {
	bool wanted;
	uint64_t gpa;
	/* Of this VM; more than that of the one it is a copy of. Never goes back. */
	uint64_t generation;
};

/* KVMFORK_CALL_IDENTITY: 0 or a negative errno. On a vCPU's thread. */
int64_t identity_register(struct vm *vm, uint64_t gpa);

/* CLOCK_BOOTTIME in ns. */
uint64_t identity_now(void);

/* This VM is a copy of one that was frozen at @frozen. 0 or a negative errno. */
int identity_renew(struct vm *vm, uint64_t frozen);

#endif
