/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scratch memory in the caller's address space, through which arguments of KVM
 * calls pass: KVM takes them from user memory only.
 *
 * Mapping and unmapping it costs as much as ten calls, more with every VM of the
 * process, as each is told. So one mapping per address space stays while it has
 * attached VMs. It is not inherited by fork(). The process can unmap it, and put
 * something else there: a call that is under way then fails, or KVM takes what is there
 * for its arguments and the module what was there before for KVM's answer, to the
 * process's own harm; the next maps it again.
 */
#ifndef KVMFORK_SCRATCH_H
#define KVMFORK_SCRATCH_H

/* Big enough for the largest argument: a full GSI routing table. */
#define KVMFORK_SCRATCH_SIZE	(256UL << 10)

struct kvmfork_scratch_area;

/* The caller's for as long as it has it. */
struct kvmfork_scratch {
	struct kvmfork_scratch_area *area;
	unsigned long addr;		/* in current->mm */
};

int kvmfork_scratch_get(struct kvmfork_scratch *scratch);
void kvmfork_scratch_put(struct kvmfork_scratch *scratch);

/*
 * Have pages behind the first @size bytes. -ENOMEM: without them KVM would find
 * the address bad.
 */
int kvmfork_scratch_fill(struct kvmfork_scratch *scratch, size_t size);

/*
 * Copy to and from the pages themselves, which is faster than by the address. To
 * read is for what was filled or written before.
 */
int kvmfork_scratch_write(struct kvmfork_scratch *scratch, const void *data,
			  size_t size);
void kvmfork_scratch_read(struct kvmfork_scratch *scratch, void *data,
			  size_t size);

/*
 * Keep the mapping of current->mm from now on. ERR_PTR on failure. Letting go is
 * possible from any context that may sleep.
 */
struct kvmfork_scratch_area *kvmfork_scratch_hold(void);
void kvmfork_scratch_drop(struct kvmfork_scratch_area *area);

/* Unmap what is kept if it is in the way of what the caller is to map there. */
void kvmfork_scratch_move(unsigned long addr, unsigned long size);

#endif
