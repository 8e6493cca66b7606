// SPDX-License-Identifier: GPL-2.0-only
/* The page tree with huge pages: what a block is taken for, and replacing one. */
#include <linux/mm.h>
#include <linux/slab.h>

#include "tree_test.h"

#define NR	KVMFORK_HUGE_NR
/* The block in question, not the first of its tree; trees of two heights. */
#define FIRST	(3 * NR)

static const unsigned long sizes[] = { 8 * NR, 1UL << 24 };

/* Put a new huge page at FIRST; its pages, to be freed, or NULL. */
static struct page **fill_block(struct kvmfork_tree *tree, struct page **old)
{
	struct folio *folio = test_huge();
	struct page **pages = kmalloc_array(NR, sizeof(*pages), GFP_KERNEL);
	unsigned long i;
	int ret;

	EXPECT(folio && pages, "no huge page");
	if (!folio || !pages)
		goto free;
	for (i = 0; i < NR; i++)
		old[i] = pages[i] = folio_page(folio, i);
	ret = kvmfork_tree_exchange_block(tree, FIRST, old);
	EXPECT(!ret, "error %d", ret);
	if (!ret)
		return pages;
	for (i = 0; i < NR; i++)
		kvmfork_page_unshare(pages[i]);
free:
	kfree(pages);
	return NULL;
}

static void expect_block(const struct kvmfork_tree *tree, enum kvmfork_block expected)
{
	static const unsigned long offsets[] = { 0, 1, NR / 2, NR - 1 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		enum kvmfork_block found = kvmfork_tree_block(tree, FIRST + offsets[i]);

		EXPECT(found == expected, "seen from %lu: %d instead of %d", offsets[i], found,
		       expected);
	}
}

/* A block of a huge page; its neighbours are empty. Then it loses a page. */
static void block_of(unsigned long size, struct page **old)
{
	struct kvmfork_tree tree;
	struct page **pages;
	unsigned long i;

	kvmfork_tree_init(&tree, size);
	expect_block(&tree, KVMFORK_BLOCK_EMPTY);
	pages = fill_block(&tree, old);
	if (!pages)
		return;
	for (i = 0; i < NR; i++) {
		struct kvmfork_slot slot = kvmfork_tree_lookup(&tree, FIRST + i);

		EXPECT(!old[i], "something came back from %lu", i);
		EXPECT(slot.page == pages[i] && slot.private && !slot.dirty, "at %lu", i);
	}
	EXPECT(tree.nr_pages == NR, "%lu pages", tree.nr_pages);
	EXPECT(kvmfork_tree_count_private(&tree) == NR, "not private");
	expect_block(&tree, KVMFORK_BLOCK_CLEAN);
	EXPECT(kvmfork_tree_block(&tree, FIRST - 1) == KVMFORK_BLOCK_EMPTY, "the block before");
	EXPECT(kvmfork_tree_block(&tree, FIRST + NR) == KVMFORK_BLOCK_EMPTY, "the block behind");

	kvmfork_tree_mark_dirty(&tree, FIRST + 7);
	expect_block(&tree, KVMFORK_BLOCK_MIXED);
	kvmfork_tree_mark_huge_dirty(&tree, FIRST + 8);
	expect_block(&tree, KVMFORK_BLOCK_DIRTY);
	EXPECT(kvmfork_tree_lookup(&tree, FIRST + NR - 1).dirty, "the last page is clean");

	test_punch(&tree, FIRST + NR - 1);
	expect_block(&tree, KVMFORK_BLOCK_MIXED);
	test_fill(&tree, FIRST + NR - 1);
	expect_block(&tree, KVMFORK_BLOCK_MIXED);
	kvmfork_tree_destroy(&tree);
	kfree(pages);
}

/* Both sides of a share hold the whole; a write ends that for one of them. */
static void block_shared(unsigned long size, struct page **old)
{
	struct kvmfork_tree tree, copy;
	struct page **pages;

	kvmfork_tree_init(&tree, size);
	pages = fill_block(&tree, old);
	if (!pages)
		return;
	kvmfork_tree_share(&copy, &tree);
	expect_block(&tree, KVMFORK_BLOCK_CLEAN);
	expect_block(&copy, KVMFORK_BLOCK_CLEAN);
	/* What is shared is not marked. */
	kvmfork_tree_mark_huge_dirty(&copy, FIRST);
	expect_block(&copy, KVMFORK_BLOCK_CLEAN);

	test_fill(&copy, FIRST + 100);
	expect_block(&tree, KVMFORK_BLOCK_CLEAN);
	expect_block(&copy, KVMFORK_BLOCK_MIXED);
	EXPECT(kvmfork_tree_lookup(&tree, FIRST + 100).private, "the page left alone is not private");
	EXPECT(!kvmfork_tree_lookup(&tree, FIRST + 101).private, "its neighbour is private");
	kvmfork_tree_destroy(&copy);
	EXPECT(kvmfork_tree_count_private(&tree) == NR, "the last holder has %lu private pages",
	       kvmfork_tree_count_private(&tree));
	kvmfork_tree_destroy(&tree);
	kfree(pages);
}

/* One huge page instead of another, with each allocation missing. */
static void block_out_of_memory(unsigned long size, struct page **old)
{
	struct kvmfork_tree tree, copy;
	struct page **pages;
	struct folio *folio;
	unsigned long i;
	unsigned int nth;
	int ret = -ENOMEM;

	kvmfork_tree_init(&tree, size);
	pages = fill_block(&tree, old);
	folio = test_huge();
	EXPECT(folio, "no huge page");
	if (!pages || !folio)
		return;
	for (nth = 1; ret && nth < 100; nth++) {
		kvmfork_tree_share(&copy, &tree);
		for (i = 0; i < NR; i++)
			old[i] = folio_page(folio, i);
		test_fail_nth(nth);
		ret = kvmfork_tree_exchange_block(&copy, FIRST, old);
		EXPECT(ret == (test_fail_end() ? -ENOMEM : 0), "allocation %u: result %d", nth, ret);
		for (i = 0; i < NR; i++) {
			struct page *kept = ret ? pages[i] : folio_page(folio, i);

			EXPECT(kvmfork_tree_lookup(&copy, FIRST + i).page == kept, "at %lu", i);
			EXPECT(old[i] == (ret ? folio_page(folio, i) : pages[i]), "from %lu", i);
			if (!ret)
				kvmfork_page_unshare(old[i]);
		}
		EXPECT(copy.nr_pages == NR, "%lu pages", copy.nr_pages);
		kvmfork_tree_destroy(&copy);
	}
	/* Leaves, and the nodes above them. */
	EXPECT(nth > NR / KVMFORK_NODE_SLOTS + 1, "only %u allocations", nth - 1);
	kvmfork_tree_destroy(&tree);
	kfree(pages);
}

static void with_sizes(void (*test)(unsigned long size, struct page **old))
{
	struct page **old = kmalloc_array(NR, sizeof(*old), GFP_KERNEL);
	unsigned int i;

	for (i = 0; old && i < ARRAY_SIZE(sizes); i++)
		test(sizes[i], old);
	EXPECT(old, "no memory");
	kfree(old);
}

static void case_block(void)
{
	with_sizes(block_of);
}

static void case_shared(void)
{
	with_sizes(block_shared);
}

static void case_out_of_memory(void)
{
	with_sizes(block_out_of_memory);
}

const struct tree_test tree_huge_cases[] = {
	{ "huge_block", case_block },
	{ "huge_shared", case_shared },
	{ "huge_out_of_memory", case_out_of_memory },
	{}
};
