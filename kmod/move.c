// SPDX-License-Identifier: GPL-2.0-only
/* Moving memory that is not of this module. See move.h. */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/mman.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat/compat.h"
#include "mem.h"
#include "move.h"
#include "page.h"
#include "source.h"

/* A chunk ends where a huge page may begin, after that many pages or more. */
#define CHUNK_ENOUGH	512
#define CHUNK_MAX	1024

/* How often a chunk is tried that does not stay as it was. */
#define MAX_TRIES	32

struct kvmfork_move {
	struct kvmfork_report *report;
	u64 nr_moved;

	struct file *file;
	struct kvmfork_mem *mem;	/* of @file */
	u32 slot;			/* for messages */

	/* The chunk. */
	unsigned long start;
	unsigned long end;
	unsigned long first;		/* page number in @mem of @start */
	vm_flags_t vm_flags;		/* of what is there */
	bool taken;			/* mem->lock is held, pages are referenced */
	unsigned int nr_pages;
	struct {
		struct page *page;	/* NULL while it is only counted */
		unsigned long index;	/* in @mem */
	} pages[CHUNK_MAX];
};

struct kvmfork_move *kvmfork_move_alloc(struct kvmfork_report *report)
{
	struct kvmfork_move *move = kvzalloc(sizeof(*move), GFP_KERNEL_ACCOUNT);

	if (move)
		move->report = report;
	return move;
}

void kvmfork_move_free(struct kvmfork_move *move)
{
	kvfree(move);
}

u64 kvmfork_move_count(const struct kvmfork_move *move)
{
	return move->nr_moved;
}

static int report_page(struct kvmfork_move *move, int err, unsigned long addr)
{
	const char *what;

	switch (err) {
	case -EBUSY:
		what = "the page is pinned (VFIO, io_uring, O_DIRECT)";
		break;
	case -EHWPOISON:
		what = "the page has a hardware memory error";
		break;
	case -EIO:
		what = "the page cannot be read";
		break;
	default:
		return err;
	}
	return kvmfork_report(move->report, err, "slot %u, address %#lx: %s",
			      move->slot, addr, what);
}

static unsigned long last_index(const struct kvmfork_move *move)
{
	return move->first + ((move->end - move->start) >> PAGE_SHIFT) - 1;
}

static void put_pages(struct kvmfork_move *move)
{
	while (move->nr_pages) {
		struct page *page = move->pages[--move->nr_pages].page;

		if (page)
			put_page(page);
	}
}

/*
 * Reference the pages of the chunk, or, when @choose, end it where there are
 * enough, and only note them: they are in memory then, so that nothing has to be
 * waited for when they are referenced, with everybody else kept out.
 */
static int gather(struct kvmfork_move *move, struct vm_area_struct *vma,
		  bool choose)
{
	unsigned long addr = move->start, last = move->start;
	struct page *page;

	for (;;) {
		addr = kvmfork_source_next(vma, addr, move->end);
		if (addr >= move->end)
			return 0;
		if (choose && move->nr_pages >= CHUNK_ENOUGH &&
		    (addr ^ last) & PMD_MASK) {
			move->end = addr & PMD_MASK;
			return 0;
		}
		if (move->nr_pages == CHUNK_MAX)
			return -EAGAIN;

		page = kvmfork_source_page(vma, addr, choose);
		if (IS_ERR(page))
			return report_page(move, PTR_ERR(page), addr);
		if (page) {
			if (choose)
				put_page(page);
			move->pages[move->nr_pages].page = choose ? NULL : page;
			move->pages[move->nr_pages++].index = move->first +
				((addr - move->start) >> PAGE_SHIFT);
		}
		last = addr;
		addr += PAGE_SIZE;
	}
}

/* Is @vma the memory file, in the right place? */
static bool is_there(const struct kvmfork_move *move,
		     const struct vm_area_struct *vma)
{
	return vma->vm_file == move->file &&
	       vma->vm_pgoff + ((move->start - vma->vm_start) >> PAGE_SHIFT) ==
	       move->first;
}

/*
 * Decide how far the chunk goes, at most to move->end. Returns 1 when it is
 * there already.
 */
static int choose_chunk(struct kvmfork_move *move)
{
	struct vm_area_struct *vma;
	const char *reason;
	int ret;

	ret = mmap_read_lock_killable(current->mm);
	if (ret)
		return ret;
	vma = find_vma(current->mm, move->start);
	if (!vma || vma->vm_start > move->start) {
		ret = kvmfork_report(move->report, -EBUSY,
				     "slot %u, address %#lx: has just been unmapped",
				     move->slot, move->start);
		goto unlock;
	}
	move->end = min(move->end, vma->vm_end);
	move->vm_flags = vma->vm_flags;
	ret = is_there(move, vma);
	if (ret)
		goto unlock;
	reason = kvmfork_source_refuse(vma);
	if (reason)
		ret = kvmfork_report(move->report, -EBUSY,
				     "slot %u, address %#lx: the memory is now %s",
				     move->slot, move->start, reason);
	ret = ret ?: gather(move, vma, true);
unlock:
	mmap_read_unlock(current->mm);
	return ret;
}

