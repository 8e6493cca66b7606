// SPDX-License-Identifier: GPL-2.0-only
/* Memory files: freezing, copying and dropping pages. See mem.h. */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "mem.h"
#include "page.h"

void kvmfork_mem_settle(struct kvmfork_mem *mem, struct page *page)
{
	lockdep_assert_held_write(&mem->lock);
	folio_wait_locked(page_folio(page));
}

void kvmfork_mem_unmap(struct kvmfork_mem *mem, unsigned long first,
		       unsigned long nr)
{
	unmap_mapping_pages(mem->inode->i_mapping, first, nr, false);
}

/* Page tables that map @page, which is a single page. */
static int mapcount(struct page *page)
{
	return atomic_read(&page->_mapcount) + 1;
}

/* Pages of huge pages are not looked at closely: one unmapping too many. */
static bool mapped(struct page *page)
{
	return kvmfork_page_is_huge(page) || mapcount(page);
}

void kvmfork_mem_account(struct kvmfork_mem *mem)
{
	lockdep_assert_held_write(&mem->lock);
	inode_set_bytes(mem->inode, (loff_t)mem->tree.nr_pages << PAGE_SHIFT);
}

/*
 * A private page that was shared before may still be read by someone who took
 * it from the other side and holds a reference (O_DIRECT, vmsplice, io_uring).
 * Writing in place would show him what was written since, so such a page is
 * copied instead. One too many reference costs a copy and nothing else.
 *
 * The page tables' references to a huge page cannot be told from others while
 * it is mapped, so kvmfork_mem_make_huge() unmaps it to count, and marks it.
 */
bool kvmfork_mem_writable(const struct kvmfork_slot *slot,
			  const struct page *held)
{
	int count;

	if (!slot->page || !slot->private)
		return false;
	if (slot->dirty)
		return true;
	if (kvmfork_page_is_huge(slot->page))
		return false;
	count = page_count(slot->page);
	/* In this order an unmapping in between only makes for a copy. */
	smp_rmb();
	return count <= 1 + mapcount(slot->page) + (slot->page == held);
}

bool kvmfork_mem_lock_writable(const struct kvmfork_slot *slot,
			       const struct page *held)
{
	if (!slot->page || !slot->private)
		return false;
	lock_page(slot->page);
	if (kvmfork_mem_writable(slot, held))
		return true;
	unlock_page(slot->page);
	return false;
}

int kvmfork_mem_make_private(struct kvmfork_mem *mem, unsigned long index,
			     struct page *held)
{
	struct kvmfork_slot slot;
	struct page *page, *old, *seen;
	int ret = 0;

	if (kvmfork_mem_make_huge(mem, index, held))
		return 0;

	/* Not under the lock: reclaim may take its time. */
	page = kvmfork_page_alloc(false);
	if (!page)
		return -ENOMEM;

	down_write(&mem->lock);
	slot = kvmfork_tree_lookup(&mem->tree, index);
	seen = slot.page ?: mem->zero;
	if (seen)
		kvmfork_mem_settle(mem, seen);
	if (kvmfork_mem_writable(&slot, held))	/* somebody was faster */
		goto unlock;
	if (slot.page && PageHWPoison(slot.page)) {
		ret = -EHWPOISON;
		goto unlock;
	}
	if (slot.page)
		copy_highpage(page, slot.page);
	else
		clear_highpage(page);

	ret = kvmfork_tree_store(&mem->tree, index, page, &old);
	if (ret)
		goto unlock;
	page = NULL;
	if (seen && mapped(seen))
		kvmfork_mem_unmap(mem, index, 1);
	/* Only now may the last other holder write into it. */
	if (old)
		kvmfork_page_unshare(old);
	kvmfork_mem_account(mem);
unlock:
	up_write(&mem->lock);
	if (page)
		kvmfork_page_unshare(page);
	return ret;
}

/* Pages dropped in one go; bounds what is kept on the stack. */
#define PUNCH_BATCH	64

int kvmfork_mem_punch(struct kvmfork_mem *mem, unsigned long first,
		      unsigned long last)
{
	struct page *dropped[PUNCH_BATCH];
	unsigned long index = first;
	int ret = 0;

	while (!ret && index <= last) {
		unsigned long from = index;
		unsigned int i, nr = 0;

		down_write(&mem->lock);
		while (!ret && nr < PUNCH_BATCH) {
			struct page *page;

			if (!kvmfork_tree_next(&mem->tree, &index, &page) ||
			    index > last) {
				index = last + 1;
				break;
			}
			kvmfork_mem_settle(mem, page);
			ret = kvmfork_tree_store(&mem->tree, index, NULL,
						 &dropped[nr]);
			if (!ret) {
				nr++;
				index++;
			}
		}
		if (nr)
			kvmfork_mem_unmap(mem, from, index - from);
		for (i = 0; i < nr; i++)
			kvmfork_page_unshare(dropped[i]);
		kvmfork_mem_account(mem);
		up_write(&mem->lock);
		cond_resched();
	}
	return ret;
}

struct page *kvmfork_mem_zero_page(struct kvmfork_mem *mem)
{
	struct page *page;

