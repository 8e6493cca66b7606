/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Warm starts, --template N: where the guest says KVMFORK_CALL_FREEZE, VM 1
 * becomes N children, which go on from there, and its process waits for them.
 */
#ifndef UKRUN_TEMPLATE_H
#define UKRUN_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct vm;

struct template {
	bool made;		/* the guest has said so */
	bool waits;		/* this process runs no guest any more */
	uint64_t first;		/* id of the first child that it waits for */
};

/* Do the options fit together? Dies when not. */
void template_check(struct vm *vm);

/* Does KVMFORK_CALL_FREEZE have something to do? For --reset-on-exit it has, too. */
bool template_is_wanted(const struct vm *vm);

/*
 * Serve the vCPU that made that call. Returns in the process that waits and,
 * with @vm turned into the child, in each new one.
 */
void vm_freeze(struct vm *vm, struct vcpu *caller);

/* On the main thread, now and then: ends the VM once all children have. */
void template_watch(struct vm *vm);

/* A signal ends this process: whoever sent it means the VMs that it stands for. */
void template_pass_on(struct vm *vm, int signo);

/* The status of this process, whose VM has ended with @status. */
int template_status(const struct vm *vm, int status);

#endif