static int check_free(struct kvmfork_move *move)
{
	unsigned long index = move->first, last = last_index(move);
	struct kvmfork_mem *mem = move->mem;
	struct page *page;
	bool free;

	down_read(&mem->lock);
	free = last < mem->nr_pages &&
	       (!kvmfork_tree_next(&mem->tree, &index, &page) || index > last);
	up_read(&mem->lock);
	if (free)
		return 0;
	return kvmfork_report(move->report, -EMEDIUMTYPE,
			      "slot %u, address %#lx: its place in the memory file is not free",
			      move->slot, move->start);
}

/*
 * Pages for the copies, before anything is changed: after that nothing may
 * fail. With @all for the whole chunk, which may hold other pages in the end.
 */
static int reserve(struct kvmfork_move *move, bool all)
{
	unsigned long index, last = last_index(move);
	unsigned int i;
	int ret = 0;

	for (i = 0; !all && !ret && i < move->nr_pages; i++)
		ret = kvmfork_mem_make_private(move->mem, move->pages[i].index,
					       NULL);
	for (index = move->first; all && !ret && index <= last; index++)
		ret = kvmfork_mem_make_private(move->mem, index, NULL);
	move->nr_pages = 0;
	return ret;
}

/* What may not be another when the chunk is taken. */
#define KEPT_FLAGS	(VM_READ | VM_WRITE | VM_SHARED | VM_MAYSHARE |	\
			 VM_DONTCOPY | VM_DONTDUMP)

static bool is_unchanged(struct kvmfork_move *move, struct vm_area_struct *vma)
{
	return vma && vma->vm_start <= move->start && vma->vm_end >= move->end &&
	       !((vma->vm_flags ^ move->vm_flags) & KEPT_FLAGS) &&
	       !kvmfork_source_refuse(vma);
}

/* Nobody may freeze the pages between now and then. */
static bool is_reserved(struct kvmfork_move *move)
{
	unsigned int i;

	for (i = 0; i < move->nr_pages; i++) {
		struct kvmfork_slot slot =
			kvmfork_tree_lookup(&move->mem->tree,
					    move->pages[i].index);

		if (!slot.page || !slot.private)
			return false;
	}
	return true;
}

/*
 * Faults under the lock of a mapping alone are kept out, too: of this one, and
 * of its neighbours, one of which the new mapping becomes part of.
 */
static void lock_mappings(struct kvmfork_move *move, struct vm_area_struct *vma)
{
	struct vm_area_struct *before = find_vma(current->mm, move->start - 1);
	struct vm_area_struct *behind = find_vma(current->mm, move->end);

	compat_vma_start_write(vma);
	if (before && before != vma)
		compat_vma_start_write(before);
	if (behind && behind != vma)
		compat_vma_start_write(behind);
}

int kvmfork_move_take(struct kvmfork_mem *mem, unsigned long addr,
		      unsigned long size)
{
	struct kvmfork_move *move;
	struct vm_area_struct *vma;
	int ret;

	if (READ_ONCE(mem->mover) != current)
		return 0;
	move = mem->move;
	if (move->taken)
		return 0;
	if (WARN_ON_ONCE(addr != move->start || size != move->end - move->start))
		return -EINVAL;

	mmap_assert_write_locked(current->mm);
	/* The new mapping would be filled at once, while we hold its lock. */
	if (current->mm->def_flags & VM_LOCKED)
		return kvmfork_report(move->report, -EBUSY,
				      "mlockall(MCL_FUTURE) is on");
	vma = find_vma(current->mm, addr);
	if (!is_unchanged(move, vma))
		return -EAGAIN;
	lock_mappings(move, vma);
	ret = gather(move, vma, false);
	if (ret)
		goto put;
	down_write(&mem->lock);
	if (is_reserved(move)) {
		move->taken = true;
		return 0;
	}
	up_write(&mem->lock);
	ret = -EAGAIN;
put:
	put_pages(move);
	return ret;
}

vm_flags_t kvmfork_move_flags(struct kvmfork_mem *mem)
{
	vm_flags_t flags;

	if (READ_ONCE(mem->mover) != current)
		return 0;
	flags = mem->move->vm_flags;
	/* The copy of a fork() would otherwise be the memory itself. */
	if (!(flags & VM_MAYSHARE))
		flags |= VM_DONTCOPY;
	return flags & (VM_DONTCOPY | VM_DONTDUMP);
}

static bool is_zero(struct page *page)
{
	void *addr = kmap_local_page(page);
	bool zero = !memchr_inv(addr, 0, PAGE_SIZE);

	kunmap_local(addr);
	return zero;
}

