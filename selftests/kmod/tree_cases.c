// SPDX-License-Identifier: GPL-2.0-only
/* The page tree, case by case: tables of sizes and places. */
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/mm.h>

#include "tree_test.h"

#define SLOTS	KVMFORK_NODE_SLOTS

/* Sizes at which a tree grows by a level, and what is next to them. */
static const struct {
	unsigned long size;
	unsigned int height;
} sizes[] = {
	{ 1, 1 },
	{ SLOTS - 1, 1 },
	{ SLOTS, 1 },
	{ SLOTS + 1, 2 },
	{ SLOTS * SLOTS, 2 },
	{ SLOTS * SLOTS + 1, 3 },
	{ SLOTS * SLOTS * SLOTS, 3 },
	{ SLOTS * SLOTS * SLOTS + 1, 4 },
	{ 1UL << 24, 4 },
	{ (1UL << 24) + 1, 5 },
	{ 1UL << 30, 5 },	/* 4 TiB, the largest memory */
};

#define NR_SIZES	ARRAY_SIZE(sizes)

/* First and last page numbers of nodes of each level, as far as they exist. */
static const unsigned long places[] = {
	0, 1, SLOTS - 1, SLOTS, SLOTS + 1, SLOTS * SLOTS - 1, SLOTS * SLOTS,
	SLOTS * SLOTS + 1, (1UL << 18) - 1, 1UL << 18, (1UL << 24) - 1, 1UL << 24,
	(1UL << 30) - 1,
};

#define NR_PLACES	ARRAY_SIZE(places)

static unsigned int places_below(unsigned long size)
{
	unsigned int nr = 0;

	while (nr < NR_PLACES && places[nr] < size)
		nr++;
	return nr;
}

static void case_height(void)
{
	struct kvmfork_tree tree;
	unsigned int i;

	for (i = 0; i < NR_SIZES; i++) {
		kvmfork_tree_init(&tree, sizes[i].size);
		EXPECT(tree.height == sizes[i].height, "size %lu: height %u",
		       sizes[i].size, tree.height);
	}
}

static int never_clean(void *arg, unsigned long first, struct page **pages,
		       unsigned long *dirty)
{
	EXPECT(false, "dirty pages from %lu", first);
	return 0;
}

static void never_differs(void *arg, unsigned long index, struct page *one,
			  struct page *other)
{
	EXPECT(false, "a difference at %lu", index);
}

static void case_empty(void)
{
	struct kvmfork_tree tree, copy;
	unsigned long index;
	struct page *page;
	unsigned int i, k;

	for (i = 0; i < NR_SIZES; i++) {
		kvmfork_tree_init(&tree, sizes[i].size);
		for (k = 0; k < places_below(sizes[i].size); k++) {
			struct kvmfork_slot slot = kvmfork_tree_lookup(&tree, places[k]);

			EXPECT(!slot.page && !slot.dirty, "size %lu: something at %lu",
			       sizes[i].size, places[k]);
		}
		index = 0;
		EXPECT(!kvmfork_tree_next(&tree, &index, &page), "a page at %lu", index);
		EXPECT(!kvmfork_tree_count_private(&tree), "private pages");
		EXPECT(!kvmfork_tree_clean(&tree, never_clean, NULL), "an error");
		kvmfork_tree_share(&copy, &tree);
		kvmfork_tree_diff(&tree, &copy, 0, sizes[i].size - 1, never_differs, NULL);
		EXPECT(!test_nodes(), "%ld nodes", test_nodes());
		kvmfork_tree_destroy(&copy);
		kvmfork_tree_destroy(&tree);
	}
}

static void expect_private(const struct kvmfork_tree *tree, unsigned long index,
			   const struct page *page)
{
	struct kvmfork_slot slot = kvmfork_tree_lookup(tree, index);

	EXPECT(slot.page == page, "%lu: another page", index);
	EXPECT(slot.private, "%lu: not private", index);
	EXPECT(!slot.dirty, "%lu: dirty", index);
}

static void expect_shared(const struct kvmfork_tree *tree, unsigned long index,
			  const struct page *page)
{
	struct kvmfork_slot slot = kvmfork_tree_lookup(tree, index);

	EXPECT(slot.page == page, "%lu: another page", index);
	EXPECT(!slot.private, "%lu: private", index);
	EXPECT(!slot.dirty, "%lu: dirty", index);
}

