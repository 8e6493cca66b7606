// SPDX-License-Identifier: GPL-2.0-only
/* The page tree. See tree.h for the idea and the locking. */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "page.h"
#include "tree.h"

struct kvmfork_node {
	refcount_t refs;	/* slots and roots that point here */
	unsigned long dirty;	/* slots with dirty pages below; 0 if shared */
	void *slots[KVMFORK_NODE_SLOTS];
};

static_assert(KVMFORK_NODE_SLOTS == BITS_PER_LONG);
static_assert(KVMFORK_HUGE_NR % KVMFORK_NODE_SLOTS == 0);

static struct kmem_cache *node_cache;

int kvmfork_tree_module_init(void)
{
	node_cache = KMEM_CACHE(kvmfork_node, SLAB_ACCOUNT);
	return node_cache ? 0 : -ENOMEM;
}

void kvmfork_tree_module_exit(void)
{
	kmem_cache_destroy(node_cache);
}

/*
 * A node that only its owner points to stays so: a second reference is only
 * taken through the first one, under the owner's lock.
 */
static bool node_is_private(const struct kvmfork_node *node)
{
	if (refcount_read(&node->refs) != 1)
		return false;
	smp_acquire__after_ctrl_dep();
	return true;
}

static unsigned int level_shift(unsigned int level)
{
	return level * KVMFORK_NODE_SHIFT;
}

static unsigned int slot_of(unsigned long index, unsigned int level)
{
	return (index >> level_shift(level)) & (KVMFORK_NODE_SLOTS - 1);
}

static struct kvmfork_node *node_alloc(void)
{
	struct kvmfork_node *node = kmem_cache_zalloc(node_cache, GFP_KERNEL);

	if (node)
		refcount_set(&node->refs, 1);
	return node;
}

/* Level 0 are leaves. Recursion is as deep as the tree is high. */
static void node_put(struct kvmfork_node *node, unsigned int level)
{
	unsigned int i;

	if (!refcount_dec_and_test(&node->refs))
		return;

	for (i = 0; i < KVMFORK_NODE_SLOTS; i++) {
		if (!node->slots[i])
			continue;
		if (level)
			node_put(node->slots[i], level - 1);
		else
			kvmfork_page_unshare(node->slots[i]);
	}
	kmem_cache_free(node_cache, node);
	cond_resched();
}

static struct kvmfork_node *node_copy(const struct kvmfork_node *node,
				      unsigned int level)
{
	struct kvmfork_node *copy = kmem_cache_alloc(node_cache, GFP_KERNEL);
	unsigned int i;

	if (!copy)
		return NULL;

	refcount_set(&copy->refs, 1);
	copy->dirty = 0;
	for (i = 0; i < KVMFORK_NODE_SLOTS; i++) {
		void *slot = node->slots[i];

		copy->slots[i] = slot;
		if (!slot)
			continue;
		if (level)
			refcount_inc(&((struct kvmfork_node *)slot)->refs);
		else
			kvmfork_page_share(slot);
	}
	return copy;
}

void kvmfork_tree_init(struct kvmfork_tree *tree, unsigned long size)
{
	tree->root = NULL;
	tree->nr_pages = 0;
	tree->height = 1;
	while ((size - 1) >> level_shift(tree->height))
		tree->height++;
}

void kvmfork_tree_destroy(struct kvmfork_tree *tree)
{
	if (tree->root)
		node_put(tree->root, tree->height - 1);
	tree->root = NULL;
	tree->nr_pages = 0;
}

void kvmfork_tree_share(struct kvmfork_tree *to,
			const struct kvmfork_tree *from)
{
	*to = *from;
	if (to->root)
		refcount_inc(&to->root->refs);
}

struct kvmfork_slot kvmfork_tree_lookup(const struct kvmfork_tree *tree,
					unsigned long index)
{
	struct kvmfork_slot found = { .private = true };
	struct kvmfork_node *node = tree->root;
	unsigned int level = tree->height;

	while (node && level--) {
		unsigned int i = slot_of(index, level);

		found.private = found.private && node_is_private(node);
		if (!level) {
			found.page = node->slots[i];
			found.dirty = test_bit(i, &node->dirty);
		}
		node = node->slots[i];
	}
	if (found.page)
		found.private = found.private && kvmfork_page_is_private(found.page);
	return found;
}

/* Make the node in *@slot, at @level, private, and there if it was missing. */
static struct kvmfork_node *node_make_private(void **slot, unsigned int level)
{
	struct kvmfork_node *node = *slot;
	struct kvmfork_node *mine;

	if (node && node_is_private(node))
		return node;

	mine = node ? node_copy(node, level) : node_alloc();
	if (!mine)
		return NULL;
	*slot = mine;
	if (node)
		node_put(node, level);
	return mine;
}

/*
 * The leaf for @index, made private with all nodes on its way. NULL: out of
 * memory; nodes made so far hold what their originals held.
 */
