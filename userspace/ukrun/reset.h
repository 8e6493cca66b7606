/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --reset-on-exit: a VM that is done goes back, in place, to where it said
 * KVMFORK_CALL_FREEZE, or to its start. No process and no VM is made.
 */
#ifndef UKRUN_RESET_H
#define UKRUN_RESET_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"

struct fork_job;
struct fork_report;
struct vcpu;
struct vm;

struct reset {
	bool possible;
	int template;		/* only when @possible, like the rest */
	struct vcpu *caller;	/* whose call returns; null: the template is the start */
	int64_t number;		/* what it returns; 0: @runs */
	uint64_t frozen;	/* identity_now() then */
	struct identity identity;	/* the place that the guest had named then */
	uint64_t runs;		/* how often the VM has been reset */
	uint64_t exits;		/* ... because it had exited */
	uint64_t first_child;	/* ids from here on are of the run */
};

/* Do the options fit together? Dies when not. */
void reset_check(struct vm *vm);

/* Before the vCPUs are started: a guest that says nothing is reset to here. */
void reset_from_start(struct vm *vm);

/*
 * With all vCPUs parked and the devices saved: reset to the template of @job
 * from now on. Takes it over, and closes it when nothing is to be reset.
 */
void reset_take(struct vm *vm, const struct fork_job *job);

/* In a child, which is another VM. */
void reset_forget(struct vm *vm);

/* All vCPUs are parked. @flags: KVMFORK_RESET_*. 0 or a negative errno. */
int reset_to(struct vm *vm, int template, uint64_t flags, struct fork_report *report);

bool reset_is_possible(const struct vm *vm);

/* The guest asks for it. */
void vm_reset(struct vm *vm);

/* The VM has ended: does it run again? */
bool reset_on_exit(struct vm *vm);

#endif