/* Fill the reserved pages; those of zeroes become holes. How many are left. */
static unsigned long fill(struct kvmfork_move *move)
{
	struct kvmfork_tree *tree = &move->mem->tree;
	unsigned long index = move->first, nr = 0;
	struct page *page, *old;
	unsigned int i;

	lockdep_assert_held_write(&move->mem->lock);
	for (i = 0; i < move->nr_pages; i++) {
		page = kvmfork_tree_lookup(tree, move->pages[i].index).page;
		copy_highpage(page, move->pages[i].page);
	}
	for (; kvmfork_tree_next(tree, &index, &page) &&
	       index <= last_index(move); index++) {
		/* Never fails, as all nodes on the way are private. */
		if (is_zero(page) && !kvmfork_tree_store(tree, index, NULL, &old))
			kvmfork_page_unshare(old);
		else
			nr++;
	}
	kvmfork_mem_account(move->mem);
	return nr;
}

static unsigned long map(struct kvmfork_move *move, unsigned long flags)
{
	unsigned long prot = 0;

	if (move->vm_flags & VM_READ)
		prot |= PROT_READ;
	if (move->vm_flags & VM_WRITE)
		prot |= PROT_WRITE;
	return vm_mmap(move->file, move->start, move->end - move->start, prot,
		       MAP_SHARED | flags, move->first << PAGE_SHIFT);
}

static bool anything_mapped(struct kvmfork_move *move)
{
	bool mapped;

	mmap_read_lock(current->mm);
	mapped = find_vma_intersection(current->mm, move->start, move->end);
	mmap_read_unlock(current->mm);
	return mapped;
}

/*
 * vm_mmap() failed with @err after the chunk had been taken. Mostly it has done
 * nothing. But some kernels unmap first, and may find out then that there is no
 * memory for the new mapping: it has to be there in the end.
 */
static int map_again(struct kvmfork_move *move, int err)
{
	unsigned int try;

	for (try = 0; try < 100 && !fatal_signal_pending(current); try++) {
		if (anything_mapped(move))
			return err;
		if (!IS_ERR_VALUE(map(move, MAP_FIXED_NOREPLACE)))
			return 0;
		msleep(20);
	}
	return kvmfork_report(move->report, err,
			      "slot %u, address %#lx: is unmapped, and cannot be mapped again",
			      move->slot, move->start);
}

/* Map the memory file over the chunk. -EAGAIN: it is no longer what it was. */
static int exchange(struct kvmfork_move *move)
{
	struct kvmfork_mem *mem = move->mem;
	unsigned long addr, nr = 0;
	int ret;

	if (cmpxchg(&mem->mover, NULL, current))
		return kvmfork_report(move->report, -EBUSY,
				      "slot %u: another thread converts its memory",
				      move->slot);
	mem->move = move;
	move->taken = false;
	addr = map(move, MAP_FIXED);
	ret = IS_ERR_VALUE(addr) ? (int)addr : 0;
	if (move->taken) {
		nr = fill(move);
		up_write(&mem->lock);
		put_pages(move);
		if (ret)
			ret = map_again(move, ret);
	}
	mem->move = NULL;
	/* Pairs with the cmpxchg() of the next one. */
	smp_store_release(&mem->mover, NULL);
	if (!ret)
		move->nr_moved += nr;
	else if (ret != -EAGAIN)
		kvmfork_report(move->report, ret,
			       "slot %u, address %#lx: cannot be mapped: error %d",
			       move->slot, move->start, ret);
	return ret;
}

/* One attempt at a chunk that begins at move->start. */
static int try_chunk(struct kvmfork_move *move, bool small)
{
	int ret;

	move->nr_pages = 0;
	ret = choose_chunk(move);
	if (ret)
		return min(ret, 0);
	ret = check_free(move);
	if (ret)
		return ret;
	ret = reserve(move, small);
	ret = ret ?: exchange(move);
	if (ret)
		kvmfork_mem_punch(move->mem, move->first, last_index(move));
	return ret;
}

/*
 * A chunk in which there are pages in the end that were not when it was chosen
 * is tried again as a small one, with all of it reserved.
 */
static int move_chunk(struct kvmfork_move *move, unsigned long end)
{
	unsigned int try;
	int ret;

	for (try = 0; try < MAX_TRIES; try++) {
		move->end = end;
		if (try)
			move->end = min(end, move->start + PMD_SIZE);
		ret = try_chunk(move, try);
		if (ret != -EAGAIN)
			return ret;
	}
	return kvmfork_report(move->report, -EBUSY,
			      "slot %u, address %#lx: is being remapped all the time",
			      move->slot, move->start);
}

int kvmfork_move(struct kvmfork_move *move, struct file *file, u64 offset,
		 unsigned long start, unsigned long end, u32 slot)
{
	int ret = 0;

	move->file = file;
	move->mem = kvmfork_mem_from_file(file);
	move->slot = slot;
	move->start = start;
	move->first = offset >> PAGE_SHIFT;
	while (!ret && move->start < end) {
		ret = move_chunk(move, end);
		move->first += (move->end - move->start) >> PAGE_SHIFT;
		move->start = move->end;
	}
	return ret;
}
