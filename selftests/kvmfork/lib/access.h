/* SPDX-License-Identifier: GPL-2.0-only */
/* The ways in which guest memory is written and read. */
#ifndef _KVMFORK_TEST_ACCESS_H
#define _KVMFORK_TEST_ACCESS_H

#include "vm.h"

enum access {
	ACCESS_MAP,	/* through the mapping */
	ACCESS_FILE,	/* pwrite() and pread() */
	ACCESS_GUEST,	/* the guest itself */
	ACCESS_METHODS,
};

extern const char *const access_names[];

/*
 * A byte of guest memory. By ACCESS_GUEST: vCPU 0 does it, and loses what it
 * was at.
 */
void access_write(struct vm *vm, enum access how, uint64_t gpa, uint8_t value);
uint8_t access_read(struct vm *vm, enum access how, uint64_t gpa);
/* Make the page of @gpa a hole. */
void access_punch(struct vm *vm, uint64_t gpa);

#endif /* _KVMFORK_TEST_ACCESS_H */