/* One page at each place of each size; the neighbours stay holes. */
static void case_store(void)
{
	struct kvmfork_tree tree;
	struct page *page[2];
	unsigned int i, k;

	for (i = 0; i < NR_SIZES; i++) {
		for (k = 0; k < places_below(sizes[i].size); k++) {
			unsigned long index = places[k];

			kvmfork_tree_init(&tree, sizes[i].size);
			page[0] = test_fill(&tree, index);
			expect_private(&tree, index, page[0]);
			EXPECT(test_nodes() == sizes[i].height, "%ld nodes", test_nodes());
			EXPECT(tree.nr_pages == 1, "%lu pages", tree.nr_pages);
			EXPECT(kvmfork_tree_count_private(&tree) == 1, "not private");
			if (index)
				expect_private(&tree, index - 1, NULL);
			if (index + 1 < sizes[i].size)
				expect_private(&tree, index + 1, NULL);

			page[1] = test_fill(&tree, index);
			if (!page[0] || !page[1])
				return;
			expect_private(&tree, index, page[1]);
			EXPECT(page_count(page[0]) == 1, "the old page is still held");
			EXPECT(tree.nr_pages == 1, "%lu pages", tree.nr_pages);

			test_punch(&tree, index);
			expect_private(&tree, index, NULL);
			EXPECT(!tree.nr_pages, "%lu pages", tree.nr_pages);
			kvmfork_tree_destroy(&tree);
			EXPECT(!test_nodes(), "%ld nodes are left", test_nodes());
		}
	}
}

static void fill_places(struct kvmfork_tree *tree, unsigned long size,
			struct page **pages)
{
	unsigned int k;

	kvmfork_tree_init(tree, size);
	for (k = 0; k < places_below(size); k++)
		pages[k] = test_fill(tree, places[k]);
}

/* From each page number that matters, the next page is found. */
static void case_next(void)
{
	struct page *pages[NR_PLACES], *page;
	struct kvmfork_tree tree;
	unsigned int i, k;

	for (i = 0; i < NR_SIZES; i++) {
		unsigned int nr = places_below(sizes[i].size);
		unsigned long index = 0;

		fill_places(&tree, sizes[i].size, pages);
		for (k = 0; k < nr; k++) {
			index = k ? places[k - 1] + 1 : 0;
			EXPECT(kvmfork_tree_next(&tree, &index, &page), "none from %lu", index);
			EXPECT(index == places[k] && page == pages[k], "%lu instead of %lu",
			       index, places[k]);
			EXPECT(kvmfork_tree_next(&tree, &index, &page) && index == places[k],
			       "%lu is not its own next", places[k]);
		}
		index = places[nr - 1] + 1;
		EXPECT(!kvmfork_tree_next(&tree, &index, &page), "one more, at %lu", index);
		kvmfork_tree_destroy(&tree);
	}
}

/* A write into a shared tree copies the nodes on its way and no others. */
static void case_share(void)
{
	struct page *pages[NR_PLACES], *page;
	struct kvmfork_tree tree, copy;
	unsigned int i, k, n;

	for (i = 0; i < NR_SIZES; i++) {
		unsigned int nr = places_below(sizes[i].size);

		for (k = 0; k < nr; k++) {
			long nodes;

			fill_places(&tree, sizes[i].size, pages);
			nodes = test_nodes();
			kvmfork_tree_share(&copy, &tree);
			EXPECT(test_nodes() == nodes, "sharing made nodes");
			EXPECT(copy.nr_pages == nr, "%lu pages", copy.nr_pages);
			EXPECT(!kvmfork_tree_count_private(&tree), "private pages");

			page = test_fill(&copy, places[k]);
			EXPECT(test_nodes() == nodes + sizes[i].height, "%ld nodes for one write",
			       test_nodes() - nodes);
			expect_private(&copy, places[k], page);
			for (n = 0; n < nr; n++) {
				/* Of that node the other tree is the last holder now. */
				EXPECT(kvmfork_tree_lookup(&tree, places[n]).page == pages[n],
				       "%lu has changed", places[n]);
				if (n != k)
					expect_shared(&copy, places[n], pages[n]);
			}
			expect_private(&tree, places[k], pages[k]);
			EXPECT(kvmfork_tree_count_private(&tree) == 1, "%lu private pages",
			       kvmfork_tree_count_private(&tree));

			if (k % 2) {
				kvmfork_tree_destroy(&copy);
				EXPECT(kvmfork_tree_count_private(&tree) == nr,
				       "the last holder has %lu private pages",
				       kvmfork_tree_count_private(&tree));
				kvmfork_tree_destroy(&tree);
			} else {
				kvmfork_tree_destroy(&tree);
				EXPECT(kvmfork_tree_count_private(&copy) == nr,
				       "the last holder has %lu private pages",
				       kvmfork_tree_count_private(&copy));
				kvmfork_tree_destroy(&copy);
			}
			EXPECT(!test_nodes(), "%ld nodes are left", test_nodes());
		}
	}
}

