/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that is not of this module, of the caller's address space: may it be
 * taken over, and which pages of it are there.
 */
#ifndef KVMFORK_SOURCE_H
#define KVMFORK_SOURCE_H

#include <linux/mm.h>

/*
 * Why the memory of @vma, which is not a memory file, cannot be taken over, in
 * words that follow "the memory is"; NULL: it can. mmap_lock held.
 */
const char *kvmfork_source_refuse(struct vm_area_struct *vma);

/*
 * The first address from @addr on that may hold a page; @end: none. What is
 * skipped reads as zero, is not in swap, and stays as it is. mmap_lock held.
 */
unsigned long kvmfork_source_next(struct vm_area_struct *vma,
				  unsigned long addr, unsigned long end);

/*
 * A reference to the page at an address that kvmfork_source_next() found, which
 * is brought in from swap or file if @may_fault; otherwise -EAGAIN where it would
 * have to be. NULL: it is the kernel's page of zeroes. -EBUSY: somebody else has
 * pinned it and may write to it. -EHWPOISON, -ENOMEM, -EINTR; -EIO: it cannot be
 * read. mmap_lock held.
 */
struct page *kvmfork_source_page(struct vm_area_struct *vma,
				 unsigned long addr, bool may_fault);

#endif
