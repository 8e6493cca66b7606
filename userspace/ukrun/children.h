/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The children of this VM. Host processes are reaped as soon as they end;
 * their status is kept until the guest waits for it.
 */
#ifndef UKRUN_CHILDREN_H
#define UKRUN_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vm;

struct child {
	uint64_t id;
	pid_t pid;	/* 0: has ended, @status says how */
	int status;
	bool forgotten;	/* the guest does not know of it */
	struct child *next;
};

struct children {
	struct child *list;	/* oldest first; under vm->lock */
	struct child *last;
};

/* Takes @child over, which its caller allocated before the fork. */
void children_add(struct vm *vm, struct child *child, uint64_t id, pid_t pid);

/* After SIGCHLD. */
void children_reap(struct vm *vm);

/*
 * Have all whose id is @first or more ended? Then @status is 0 or that of the
 * oldest which ended with another.
 */
bool children_have_ended(struct vm *vm, uint64_t first, int *status);

/* Kill those whose id is @first or more; for the guest they have never been. */
void children_kill(struct vm *vm, uint64_t first);

/* In a new VM, which has none. */
void children_forget(struct vm *vm);

#define CHILDREN_RESTART	(-512)

/*
 * KVMFORK_CALL_WAIT: id, 0, or a negative errno. A blocking wait returns
 * CHILDREN_RESTART when the vCPU has to park; it is then as if it had never
 * been called.
 */
int64_t children_wait(struct vm *vm, uint64_t id, bool block, int *status);

#endif
