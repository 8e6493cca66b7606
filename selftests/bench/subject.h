/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VMs that are measured: an interrupt controller and a PIT in the kernel,
 * all memory populated, and a guest that says something on a port.
 */
#ifndef _KVMFORK_BENCH_SUBJECT_H
#define _KVMFORK_BENCH_SUBJECT_H

#include "util.h"
#include "vm.h"

enum subject_memory {
	SUBJECT_KVMFORK,	/* a memory file of the module */
	SUBJECT_HUGE,		/* one of 2 MiB pages, copied as such */
	SUBJECT_MEMFD,		/* a shared mapping of a memfd */
	SUBJECT_ANONYMOUS,	/* private, 4 KiB pages */
};

struct subject_spec {
	enum subject_memory memory;
	unsigned int mib;
	unsigned int nr_vcpus;	/* 0: 1 */
	bool empty;		/* leave what the guest does not need unpopulated */
};

/* Where the pages begin that the guests below read and write. */
#define SUBJECT_PAGES	0x200000UL

/* Says arg + 1, arg + 2, … and touches no memory for that. */
void subject_hello(uint64_t arg);
/*
 * Writes a word into each of so many pages from SUBJECT_PAGES on, or reads
 * it; then says how many, again and again. @arg: subject_pages_arg().
 */
void subject_write(uint64_t arg);
void subject_read(uint64_t arg);

static inline uint64_t subject_pages_arg(uint32_t count, uint32_t stride)
{
	return count | (uint64_t)stride << 32;
}

/*
 * With every vCPU at its first word of subject_hello(), and the page tables of
 * the process full. Attached if the memory is kvmfork's.
 */
void subject_create(struct vm *vm, const struct subject_spec *spec);

/* A VM like @other, in the same memory, of the same or a forked process. */
void subject_create_beside(const struct vm *other, struct vm *vm);

/* Its memory alone, without a VM: one slot, known to nobody. */
void subject_create_memory(struct vm *vm, const struct subject_spec *spec);

/* Have all vCPUs begin there. */
void subject_start(struct vm *vm, void (*guest_fn)(uint64_t arg), uint64_t arg);

/* Run each vCPU to its next word, one after the other. */
void subject_run(struct vm *vm);

/* How far from each other @count pages are that lie all over the memory. */
uint32_t subject_stride(unsigned int mib, uint32_t count);

#endif /* _KVMFORK_BENCH_SUBJECT_H */
