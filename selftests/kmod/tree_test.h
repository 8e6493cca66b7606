/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests of the page tree by itself, in kernel space. Reading the file
 * kvmfork-tree-test in debugfs runs all of them and prints TAP.
 *
 * Each test makes its pages with test_page() and gives back all trees. What is
 * then left of nodes, or of shares in pages, fails it.
 */
#ifndef KVMFORK_TREE_TEST_H
#define KVMFORK_TREE_TEST_H

#include <linux/random.h>
#include <linux/seq_file.h>

#include "page.h"
#include "tree.h"

/* Where the running test prints to, and what it has found. */
extern struct seq_file *test_out;
extern bool test_failed;

#define EXPECT(condition, fmt, ...) do {					\
	if (!(condition)) {							\
		seq_printf(test_out, "# %s:%d: %s: " fmt "\n", __FILE__,	\
			   __LINE__, #condition, ##__VA_ARGS__);		\
		test_failed = true;						\
	}									\
} while (0)

/* A new page with one share for the caller, NULL when there are too many. */
struct page *test_page(void);

/* The same for a huge page, each of whose pages has one share. */
struct folio *test_huge(void);

/* The nodes that there are. */
long test_nodes(void);

/* The nth allocation from now on fails. */
void test_fail_nth(unsigned int nth);
/* No more. Has one failed? */
bool test_fail_end(void);

/* Put a new page, which is returned, or a hole at @index. */
struct page *test_fill(struct kvmfork_tree *tree, unsigned long index);
void test_punch(struct kvmfork_tree *tree, unsigned long index);

/* Up to one without a name. */
struct tree_test {
	const char *name;
	void (*run)(void);
};

extern const struct tree_test tree_cases[];
extern const struct tree_test tree_huge_cases[];
void tree_model(void);

#endif
