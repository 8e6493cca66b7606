// SPDX-License-Identifier: GPL-2.0-only
/* Memory of huge pages: giving a block one, taking it over, copying it. */
#include <linux/highmem.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "compat/compat.h"
#include "mem.h"
#include "page.h"

/* Does the block around @index lie in the memory as a whole? */
static bool block_fits(const struct kvmfork_mem *mem, unsigned long index)
{
	return round_down(index, KVMFORK_HUGE_NR) + KVMFORK_HUGE_NR <=
	       mem->nr_pages;
}

/* Is this a page of a huge page that nobody else holds, but may refer to? */
static bool is_ours_unmarked(const struct kvmfork_slot *slot)
{
	return slot->page && slot->private && !slot->dirty &&
	       kvmfork_page_is_huge(slot->page);
}

/*
 * Nobody else can reach this page of a huge page any more. If nobody refers to
 * the huge page either it is written in place from now on: with all that is
 * ours of it, as looking means unmapping it.
 */
static bool take_over(struct kvmfork_mem *mem, unsigned long index,
		      struct page *held)
{
	struct kvmfork_slot slot;
	struct folio *folio;
	bool ours = false;

	down_write(&mem->lock);
	slot = kvmfork_tree_lookup(&mem->tree, index);
	if (is_ours_unmarked(&slot)) {
		kvmfork_mem_settle(mem, slot.page);
		kvmfork_mem_unmap(mem, round_down(index, KVMFORK_HUGE_NR),
				  KVMFORK_HUGE_NR);
		folio = page_folio(slot.page);
		ours = folio_ref_count(folio) ==
		       1 + (held && page_folio(held) == folio);
		if (ours)
			kvmfork_tree_mark_huge_dirty(&mem->tree, index);
	}
	up_write(&mem->lock);
	return ours;
}

/* Unmap the block, and put the pages of @folio there. @pages is scratch. */
static int replace_block(struct kvmfork_mem *mem, unsigned long first,
			 struct folio *folio, struct page **pages)
{
	unsigned long i;
	int ret;

	for (i = 0; i < KVMFORK_HUGE_NR; i++)
		pages[i] = folio_page(folio, i);
	ret = kvmfork_tree_exchange_block(&mem->tree, first, pages);
	if (ret)
		return ret;
	kvmfork_mem_unmap(mem, first, KVMFORK_HUGE_NR);
	/* Nobody else can have seen these; written in place from now on. */
	kvmfork_tree_mark_huge_dirty(&mem->tree, first);
	/* Only now may the last other holder write into them. */
	for (i = 0; i < KVMFORK_HUGE_NR; i++)
		if (pages[i])
			kvmfork_page_unshare(pages[i]);
	kvmfork_mem_account(mem);
	return 0;
}

/*
 * Fill @folio with what the block has. False when one of the pages cannot be
 * read. The block's pages are clean: nobody writes meanwhile.
 */
static bool copy_block(struct kvmfork_mem *mem, unsigned long first,
		       struct folio *folio)
{
	unsigned long i;

	for (i = 0; i < KVMFORK_HUGE_NR; i++) {
		struct page *page = kvmfork_tree_lookup(&mem->tree,
							first + i).page;

		if (PageHWPoison(page))
			return false;
		copy_highpage(folio_page(folio, i), page);
	}
	return true;
}

/*
 * Give the block a huge page of its own. @was is what the block is taken for,
 * empty or clean; when it has become something else nothing is done.
 */
static bool fill_block(struct kvmfork_mem *mem, unsigned long first,
		       enum kvmfork_block was)
{
	bool copy = was == KVMFORK_BLOCK_CLEAN;
	struct folio *folio;
	struct page **pages, *seen;
	bool filled = false;
	unsigned long i;

	/* Not under the lock: compaction may take its time. */
	folio = kvmfork_huge_alloc(!copy);
	pages = folio ? kmalloc_array(KVMFORK_HUGE_NR, sizeof(*pages),
				      GFP_KERNEL_ACCOUNT) : NULL;
	if (!pages)
		goto free;

	down_write(&mem->lock);
	if (kvmfork_tree_block(&mem->tree, first) != was)
		goto unlock;
	seen = kvmfork_tree_lookup(&mem->tree, first).page ?: mem->zero;
	if (seen)
		kvmfork_mem_settle(mem, seen);
	filled = (!copy || copy_block(mem, first, folio)) &&
		 !replace_block(mem, first, folio, pages);
unlock:
	up_write(&mem->lock);
free:
	kfree(pages);
	if (!folio)
		atomic64_inc(&mem->nr_huge_missed);
	for (i = 0; folio && !filled && i < KVMFORK_HUGE_NR; i++)
		kvmfork_page_unshare(folio_page(folio, i));
	return filled;
}

bool kvmfork_mem_make_huge(struct kvmfork_mem *mem, unsigned long index,
			   struct page *held)
{
	struct kvmfork_slot slot;
	enum kvmfork_block block;

	if (!(mem->flags & KVMFORK_MEMORY_HUGE) || !block_fits(mem, index))
		return false;

	down_read(&mem->lock);
	slot = kvmfork_tree_lookup(&mem->tree, index);
	block = kvmfork_tree_block(&mem->tree, index);
	up_read(&mem->lock);

	if (is_ours_unmarked(&slot) && take_over(mem, index, held))
		return true;
	if (block == KVMFORK_BLOCK_EMPTY ||
	    (block == KVMFORK_BLOCK_CLEAN &&
	     (mem->flags & KVMFORK_MEMORY_HUGE_COPY)))
		return fill_block(mem, round_down(index, KVMFORK_HUGE_NR),
				  block);
	return false;
}

/*
 * Neither a page table entry of 2 MiB nor, from 7.0 on, all entries of 4 KiB at
 * once may be made of a huge page of which the block does not hold all, or not
 * all with the same right to be written: there are other pages in between. The
 * kernel does not where the huge page would reach beyond the end of the file, nor,
 * if it does not look at that yet, where a page table is there. The page lock keeps
 * the next fault from changing the index until the entry is in place.
 */
int kvmfork_mem_map_huge(struct kvmfork_mem *mem, struct vm_fault *vmf,
			 struct page *page)
{
	struct folio *folio = page_folio(page);

	if (kvmfork_tree_block(&mem->tree, vmf->pgoff) != KVMFORK_BLOCK_MIXED) {
		folio->index = round_down(vmf->pgoff, KVMFORK_HUGE_NR);
		return 0;
	}
	folio->index = mem->nr_pages;
	if (compat_maps_within_size() || !pmd_none(READ_ONCE(*vmf->pmd)))
		return 0;
	return apply_to_page_range(vmf->vma->vm_mm, vmf->address & PAGE_MASK,
				   PAGE_SIZE, NULL, NULL);
}

unsigned long kvmfork_mem_count_huge(struct kvmfork_mem *mem)
{
	unsigned long index, nr = 0;

	if (!(mem->flags & KVMFORK_MEMORY_HUGE))
		return 0;
	for (index = 0; block_fits(mem, index); index += KVMFORK_HUGE_NR) {
		enum kvmfork_block block;

		down_read(&mem->lock);
		block = kvmfork_tree_block(&mem->tree, index);
		up_read(&mem->lock);
		nr += block == KVMFORK_BLOCK_CLEAN ||
		      block == KVMFORK_BLOCK_DIRTY;
		cond_resched();
	}
	return nr;
}
