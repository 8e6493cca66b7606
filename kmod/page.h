/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages of guest memory: single ones, and those of huge pages, which are
 * counted, shared and copied one by one as single ones are.
 *
 * A page is counted by the tree slots (tree.h) that hold it. A huge page is
 * freed when none of its pages is held any more.
 *
 * Page i of a huge page is only ever found where the page number is i modulo
 * KVMFORK_HUGE_NR, and all pages of one huge page in the same block of as many.
 */
#ifndef KVMFORK_PAGE_H
#define KVMFORK_PAGE_H

#include <linux/mm.h>

#define KVMFORK_HUGE_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#define KVMFORK_HUGE_NR		(1UL << KVMFORK_HUGE_ORDER)

/* A new page with one share, charged to the caller; not zeroed unless asked. */
struct page *kvmfork_page_alloc(bool zero);

/*
 * The same for a huge page. Each of its pages has one share. Fails when none is
 * to be had without much ado.
 */
struct folio *kvmfork_huge_alloc(bool zero);

/* Is it part of a huge page? */
static inline bool kvmfork_page_is_huge(struct page *page)
{
	return folio_test_large(page_folio(page));
}

/* page.c, for what follows: with single pages each instruction counts. */
void kvmfork_huge_share(struct page *page);
void kvmfork_huge_unshare(struct page *page);
bool kvmfork_huge_is_private(struct page *page);
void kvmfork_single_free(struct page *page);

/*
 * The share count of a single page. page_count() cannot serve: page tables and
 * whoever else looks at the page count there too.
 */
static inline atomic_long_t *kvmfork_single_shares(struct page *page)
{
	return (atomic_long_t *)&page->private;
}

static inline void kvmfork_page_share(struct page *page)
{
	if (kvmfork_page_is_huge(page))
		kvmfork_huge_share(page);
	else
		atomic_long_inc(kvmfork_single_shares(page));
}

/*
 * The release pairs with the acquire in kvmfork_page_is_private(): who reuses
 * the page writes after the others have read.
 */
static inline void kvmfork_page_unshare(struct page *page)
{
	if (kvmfork_page_is_huge(page))
		kvmfork_huge_unshare(page);
	else if (!atomic_long_dec_return_release(kvmfork_single_shares(page)))
		kvmfork_single_free(page);
}

/* Has it one share only? That of the asking one, who holds it. */
static inline bool kvmfork_page_is_private(struct page *page)
{
	if (kvmfork_page_is_huge(page))
		return kvmfork_huge_is_private(page);
	return atomic_long_read_acquire(kvmfork_single_shares(page)) == 1;
}

#endif
