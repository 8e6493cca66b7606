/* SPDX-License-Identifier: GPL-2.0-only */
/* KVMFORK_CONVERT, and memory that is not of kvmfork. As fork.h. */
#ifndef _KVMFORK_TEST_CONVERT_H
#define _KVMFORK_TEST_CONVERT_H

#include "fork.h"

struct convert_call {
	struct kvmfork_convert args;
	int32_t vcpu_fds[VM_MAX_VCPUS + 1];
	struct kvmfork_mapping mappings[VM_MAX_SLOTS];
	char message[FORK_MESSAGE_SIZE];
};

/* A call that is right, to be spoilt. */
void convert_call_init(struct convert_call *call, struct vm *vm);
int convert_call_run(struct convert_call *call, int attach_fd);

/*
 * The number of pages copied. The slots have memory files afterwards; those of
 * one file, the same fd.
 */
long __vm_convert(struct vm *vm);
unsigned long vm_convert(struct vm *vm);

/*
 * A VM like that of vm_create_default(), its memory (GUEST_MEMORY bytes at
 * address 0) being the @size bytes at @hva.
 */
void vm_create_over(struct vm *vm, void *hva, uint64_t size, unsigned int nr_vcpus);

/* An open file of @size bytes of holes, on a filesystem that is not tmpfs. */
int file_create(uint64_t size);

/* Anonymous, readable and writable, a mapping of its own. */
void *memory_anonymous(uint64_t size);

/* Mappings of this process that a range of addresses is part of. */
unsigned int count_mappings(const void *start, uint64_t size);

#endif /* _KVMFORK_TEST_CONVERT_H */