	lockdep_assert_held(&mem->lock);
	page = READ_ONCE(mem->zero);
	if (page)
		return page;

	page = alloc_page(GFP_HIGHUSER | __GFP_ZERO | __GFP_ACCOUNT);
	if (page && cmpxchg(&mem->zero, NULL, page)) {
		put_page(page);
		page = mem->zero;
	}
	return page;
}

/* Mapped pages to unmap: calls for neighbours are put together, each is dear. */
struct kvmfork_stretch {
	struct kvmfork_mem *mem;
	unsigned long first;
	unsigned long nr;		/* 0: none yet */
};

static void kvmfork_stretch_end(struct kvmfork_stretch *stretch)
{
	if (stretch->nr)
		kvmfork_mem_unmap(stretch->mem, stretch->first, stretch->nr);
	stretch->nr = 0;
}

/*
 * Add @nr pages from number @first on, of which @page is one. The lock is held
 * for writing.
 */
static void kvmfork_stretch_add(struct kvmfork_stretch *stretch,
				unsigned long first, unsigned long nr,
				struct page *page)
{
	unsigned long end = first + nr;

	kvmfork_mem_settle(stretch->mem, page);
	if (!mapped(page))
		return;
	if (stretch->nr && first <= stretch->first + stretch->nr) {
		end = max(end, stretch->first + stretch->nr);
		first = min(first, stretch->first);
	} else {
		kvmfork_stretch_end(stretch);
	}
	stretch->first = first;
	stretch->nr = end - first;
}

/* A page that somebody writes behind the page tables: see kvmfork_clean_leaf() */
struct kvmfork_held {
	struct list_head link;
	unsigned long index;
	struct page *copy;
};

struct kvmfork_clean {
	struct kvmfork_stretch stretch;
	struct list_head held;
	unsigned long nr_dirty;
};

static int kvmfork_clean_held(struct kvmfork_clean *clean, unsigned long index,
			      struct page *page)
{
	struct kvmfork_held *held;

	if (PageHWPoison(page))
		return -EHWPOISON;
	held = kmalloc(sizeof(*held), GFP_KERNEL_ACCOUNT);
	if (!held)
		return -ENOMEM;
	held->index = index;
	held->copy = kvmfork_page_alloc(false);
	if (!held->copy) {
		kfree(held);
		return -ENOMEM;
	}
	copy_highpage(held->copy, page);
	list_add_tail(&held->link, &clean->held);
	return 0;
}

/*
 * The slot behind the pages of the same huge page that follow the one in slot @i.
 * They are in slots as they are in the huge page, so these do not go beyond it.
 */
static unsigned int kvmfork_run_end(struct page **pages, unsigned int i)
{
	unsigned int end = i + 1;

	if (kvmfork_page_is_huge(pages[i]))
		while (end < KVMFORK_NODE_SLOTS && pages[end] == pages[i] + (end - i))
			end++;
	return end;
}

/* Remove the mappings of the dirty pages of one leaf; they stay dirty so far. */
static int kvmfork_unmap_leaf(void *arg, unsigned long first,
			      struct page **pages, unsigned long *dirty)
{
	struct kvmfork_clean *clean = arg;
	unsigned int i;

	clean->nr_dirty += hweight_long(*dirty);
	for (i = find_first_bit(dirty, KVMFORK_NODE_SLOTS);
	     i < KVMFORK_NODE_SLOTS;
	     i = find_next_bit(dirty, KVMFORK_NODE_SLOTS,
			       kvmfork_run_end(pages, i))) {
		if (kvmfork_page_is_huge(pages[i]))
			/* All of it: what refers to it then is not mappings. */
			kvmfork_stretch_add(&clean->stretch,
					    round_down(first + i, KVMFORK_HUGE_NR),
					    KVMFORK_HUGE_NR, pages[i]);
		else
			kvmfork_stretch_add(&clean->stretch, first + i, 1,
					    pages[i]);
	}
	return 0;
}

/*
 * A page with references left when it is no longer mapped may be written by
 * whoever holds them (O_DIRECT reads into guest memory, io_uring, vhost): the
 * frozen side gets a copy and the original stays with the parent, dirty, as with
 * Linux's fork().
 */
static int kvmfork_clean_leaf(void *arg, unsigned long first,
			      struct page **pages, unsigned long *dirty)
{
	struct kvmfork_clean *clean = arg;
	unsigned long held = 0;
	unsigned int i, next;
	int ret;

	for (i = find_first_bit(dirty, KVMFORK_NODE_SLOTS);
	     i < KVMFORK_NODE_SLOTS;
	     i = find_next_bit(dirty, KVMFORK_NODE_SLOTS, next)) {
		next = i + 1;
		if (folio_ref_count(page_folio(pages[i])) == 1) {
			next = kvmfork_run_end(pages, i);
			continue;
		}
		__set_bit(i, &held);
		ret = kvmfork_clean_held(clean, first + i, pages[i]);
		if (ret)
			return ret;
	}
	*dirty = held;
	return 0;
}

