/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Moving memory that is not of this module into a memory file, which takes its
 * place at the same addresses, while anybody writes to it.
 *
 * It goes chunk by chunk, each by one vm_mmap() of the memory file over what is
 * there. The kernel asks the file for the address (kvmfork_move_take()), with
 * mmap_lock held for writing and the old mapping still in place: no fault can
 * come in between from there on, so the pages referenced now are those that
 * are there in the end, and hold what was written last once vm_mmap() has
 * unmapped them. kvmfork_mem.lock, taken in there too, makes faults on the new
 * mapping wait until the pages have been copied.
 */
#ifndef KVMFORK_MOVE_H
#define KVMFORK_MOVE_H

#include <linux/fs.h>
#include <linux/mm_types.h>

#include "report.h"

struct kvmfork_mem;
struct kvmfork_move;

/* @report gets the reason where one of these fails. NULL: out of memory. */
struct kvmfork_move *kvmfork_move_alloc(struct kvmfork_report *report);
void kvmfork_move_free(struct kvmfork_move *move);

/*
 * Move what is between @start and @end in the caller's address space, behind
 * @slot, into the memory @file at @offset. What @file is mapped to already, at
 * that offset, is left alone. On failure the addresses up to some chunk have
 * been moved, the others have not. -EBUSY, -EHWPOISON, -EIO, -EINTR, -ENOMEM,
 * -EMEDIUMTYPE: the place in the file is not free.
 */
int kvmfork_move(struct kvmfork_move *move, struct file *file, u64 offset,
		 unsigned long start, unsigned long end, u32 slot);

/* Pages that have been moved, other than such of zeroes. */
u64 kvmfork_move_count(const struct kvmfork_move *move);

/*
 * For mem_file.c: the memory is about to be mapped; and what flags the mapping
 * shall have.
 */
int kvmfork_move_take(struct kvmfork_mem *mem, unsigned long addr,
		      unsigned long size);
vm_flags_t kvmfork_move_flags(struct kvmfork_mem *mem);

#endif
