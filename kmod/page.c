// SPDX-License-Identifier: GPL-2.0-only
/* Pages and their shares. See page.h. */
#include <linux/gfp.h>
#include <linux/slab.h>

#include "page.h"

/*
 * The shares of a huge page's pages; the folio's private points here. There are
 * never as many as an int can count: each is of another open file.
 */
struct huge {
	atomic_t live;			/* pages with shares */
	atomic_t shares[KVMFORK_HUGE_NR];
};

static struct huge *huge_of(struct folio *folio)
{
	return folio_get_private(folio);
}

static atomic_t *huge_shares(struct folio *folio, struct page *page)
{
	return &huge_of(folio)->shares[folio_page_idx(folio, page)];
}

struct page *kvmfork_page_alloc(bool zero)
{
	gfp_t gfp = GFP_HIGHUSER | __GFP_ACCOUNT | (zero ? __GFP_ZERO : 0);
	struct page *page = alloc_page(gfp);

	if (page)
		atomic_long_set(kvmfork_single_shares(page), 1);
	return page;
}

struct folio *kvmfork_huge_alloc(bool zero)
{
	gfp_t gfp = GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN |
		    (zero ? __GFP_ZERO : 0);
	struct huge *huge;
	struct folio *folio;
	unsigned int i;

	huge = kmalloc(sizeof(*huge), GFP_KERNEL_ACCOUNT);
	if (!huge)
		return NULL;
	folio = folio_alloc(gfp, KVMFORK_HUGE_ORDER);
	if (!folio) {
		kfree(huge);
		return NULL;
	}
	atomic_set(&huge->live, KVMFORK_HUGE_NR);
	for (i = 0; i < KVMFORK_HUGE_NR; i++)
		atomic_set(&huge->shares[i], 1);
	folio->private = huge;
	return folio;
}

void kvmfork_huge_share(struct page *page)
{
	atomic_inc(huge_shares(page_folio(page), page));
}

void kvmfork_huge_unshare(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct huge *huge = huge_of(folio);

	if (atomic_dec_return_release(huge_shares(folio, page)))
		return;
	/* Full order: the last one sees what all others did before. */
	if (!atomic_dec_and_test(&huge->live))
		return;
	folio->private = NULL;
	folio_put(folio);
	kfree(huge);
}

bool kvmfork_huge_is_private(struct page *page)
{
	return atomic_read_acquire(huge_shares(page_folio(page), page)) == 1;
}

void kvmfork_single_free(struct page *page)
{
	smp_acquire__after_ctrl_dep();
	set_page_private(page, 0);
	put_page(page);
}