static struct kvmfork_node *leaf_make_private(struct kvmfork_tree *tree,
					      unsigned long index)
{
	void **slot = (void **)&tree->root;
	struct kvmfork_node *node = NULL;
	unsigned int level = tree->height;

	while (level--) {
		node = node_make_private(slot, level);
		if (!node)
			return NULL;
		slot = &node->slots[slot_of(index, level)];
	}
	return node;
}

/* Put @page into a private leaf, not dirty. What was there comes back. */
static struct page *leaf_exchange(struct kvmfork_tree *tree,
				  struct kvmfork_node *leaf,
				  unsigned long index, struct page *page)
{
	unsigned int i = slot_of(index, 0);
	struct page *old = leaf->slots[i];

	clear_bit(i, &leaf->dirty);
	leaf->slots[i] = page;
	tree->nr_pages += !!page - !!old;
	return old;
}

int kvmfork_tree_store(struct kvmfork_tree *tree, unsigned long index,
		       struct page *page, struct page **old)
{
	struct kvmfork_node *leaf = leaf_make_private(tree, index);

	if (!leaf)
		return -ENOMEM;
	*old = leaf_exchange(tree, leaf, index, page);
	return 0;
}

int kvmfork_tree_exchange_block(struct kvmfork_tree *tree, unsigned long first,
				struct page **pages)
{
	struct kvmfork_node *leaf;
	unsigned long i, j;

	for (i = 0; i < KVMFORK_HUGE_NR; i += KVMFORK_NODE_SLOTS)
		if (!leaf_make_private(tree, first + i))
			return -ENOMEM;

	for (i = 0; i < KVMFORK_HUGE_NR; i += KVMFORK_NODE_SLOTS) {
		leaf = leaf_make_private(tree, first + i);
		for (j = i; j < i + KVMFORK_NODE_SLOTS; j++)
			pages[j] = leaf_exchange(tree, leaf, first + j,
						 pages[j]);
	}
	return 0;
}

void kvmfork_tree_mark_dirty(struct kvmfork_tree *tree, unsigned long index)
{
	struct kvmfork_node *node = tree->root;
	unsigned int level = tree->height;

	while (level--) {
		unsigned int i = slot_of(index, level);

		if (!test_bit(i, &node->dirty))
			set_bit(i, &node->dirty);
		node = node->slots[i];
	}
}

/* The leaf of @index, and whether it is private. NULL: none. */
static struct kvmfork_node *find_leaf(const struct kvmfork_tree *tree,
				      unsigned long index, bool *private)
{
	struct kvmfork_node *node = tree->root;
	unsigned int level = tree->height - 1;

	*private = node && node_is_private(node);
	for (; node && level; level--) {
		node = node->slots[slot_of(index, level)];
		*private = *private && node && node_is_private(node);
	}
	return node;
}

/* Are these all pages of a leaf, from the huge page's page @page on? */
static bool leaf_in_order(const struct kvmfork_node *leaf, struct page *page)
{
	unsigned int i;

	for (i = 0; i < KVMFORK_NODE_SLOTS; i++)
		if (leaf->slots[i] != page + i)
			return false;
	return true;
}

static bool leaf_is_empty(const struct kvmfork_node *leaf)
{
	return !memchr_inv(leaf->slots, 0, sizeof(leaf->slots));
}

enum kvmfork_block kvmfork_tree_block(const struct kvmfork_tree *tree,
				      unsigned long index)
{
	unsigned long first = round_down(index, KVMFORK_HUGE_NR);
	unsigned int empty = 0, clean = 0, dirty = 0;
	struct page *head = NULL;
	unsigned long i;
	bool private;

	for (i = 0; i < KVMFORK_HUGE_NR; i += KVMFORK_NODE_SLOTS) {
		struct kvmfork_node *leaf = find_leaf(tree, first + i, &private);

		if (!leaf || leaf_is_empty(leaf)) {
			empty++;
			continue;
		}
		if (!i)
			head = leaf->slots[0];
		if (!head || !kvmfork_page_is_huge(head) ||
		    !leaf_in_order(leaf, head + i))
			return KVMFORK_BLOCK_MIXED;
		clean += !leaf->dirty;
		dirty += !~leaf->dirty;
	}
	if (empty == KVMFORK_HUGE_NR / KVMFORK_NODE_SLOTS)
		return KVMFORK_BLOCK_EMPTY;
	if (clean == KVMFORK_HUGE_NR / KVMFORK_NODE_SLOTS)
		return KVMFORK_BLOCK_CLEAN;
	if (dirty == KVMFORK_HUGE_NR / KVMFORK_NODE_SLOTS)
		return KVMFORK_BLOCK_DIRTY;
	return KVMFORK_BLOCK_MIXED;
}

