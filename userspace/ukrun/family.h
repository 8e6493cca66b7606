/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All VMs that come from one ukrun. What they share is a memory file, its content
 * and the locks on it. A lock belongs to a process and goes with it, however it dies,
 * so what VMs that have died leave behind is known for that.
 */
#ifndef UKRUN_FAMILY_H
#define UKRUN_FAMILY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vm;

/* The greatest --max-vms. */
#define MAX_VMS_LIMIT	(1 << 20)

/*
 * What a VM says of itself: `ukrun ps` shows it, and others find it by @id. Left as it
 * was when the VM has gone.
 */
struct family_vm {
	_Atomic uint64_t id;
	_Atomic pid_t pid;
	uint64_t parent_id;
	uint64_t started;	/* CLOCK_BOOTTIME, ns */
	_Atomic uint64_t forks;
	_Atomic uint64_t resets;
	_Atomic uint64_t shells;	/* that wait for its next forks */
	_Atomic uint64_t shell_forks;	/* of @forks */
};

/* The name of the memory file, and of the layout of struct family_shared. */
#define FAMILY_FILE	"ukrun family 3"

struct family_shared {
	uint64_t max_vms;
	_Atomic uint64_t last_id;
	/* Whose unfinished line the terminal shows, 0 none. */
	_Atomic uint64_t open_line;
	/* There has been a second VM. */
	_Atomic bool several;
	struct family_vm vms[];		/* by slot, max_vms of them */
};

struct family {
	struct family_shared *shared;
	struct family_vm *self;
	/* Closing any fd of these files drops all locks: never. */
	int lock_fd;
	int output_fd;
};

/* Bytes of a struct family_shared; where the record behind @max_vms others is. */
size_t family_size(uint64_t max_vms);

/* For the first VM, which gets id 1. */
void family_create(struct vm *vm);

/* Is there room for one more? A hint: family_join() decides. */
bool family_has_room(const struct vm *vm);

uint64_t family_new_id(struct vm *vm);
/* No VM has it, or a greater one, yet. */
uint64_t family_next_id(const struct vm *vm);

/* The calling process is VM @vm->id from now on. 0 or -EAGAIN. */
int family_join(struct vm *vm);

/* Map here what the next to join will write. */
void family_touch_next(const struct vm *vm);

bool family_is_alive(const struct vm *vm, uint64_t id);

/* The VM that has the slot, NULL: none. */
const struct family_vm *family_at(const struct vm *vm, uint32_t slot);

/* 0 or -ESRCH. */
int family_kill(const struct vm *vm, uint64_t id);

/* Ask all other VMs to end. */
void family_kill_others(const struct vm *vm, int signal);

/* Guard the terminal among VMs; the console's own lock guards it in this one. */
void family_lock_output(const struct vm *vm);
bool family_try_lock_output(const struct vm *vm);
void family_unlock_output(const struct vm *vm);

#endif