/* Give @tree the copies instead of the pages that are held. */
static int kvmfork_replace_held(struct kvmfork_clean *clean,
				struct kvmfork_tree *tree)
{
	struct kvmfork_held *held;
	struct page *old;
	int ret;

	list_for_each_entry(held, &clean->held, link) {
		ret = kvmfork_tree_store(tree, held->index, held->copy, &old);
		if (ret)
			return ret;
		held->copy = NULL;
		kvmfork_page_unshare(old);
	}
	return 0;
}

static void kvmfork_release_held(struct kvmfork_clean *clean)
{
	struct kvmfork_held *held, *next;

	list_for_each_entry_safe(held, next, &clean->held, link) {
		if (held->copy)
			kvmfork_page_unshare(held->copy);
		kfree(held);
	}
}

int kvmfork_mem_freeze(struct kvmfork_mem *mem, struct kvmfork_frozen *frozen,
		       unsigned long *nr_dirty)
{
	struct kvmfork_clean clean = {
		.stretch.mem = mem,
		.held = LIST_HEAD_INIT(clean.held),
	};
	int ret;

	down_write(&mem->lock);
	/*
	 * Unmapped pages that stay private are just faulted in again: nothing
	 * is to be undone when this fails half-way.
	 */
	kvmfork_tree_clean(&mem->tree, kvmfork_unmap_leaf, &clean);
	kvmfork_stretch_end(&clean.stretch);
	ret = kvmfork_tree_clean(&mem->tree, kvmfork_clean_leaf, &clean);
	if (ret)
		goto unlock;

	frozen->nr_pages = mem->nr_pages;
	frozen->flags = mem->flags;
	kvmfork_tree_share(&frozen->tree, &mem->tree);
	ret = kvmfork_replace_held(&clean, &frozen->tree);
	if (ret)
		kvmfork_tree_destroy(&frozen->tree);
	else
		atomic64_inc(&mem->nr_freezes);
unlock:
	up_write(&mem->lock);
	kvmfork_release_held(&clean);
	*nr_dirty = clean.nr_dirty;
	return ret;
}

void kvmfork_frozen_destroy(struct kvmfork_frozen *frozen)
{
	kvmfork_tree_destroy(&frozen->tree);
}

struct kvmfork_reset_memory {
	struct kvmfork_stretch stretch;
	unsigned long nr_pages;
	bool keep;
};

/*
 * May a page be written over? Not when it is more than the tree's and mapped: who
 * refers to it has a page that is no longer the VM's, as if it were dropped.
 */
static bool kvmfork_may_keep(struct kvmfork_mem *mem, unsigned long index,
			     struct page *mine, struct page *theirs)
{
	int count;

	if (!mine || !kvmfork_tree_lookup(&mem->tree, index).dirty ||
	    kvmfork_page_is_huge(mine))
		return false;
	if (PageHWPoison(mine) || (theirs && PageHWPoison(theirs)))
		return false;
	count = page_count(mine);
	/* As in kvmfork_mem_writable(). */
	smp_rmb();
	return count <= 1 + mapcount(mine);
}

/*
 * What has been written over when a page comes that cannot be is dropped with
 * the others: nothing is lost.
 */
static void kvmfork_keep_page(void *arg, unsigned long index,
			      struct page *mine, struct page *theirs)
{
	struct kvmfork_reset_memory *reset = arg;

	cond_resched();
	reset->nr_pages++;
	reset->keep = reset->keep && kvmfork_may_keep(reset->stretch.mem, index,
						      mine, theirs);
	if (!reset->keep)
		return;
	if (theirs)
		copy_highpage(mine, theirs);
	else
		clear_highpage(mine);
}

static void kvmfork_drop_page(void *arg, unsigned long index,
			      struct page *mine, struct page *theirs)
{
	struct kvmfork_reset_memory *reset = arg;
	struct page *seen = mine ?: reset->stretch.mem->zero;

	reset->nr_pages++;
	if (seen)
		kvmfork_stretch_add(&reset->stretch, index, 1, seen);
}

unsigned long kvmfork_mem_reset(struct kvmfork_mem *mem,
				const struct kvmfork_frozen *frozen, bool keep)
{
	struct kvmfork_reset_memory reset = {
		.stretch.mem = mem,
		.keep = keep,
	};
	struct kvmfork_tree old;
	unsigned long last = mem->nr_pages - 1;

	down_write(&mem->lock);
	old = mem->tree;
	if (keep)
		kvmfork_tree_diff(&old, &frozen->tree, 0, last,
				  kvmfork_keep_page, &reset);
	if (reset.keep) {
		up_write(&mem->lock);
		return reset.nr_pages;
	}
	reset.nr_pages = 0;
	kvmfork_tree_diff(&old, &frozen->tree, 0, last, kvmfork_drop_page,
			  &reset);
	kvmfork_stretch_end(&reset.stretch);
	kvmfork_tree_share(&mem->tree, &frozen->tree);
	kvmfork_mem_account(mem);
	up_write(&mem->lock);

	kvmfork_tree_destroy(&old);
	return reset.nr_pages;
}
