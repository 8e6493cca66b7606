/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The page tree: an index from page number to page that can be shared whole.
 *
 * A radix tree whose nodes are counted. Sharing a tree takes one reference on
 * its root; writing into a shared tree first copies the nodes on the way to
 * the page, which then share what is below them. So a share costs the same
 * for any size of memory and any number of earlier shares, a look-up costs the
 * height of the tree, and what the last user leaves is freed at once.
 *
 * Pages are counted by the leaf slots that hold them (page.h). A page is
 * private to a tree when no node on its way is shared and one slot holds it:
 * nobody else can reach it.
 *
 * Each node has a bitmap of the slots below which pages are dirty: possibly
 * written through a page table or about to be. Only private pages are dirty.
 *
 * Locking: the owner of a tree serializes changes against everything else on
 * that tree; look-ups and kvmfork_tree_mark_dirty() may run side by side.
 * Nodes that are shared are never changed, so that trees which share nodes
 * need no common lock.
 */
#ifndef KVMFORK_TREE_H
#define KVMFORK_TREE_H

#include <linux/mm_types.h>
#include <linux/types.h>

#define KVMFORK_NODE_SHIFT	6
#define KVMFORK_NODE_SLOTS	(1UL << KVMFORK_NODE_SHIFT)

struct kvmfork_node;

struct kvmfork_tree {
	struct kvmfork_node *root;	/* NULL: empty */
	unsigned int height;		/* levels of nodes, at least 1 */
	unsigned long nr_pages;		/* pages held */
};

/* What a look-up found. */
struct kvmfork_slot {
	struct page *page;	/* NULL: hole. Not referenced for the caller */
	bool private;		/* no other tree can reach it */
	bool dirty;
};

int kvmfork_tree_module_init(void);
void kvmfork_tree_module_exit(void);

/* Make an empty tree for page numbers below @size. */
void kvmfork_tree_init(struct kvmfork_tree *tree, unsigned long size);

/* Drop all pages. The tree is empty afterwards. Sleeps. */
void kvmfork_tree_destroy(struct kvmfork_tree *tree);

/* Make @to, which is not initialized, hold what @from holds. Never fails. */
void kvmfork_tree_share(struct kvmfork_tree *to,
			const struct kvmfork_tree *from);

struct kvmfork_slot kvmfork_tree_lookup(const struct kvmfork_tree *tree,
					unsigned long index);

/*
 * Put @page, whose share the tree takes over, at @index. The page that was
 * there comes back in @old (or NULL) with its share, for
 * kvmfork_page_unshare(). -ENOMEM: nothing has changed. Sleeps.
 */
int kvmfork_tree_store(struct kvmfork_tree *tree, unsigned long index,
		       struct page *page, struct page **old);

/* Mark a page that kvmfork_tree_lookup() reports as private. */
void kvmfork_tree_mark_dirty(struct kvmfork_tree *tree, unsigned long index);

/*
 * What a block of KVMFORK_HUGE_NR page numbers holds: may it be mapped as one
 * huge page?
 */
enum kvmfork_block {
	KVMFORK_BLOCK_EMPTY,	/* no pages */
	KVMFORK_BLOCK_CLEAN,	/* all pages of one huge page, none dirty */
	KVMFORK_BLOCK_DIRTY,	/* the same, all dirty */
	KVMFORK_BLOCK_MIXED,	/* anything else */
};

/* The block around @index, which lies within the tree's size. */
enum kvmfork_block kvmfork_tree_block(const struct kvmfork_tree *tree,
				      unsigned long index);

/*
 * Put @pages[KVMFORK_HUGE_NR] at the block that starts at @first, with their
 * shares. What was there comes back in @pages. -ENOMEM: nothing has changed.
 */
int kvmfork_tree_exchange_block(struct kvmfork_tree *tree, unsigned long first,
				struct page **pages);

/* Mark all private pages of huge pages in the block around @index. */
void kvmfork_tree_mark_huge_dirty(struct kvmfork_tree *tree,
				  unsigned long index);

/* The first page at or after @index; false when there is none. */
bool kvmfork_tree_next(const struct kvmfork_tree *tree, unsigned long *index,
		       struct page **page);

/* Pages private to the tree. Walks what is not shared. */
unsigned long kvmfork_tree_count_private(const struct kvmfork_tree *tree);

/*
 * Called for every leaf with dirty pages: @pages are those of page numbers
 * @first to @first + KVMFORK_NODE_SLOTS - 1, @dirty has a bit for each dirty
 * one. The bits that remain set when it returns 0 stay dirty.
 */
typedef int (*kvmfork_clean_fn)(void *arg, unsigned long first,
				struct page **pages, unsigned long *dirty);

/* Visit the dirty pages by rising number. Stops at the first error. */
int kvmfork_tree_clean(struct kvmfork_tree *tree, kvmfork_clean_fn fn,
		       void *arg);

/*
 * Called for every page number at which two trees hold not the same page;
 * NULL is a hole.
 */
typedef void (*kvmfork_diff_fn)(void *arg, unsigned long index,
				struct page *one, struct page *other);

/*
 * Visit where the trees, made for the same size, differ from @first to @last,
 * inclusive, by rising number. Skips what they share whole. Never sleeps
 * unless @fn does.
 */
void kvmfork_tree_diff(const struct kvmfork_tree *one,
		       const struct kvmfork_tree *other, unsigned long first,
		       unsigned long last, kvmfork_diff_fn fn, void *arg);

#endif
