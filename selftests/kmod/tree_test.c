// SPDX-License-Identifier: GPL-2.0-only
/* The frame of the page tree's tests. See tree_test.h. */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "tree_test.h"

/*
 * Tree and pages themselves, the same source as in kvmfork.ko. Nodes are counted;
 * that allocations can be made to fail comes from fault.h.
 */
static atomic_long_t nodes;

static void *count_node(void *node)
{
	if (node)
		atomic_long_inc(&nodes);
	return node;
}

static void uncount_node(struct kmem_cache *cache, void *node)
{
	atomic_long_dec(&nodes);
	kmem_cache_free(cache, node);
}

#undef kmem_cache_alloc
#undef kmem_cache_zalloc
#define kmem_cache_alloc(cache, gfp)					\
	count_node(kvmfork_fault_kmem_cache_alloc(cache, gfp))
#define kmem_cache_zalloc(cache, gfp)					\
	count_node(kvmfork_fault_kmem_cache_zalloc(cache, gfp))
#define kmem_cache_free		uncount_node

/* kvmfork.ko, which may be loaded, has a cache of the usual name. */
#undef KMEM_CACHE
#define KMEM_CACHE(type, flags)						\
	kmem_cache_create("kvmfork_test_" #type, sizeof(struct type),	\
			  __alignof__(struct type), flags, NULL)

#include "page.c"
#include "tree.c"

struct seq_file *test_out;
bool test_failed;

/* Readers take turns. */
static DEFINE_MUTEX(test_lock);

static unsigned int fault_nth;

bool kvmfork_fault(void)
{
	return fault_nth && !--fault_nth;
}

void test_fail_nth(unsigned int nth)
{
	fault_nth = nth;
}

bool test_fail_end(void)
{
	bool failed = !fault_nth;

	fault_nth = 0;
	return failed;
}

long test_nodes(void)
{
	return atomic_long_read(&nodes);
}

/* All pages of a test. It holds a reference to each besides the trees'. */
#define MAX_PAGES	4096

static struct page *pages[MAX_PAGES];
static unsigned int nr_pages;

#define MAX_HUGE	16

static struct folio *folios[MAX_HUGE];
static unsigned int nr_folios;

struct page *test_page(void)
{
	struct page *page;

	if (nr_pages == MAX_PAGES)
		return NULL;
	page = kvmfork_page_alloc(false);
	if (!page)
		return NULL;
	get_page(page);
	pages[nr_pages++] = page;
	return page;
}

struct folio *test_huge(void)
{
	struct folio *folio;

	if (nr_folios == MAX_HUGE)
		return NULL;
	folio = kvmfork_huge_alloc(false);
	if (!folio)
		return NULL;
	folio_get(folio);
	folios[nr_folios++] = folio;
	return folio;
}

struct page *test_fill(struct kvmfork_tree *tree, unsigned long index)
{
	struct page *page = test_page(), *old;
	int ret;

	EXPECT(page, "no page");
	if (!page)
		return NULL;
	ret = kvmfork_tree_store(tree, index, page, &old);
	EXPECT(!ret, "%lu: error %d", index, ret);
	if (ret)
		kvmfork_page_unshare(page);
	else if (old)
		kvmfork_page_unshare(old);
	return page;
}

void test_punch(struct kvmfork_tree *tree, unsigned long index)
{
	struct page *old;
	int ret = kvmfork_tree_store(tree, index, NULL, &old);

	EXPECT(!ret, "%lu: error %d", index, ret);
	if (!ret && old)
		kvmfork_page_unshare(old);
}

/* Nobody but the test itself has one of its pages any more. */
static void put_pages(void)
{
	unsigned int i, held = 0;

	for (i = 0; i < nr_pages; i++) {
		held += page_count(pages[i]) != 1 || page_private(pages[i]);
		put_page(pages[i]);
	}
	nr_pages = 0;
	for (i = 0; i < nr_folios; i++) {
		held += folio_ref_count(folios[i]) != 1 || folios[i]->private;
		folio_put(folios[i]);
	}
	nr_folios = 0;
	EXPECT(!held, "%u pages are still held", held);
}

static void run_test(struct seq_file *m, unsigned int nr, const char *name,
		     void (*run)(void))
{
	test_failed = false;
	run();
	put_pages();
	EXPECT(!test_nodes(), "%ld nodes are left", test_nodes());
	atomic_long_set(&nodes, 0);
	seq_printf(m, "%s %u - %s\n", test_failed ? "not ok" : "ok", nr, name);
}

static int tests_show(struct seq_file *m, void *unused)
{
	const struct tree_test *test;
	unsigned int nr = 0;

	mutex_lock(&test_lock);
	test_out = m;
	seq_puts(m, "TAP version 13\n");
	for (test = tree_cases; test->name; test++)
		run_test(m, ++nr, test->name, test->run);
	for (test = tree_huge_cases; test->name; test++)
		run_test(m, ++nr, test->name, test->run);
	run_test(m, ++nr, "model", tree_model);
	seq_printf(m, "1..%u\n", nr);
	mutex_unlock(&test_lock);
	return 0;
}

static int tests_open(struct inode *inode, struct file *file)
{
	/* Room for all of it, or it would be run once more. */
	return single_open_size(file, tests_show, NULL, 1UL << 20);
}

static const struct file_operations tests_fops = {
	.owner		= THIS_MODULE,
	.open		= tests_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= single_release,
};

static struct dentry *tests_file;

static int __init tree_test_init(void)
{
	int ret = kvmfork_tree_module_init();

	if (!ret)
		tests_file = debugfs_create_file("kvmfork-tree-test", 0400, NULL,
						 NULL, &tests_fops);
	return ret;
}

static void __exit tree_test_exit(void)
{
	debugfs_remove(tests_file);
	kvmfork_tree_module_exit();
}

module_init(tree_test_init);
module_exit(tree_test_exit);

MODULE_DESCRIPTION("Tests of kvmfork's page tree");
MODULE_AUTHOR("The kvmfork authors");
MODULE_LICENSE("GPL");
