/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All VMs that come from one ukrun. What they share is one page and the locks
 * on one memory file; a lock belongs to a process and goes with it, however
 * it dies, so who is alive needs no book-keeping.
 */
#ifndef UKRUN_FAMILY_H
#define UKRUN_FAMILY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vm;

struct family_shared {
	_Atomic uint64_t last_id;
	/* Whose unfinished line the terminal shows, 0 none. */
	_Atomic uint64_t open_line;
	/* There has been a second VM. */
	_Atomic bool several;
};

struct family {
	struct family_shared *shared;
	int lock_fd;	/* closing any fd of this file drops all locks: never */
};

/* For the first VM, which gets id 1. */
void family_create(struct vm *vm);

/* Is there room for one more? A hint: family_join() decides. */
bool family_has_room(const struct vm *vm);

uint64_t family_new_id(struct vm *vm);
/* No VM has it, or a greater one, yet. */
uint64_t family_next_id(const struct vm *vm);

/* The calling process is VM @vm->id from now on. 0 or -EAGAIN. */
int family_join(struct vm *vm);

bool family_is_alive(const struct vm *vm, uint64_t id);

/* 0 or -ESRCH. */
int family_kill(const struct vm *vm, uint64_t id);

/* Ask all other VMs to end. */
void family_kill_others(const struct vm *vm, int signal);

/* Guard the terminal among VMs; the console's own lock guards it in this one. */
void family_lock_output(const struct vm *vm);
bool family_try_lock_output(const struct vm *vm);
void family_unlock_output(const struct vm *vm);

#endif