struct visit {
	unsigned long at[NR_PLACES];	/* where dirty pages were found */
	unsigned int nr;
	unsigned long keep;		/* this stays dirty; ULONG_MAX: none */
	unsigned long fail;		/* and this is an error */
};

static int visit_dirty(void *arg, unsigned long first, struct page **pages,
		       unsigned long *dirty)
{
	struct visit *visit = arg;
	unsigned long kept = 0;
	unsigned int i;

	for_each_set_bit(i, dirty, SLOTS) {
		EXPECT(pages[i], "a dirty hole at %lu", first + i);
		EXPECT(visit->nr < NR_PLACES, "too many");
		if (visit->nr < NR_PLACES)
			visit->at[visit->nr++] = first + i;
		if (first + i == visit->keep)
			__set_bit(i, &kept);
		if (first + i == visit->fail)
			return -EIO;
	}
	*dirty = kept;
	return 0;
}

static struct visit clean(struct kvmfork_tree *tree, unsigned long keep,
			  unsigned long fail, int expected)
{
	struct visit visit = { .keep = keep, .fail = fail };
	int ret = kvmfork_tree_clean(tree, visit_dirty, &visit);

	EXPECT(ret == expected, "%d instead of %d", ret, expected);
	return visit;
}

/* Every other place is dirty: just these are visited, in order, once. */
static void case_dirty(void)
{
	struct page *pages[NR_PLACES];
	struct kvmfork_tree tree;
	unsigned int i, k;

	for (i = 0; i < NR_SIZES; i++) {
		unsigned int nr = places_below(sizes[i].size), marked = 0;
		unsigned long last;
		struct visit visit;

		fill_places(&tree, sizes[i].size, pages);
		for (k = 0; k < nr; k += 2, marked++)
			kvmfork_tree_mark_dirty(&tree, places[k]);
		last = places[2 * (marked - 1)];
		for (k = 0; k < nr; k++)
			EXPECT(kvmfork_tree_lookup(&tree, places[k]).dirty == !(k % 2),
			       "%lu is wrong", places[k]);

		/* The error leaves the leaf in which it comes as it is. */
		visit = clean(&tree, ULONG_MAX, last, -EIO);
		EXPECT(kvmfork_tree_lookup(&tree, last).dirty, "clean after an error");
		for (k = 0; k < nr; k += 2)
			kvmfork_tree_mark_dirty(&tree, places[k]);
		visit = clean(&tree, last, ULONG_MAX, 0);
		EXPECT(visit.nr == marked, "%u visited of %u", visit.nr, marked);
		for (k = 0; k < visit.nr; k++)
			EXPECT(visit.at[k] == places[2 * k], "%lu instead of %lu",
			       visit.at[k], places[2 * k]);
		visit = clean(&tree, ULONG_MAX, ULONG_MAX, 0);
		EXPECT(visit.nr == 1 && visit.at[0] == last, "what was kept is gone");
		visit = clean(&tree, ULONG_MAX, ULONG_MAX, 0);
		EXPECT(!visit.nr, "%u visited of none", visit.nr);

		/* A new page is clean. */
		kvmfork_tree_mark_dirty(&tree, 0);
		test_fill(&tree, 0);
		EXPECT(!kvmfork_tree_lookup(&tree, 0).dirty, "a new page is dirty");
		kvmfork_tree_destroy(&tree);
	}
}

static void expect_unchanged(const struct kvmfork_tree *tree, struct page **pages,
			     unsigned int nr)
{
	unsigned int k;

	EXPECT(tree->nr_pages == nr, "%lu pages", tree->nr_pages);
	for (k = 0; k < nr; k++)
		EXPECT(kvmfork_tree_lookup(tree, places[k]).page == pages[k], "%lu has changed",
		       places[k]);
}

