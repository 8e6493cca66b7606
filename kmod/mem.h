/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory files: guest memory that can be shared copy-on-write.
 *
 * Each file has an inode of its own, so that removing its mappings touches no
 * other file's. What it holds is a page tree (tree.h). A page is mapped
 * writable only while it is private and marked dirty; freezing removes the
 * writable mappings of the dirty pages and shares the tree.
 *
 * Locking, outermost first:
 *
 *	mmap_lock (faults, and move.c)
 *	  kvmfork_mem.lock	the tree; held for reading to look up and to mark
 *				dirty, for writing to change or to share
 *	    page lock		from the look-up of a page until its page table
 *				entry is in place
 *	      i_mmap_rwsem, page table locks, MMU notifiers
 *
 * A fault takes the page lock under kvmfork_mem.lock and keeps it until the
 * kernel has installed the entry. Whoever holds kvmfork_mem.lock for writing and
 * then waits for the page lock once (kvmfork_mem_settle()) therefore knows
 * that unmapping the page finds every entry there is.
 */
#ifndef KVMFORK_MEM_H
#define KVMFORK_MEM_H

#include <linux/fs.h>
#include <linux/kvmfork.h>
#include <linux/rwsem.h>

#include "tree.h"

struct kvmfork_move;

struct kvmfork_mem {
	struct rw_semaphore lock;
	struct kvmfork_tree tree;	/* lock */
	struct page *zero;		/* lock; mapped read-only for holes */
	struct inode *inode;
	unsigned long nr_pages;		/* size, constant */
	u64 flags;			/* KVMFORK_MEMORY_*, constant */
	atomic64_t nr_freezes;
	atomic64_t nr_huge_missed;	/* blocks that found no huge page */
	unsigned long missed;		/* the last of these; a hint, no lock */
	bool is_converted;		/* by KVMFORK_CONVERT: laid out as mapped */
	struct task_struct *mover;	/* who moves other memory here, by cmpxchg */
	struct kvmfork_move *move;	/* the mover's, see move.h */
};

/*
 * A frozen memory: immutable, no mappings, no lock needed. Belongs to a
 * template.
 */
struct kvmfork_frozen {
	struct kvmfork_tree tree;
	unsigned long nr_pages;
	u64 flags;			/* of the memory */
};

/*
 * Open a new memory file, empty or with what @frozen holds. It belongs to the
 * caller, who is charged for what the file comes to hold. ERR_PTR on failure.
 */
struct file *kvmfork_mem_create(unsigned long nr_pages, u64 flags);
struct file *kvmfork_mem_spawn(const struct kvmfork_frozen *frozen);

/* The memory behind @file, NULL when it is another kind of file. */
struct kvmfork_mem *kvmfork_mem_from_file(struct file *file);

/*
 * Share all pages as of now. The memory goes on, its later writes copy. On
 * success @frozen belongs to the caller; *@nr_dirty is the number of pages
 * written since the last freeze. -ENOMEM, -EHWPOISON: the memory goes on as
 * before, though some of it has been unmapped.
 */
int kvmfork_mem_freeze(struct kvmfork_mem *mem, struct kvmfork_frozen *frozen,
		       unsigned long *nr_dirty);
void kvmfork_frozen_destroy(struct kvmfork_frozen *frozen);

/*
 * Make the memory hold what @frozen, of the same size, does: as if it had just
 * been spawned from there. Mappings stay; pages that are the same in both stay
 * mapped. With @keep, if it can be, the pages that are not stay where they are,
 * private, and are written over: the VM's vCPUs may have cached translations
 * from them. Returns how many pages were not the same.
 */
unsigned long kvmfork_mem_reset(struct kvmfork_mem *mem,
				const struct kvmfork_frozen *frozen, bool keep);

/* For the other mem_*.c, and move.c. */

/*
 * May the page that a look-up found be written in place? @held is a page, or
 * NULL, that the caller has one reference to besides the tree's and the page
 * tables'; the slot may hold another. So that no mapping is added meanwhile, the
 * caller holds the lock for reading and the page lock, or the lock for writing,
 * with the page settled. Of a huge page only what is dirty may be.
 */
bool kvmfork_mem_writable(const struct kvmfork_slot *slot,
			  const struct page *held);

/*
 * As kvmfork_mem_writable(), with the lock held for reading: takes the page lock
 * to look, and returns with it held when the answer is yes.
 */
bool kvmfork_mem_lock_writable(const struct kvmfork_slot *slot,
			       const struct page *held);

/*
 * Make the page at @index private, allocating or copying, and unmap what was
 * there. @held is as in kvmfork_mem_writable(). It need not stay so: look again
 * under the lock. -ENOMEM, -EHWPOISON.
 */
int kvmfork_mem_make_private(struct kvmfork_mem *mem, unsigned long index,
			     struct page *held);

/* Drop the whole pages from @first to @last, inclusive. -ENOMEM. */
int kvmfork_mem_punch(struct kvmfork_mem *mem, unsigned long first,
		      unsigned long last);

/* The memory's own page of zeroes, for mapping holes. lock held; may be NULL. */
struct page *kvmfork_mem_zero_page(struct kvmfork_mem *mem);

/*
 * With the lock held for writing no fault can find @page any more; one that
 * already has it holds the page lock until its entry is in place: wait for it.
 */
void kvmfork_mem_settle(struct kvmfork_mem *mem, struct page *page);

/* Remove all mappings of @nr pages from number @first on. */
void kvmfork_mem_unmap(struct kvmfork_mem *mem, unsigned long first,
		       unsigned long nr);

/* inode->i_blocks, so that fstat() tells what is allocated. */
void kvmfork_mem_account(struct kvmfork_mem *mem);

/*
 * mem_huge.c: make the block around @index writable as a whole: an empty one by a
 * huge page of zeroes, one that became ours alone as it is, and a shared one
 * by a copy if the memory wants that. False: there is nothing to be done for
 * the block, or no huge page to be had; take a single page. True: look again.
 * @held is as in kvmfork_mem_writable().
 */
bool kvmfork_mem_make_huge(struct kvmfork_mem *mem, unsigned long index,
			   struct page *held);

/*
 * A fault is about to map @page, of a huge page, locked, which the kernel does
 * for all of the huge page where it can: see that it does so only if the block
 * holds all of it. The lock is held. -ENOMEM.
 */
int kvmfork_mem_map_huge(struct kvmfork_mem *mem, struct vm_fault *vmf,
			 struct page *page);

/* How many blocks are of one huge page each. Takes the lock. */
unsigned long kvmfork_mem_count_huge(struct kvmfork_mem *mem);

/* mem_diff.c: KVMFORK_DIFF. */
long kvmfork_mem_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

extern const struct file_operations kvmfork_mem_fops;

#endif