void kvmfork_tree_mark_huge_dirty(struct kvmfork_tree *tree,
				  unsigned long index)
{
	unsigned long first = round_down(index, KVMFORK_HUGE_NR);
	unsigned long i, j;
	bool private;

	for (i = 0; i < KVMFORK_HUGE_NR; i += KVMFORK_NODE_SLOTS) {
		struct kvmfork_node *leaf = find_leaf(tree, first + i, &private);
		bool any = false;

		if (!private)
			continue;
		for (j = 0; j < KVMFORK_NODE_SLOTS; j++) {
			struct page *page = leaf->slots[j];

			if (!page || !kvmfork_page_is_huge(page) ||
			    !kvmfork_page_is_private(page))
				continue;
			__set_bit(j, &leaf->dirty);
			any = true;
		}
		/* The way to the leaf. */
		if (any)
			kvmfork_tree_mark_dirty(tree, first + i +
						__ffs(leaf->dirty));
	}
}

static bool node_next(const struct kvmfork_node *node, unsigned int level,
		      unsigned long *index, struct page **page)
{
	unsigned long step = 1UL << level_shift(level);
	unsigned int i;

	for (i = slot_of(*index, level); i < KVMFORK_NODE_SLOTS; i++) {
		if (node->slots[i]) {
			if (!level) {
				*page = node->slots[i];
				return true;
			}
			if (node_next(node->slots[i], level - 1, index, page))
				return true;
			/* It left *index at the start of the next slot. */
			continue;
		}
		*index = (*index & ~(step - 1)) + step;
	}
	return false;
}

bool kvmfork_tree_next(const struct kvmfork_tree *tree, unsigned long *index,
		       struct page **page)
{
	if (!tree->root || *index >> level_shift(tree->height))
		return false;
	return node_next(tree->root, tree->height - 1, index, page);
}

static unsigned long node_count_private(const struct kvmfork_node *node,
					unsigned int level)
{
	unsigned long count = 0;
	unsigned int i;

	if (!node_is_private(node))
		return 0;

	for (i = 0; i < KVMFORK_NODE_SLOTS; i++) {
		if (!node->slots[i])
			continue;
		if (level)
			count += node_count_private(node->slots[i], level - 1);
		else
			count += kvmfork_page_is_private(node->slots[i]);
	}
	cond_resched();
	return count;
}

unsigned long kvmfork_tree_count_private(const struct kvmfork_tree *tree)
{
	if (!tree->root)
		return 0;
	return node_count_private(tree->root, tree->height - 1);
}

static int node_clean(struct kvmfork_node *node, unsigned int level,
		      unsigned long first, kvmfork_clean_fn fn, void *arg)
{
	unsigned long todo = node->dirty;
	unsigned int i;
	int ret;

	if (!todo)
		return 0;

	if (!level) {
		ret = fn(arg, first, (struct page **)node->slots, &todo);
		if (!ret)
			node->dirty = todo;
		cond_resched();
		return ret;
	}

	for_each_set_bit(i, &todo, KVMFORK_NODE_SLOTS) {
		struct kvmfork_node *child = node->slots[i];

		ret = node_clean(child, level - 1,
				 first + ((unsigned long)i << level_shift(level)),
				 fn, arg);
		if (ret)
			return ret;
		if (!child->dirty)
			clear_bit(i, &node->dirty);
	}
	return 0;
}

int kvmfork_tree_clean(struct kvmfork_tree *tree, kvmfork_clean_fn fn,
		       void *arg)
{
	if (!tree->root || !tree->root->dirty)
		return 0;
	return node_clean(tree->root, tree->height - 1, 0, fn, arg);
}

struct diff {
	unsigned long first;
	unsigned long last;
	kvmfork_diff_fn fn;
	void *arg;
};

static void node_diff(const struct kvmfork_node *one,
		      const struct kvmfork_node *other, unsigned int level,
		      unsigned long base, const struct diff *diff)
{
	static void *const none[KVMFORK_NODE_SLOTS];
	void *const *mines = one ? one->slots : none;
	void *const *others = other ? other->slots : none;
	unsigned int i;

	if (one == other)
		return;

	for (i = 0; i < KVMFORK_NODE_SLOTS; i++) {
		void *mine = mines[i], *theirs = others[i];
		unsigned long start, end;

		if (mine == theirs)
			continue;
		start = base + ((unsigned long)i << level_shift(level));
		end = start + (1UL << level_shift(level)) - 1;
		if (end < diff->first || start > diff->last)
			continue;
		if (level)
			node_diff(mine, theirs, level - 1, start, diff);
		else
			diff->fn(diff->arg, start, mine, theirs);
	}
}

void kvmfork_tree_diff(const struct kvmfork_tree *one,
		       const struct kvmfork_tree *other, unsigned long first,
		       unsigned long last, kvmfork_diff_fn fn, void *arg)
{
	const struct diff diff = {
		.first = first,
		.last = last,
		.fn = fn,
		.arg = arg,
	};

	node_diff(one->root, other->root, one->height - 1, 0, &diff);
}