/* A store into a shared tree, with each of the nodes that it needs missing. */
static void fail_store(const struct kvmfork_tree *tree, struct page **pages,
		       unsigned int nr, unsigned int k)
{
	struct page *page = test_page(), *old;
	struct kvmfork_tree copy;
	unsigned int nth;

	EXPECT(page, "no page");
	if (!page)
		return;
	for (nth = 1; nth <= tree->height + 1; nth++) {
		bool enough = nth > tree->height;
		int ret;

		kvmfork_tree_share(&copy, tree);
		test_fail_nth(nth);
		ret = kvmfork_tree_store(&copy, places[k], page, &old);
		EXPECT(test_fail_end() != enough, "allocation %u of %u", nth, tree->height);
		EXPECT(ret == (enough ? 0 : -ENOMEM), "allocation %u: result %d", nth, ret);
		if (ret) {
			expect_unchanged(&copy, pages, nr);
		} else {
			EXPECT(old == pages[k], "another page came back");
			kvmfork_page_unshare(old);
			expect_private(&copy, places[k], page);
		}
		expect_unchanged(tree, pages, nr);
		kvmfork_tree_destroy(&copy);
	}
}

/* Nothing has changed after a store for which there was no memory. */
static void case_out_of_memory(void)
{
	struct page *pages[NR_PLACES];
	struct kvmfork_tree tree;
	unsigned int i, k;

	for (i = 0; i < NR_SIZES; i++) {
		unsigned int nr = places_below(sizes[i].size);

		fill_places(&tree, sizes[i].size, pages);
		for (k = 0; k < nr; k++)
			fail_store(&tree, pages, nr, k);
		kvmfork_tree_destroy(&tree);
	}
}

struct differences {
	unsigned long at[NR_PLACES];
	unsigned int nr;
};

static void note_difference(void *arg, unsigned long index, struct page *one,
			    struct page *other)
{
	struct differences *found = arg;

	EXPECT(one != other, "the same page at %lu", index);
	EXPECT(found->nr < NR_PLACES, "too many");
	if (found->nr < NR_PLACES)
		found->at[found->nr++] = index;
}

/* Two places are made to differ; ranges with none, one and both of them. */
static void case_diff(void)
{
	struct page *pages[NR_PLACES];
	struct kvmfork_tree tree, copy;
	unsigned int i, k;

	for (i = 0; i < NR_SIZES; i++) {
		unsigned int nr = places_below(sizes[i].size);
		unsigned long end = sizes[i].size - 1;

		for (k = 0; k + 1 < nr; k++) {
			unsigned long one = places[k], other = places[k + 1];
			const struct {
				unsigned long first, last;
				unsigned int nr;
			} ranges[] = {
				{ 0, end, 2 },
				{ one, other, 2 },
				{ one, one, 1 },
				{ other, other, 1 },
				{ one, other - 1, 1 },
				{ one + 1, end, 1 },
			};
			unsigned int n;

			fill_places(&tree, sizes[i].size, pages);
			kvmfork_tree_share(&copy, &tree);
			test_fill(&copy, one);
			test_punch(&tree, other);
			for (n = 0; n < ARRAY_SIZE(ranges); n++) {
				struct differences found = {};

				kvmfork_tree_diff(&tree, &copy, ranges[n].first, ranges[n].last,
						  note_difference, &found);
				EXPECT(found.nr == ranges[n].nr, "%lu to %lu: %u differ",
				       ranges[n].first, ranges[n].last, found.nr);
				EXPECT(!found.nr || found.at[0] == (ranges[n].first <= one ? one : other),
				       "%lu", found.at[0]);
				EXPECT(found.nr < 2 || found.at[1] == other, "%lu", found.at[1]);
			}
			if (one)
				kvmfork_tree_diff(&tree, &copy, 0, one - 1, never_differs, NULL);
			if (other < end)
				kvmfork_tree_diff(&tree, &copy, other + 1, end, never_differs, NULL);
			kvmfork_tree_destroy(&tree);
			kvmfork_tree_destroy(&copy);
		}
	}
}

const struct tree_test tree_cases[] = {
	{ "height", case_height },
	{ "empty", case_empty },
	{ "store", case_store },
	{ "next", case_next },
	{ "share", case_share },
	{ "dirty", case_dirty },
	{ "out_of_memory", case_out_of_memory },
	{ "diff", case_diff },
	{}
};
