// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on a few page trees which share with each other, and on
 * arrays that say what the trees should then hold.
 */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "tree_test.h"

#define TREES		4
/* Of three levels, the topmost with few slots, so that pages meet. */
#define SIZE		(2 * KVMFORK_NODE_SLOTS * KVMFORK_NODE_SLOTS + 1)
#define NR_PLACES	24
#define OPERATIONS	2000

/* Spread over all nodes, some next to each other. */
static unsigned long place(unsigned int i)
{
	return i < NR_PLACES - 1 ? i * i * (SIZE / (NR_PLACES * NR_PLACES)) + i % 3 : SIZE - 1;
}

static struct model {
	struct kvmfork_tree tree;
	struct page *pages[NR_PLACES];
	bool dirty[NR_PLACES];
} models[TREES];

static struct rnd_state random;

static unsigned int random_below(unsigned int end)
{
	return prandom_u32_state(&random) % end;
}

/* No tree but this one holds the page. */
static bool is_private(unsigned int t, unsigned int i)
{
	unsigned int n;

	for (n = 0; n < TREES; n++)
		if (n != t && models[n].pages[i] == models[t].pages[i])
			return false;
	return true;
}

static void check(unsigned int t)
{
	struct model *model = &models[t];
	unsigned long nr = 0, private = 0, index = 0;
	struct page *page;
	unsigned int i;

	for (i = 0; i < NR_PLACES; i++) {
		struct kvmfork_slot slot = kvmfork_tree_lookup(&model->tree, place(i));

		EXPECT(slot.page == model->pages[i], "tree %u: another page at %lu", t, place(i));
		if (!model->pages[i])
			continue;
		EXPECT(slot.dirty == model->dirty[i], "tree %u: %lu is %sdirty", t, place(i),
		       slot.dirty ? "" : "not ");
		EXPECT(slot.private == is_private(t, i), "tree %u: %lu is %sprivate", t, place(i),
		       slot.private ? "" : "not ");
		nr++;
		private += is_private(t, i);
		EXPECT(kvmfork_tree_next(&model->tree, &index, &page) && index == place(i),
		       "tree %u: %lu is missing", t, place(i));
		index++;
	}
	EXPECT(!kvmfork_tree_next(&model->tree, &index, &page), "tree %u: one more, at %lu", t,
	       index);
	EXPECT(model->tree.nr_pages == nr, "tree %u: %lu pages of %lu", t, model->tree.nr_pages, nr);
	EXPECT(kvmfork_tree_count_private(&model->tree) == private, "tree %u: %lu private of %lu", t,
	       kvmfork_tree_count_private(&model->tree), private);
}

static int clean_all(void *arg, unsigned long first, struct page **pages,
		     unsigned long *dirty)
{
	*dirty = 0;
	return 0;
}

/* As a freeze: only what is clean is shared. */
static void share(unsigned int from, unsigned int to)
{
	if (from == to)
		return;
	kvmfork_tree_clean(&models[from].tree, clean_all, NULL);
	memset(models[from].dirty, 0, sizeof(models[from].dirty));
	kvmfork_tree_destroy(&models[to].tree);
	models[to] = models[from];
	kvmfork_tree_share(&models[to].tree, &models[from].tree);
}

struct differences {
	unsigned int t, other, nr;
};

static void check_difference(void *arg, unsigned long index, struct page *one,
			     struct page *other)
{
	struct differences *found = arg;
	unsigned int i;

	for (i = 0; i < NR_PLACES && place(i) != index; i++)
		;
	EXPECT(i < NR_PLACES && models[found->t].pages[i] == one &&
	       models[found->other].pages[i] == other && one != other, "at %lu", index);
	found->nr++;
}

static void compare(unsigned int t, unsigned int other)
{
	struct differences found = { t, other, 0 };
	unsigned int i, nr = 0;

	for (i = 0; i < NR_PLACES; i++)
		nr += models[t].pages[i] != models[other].pages[i];
	kvmfork_tree_diff(&models[t].tree, &models[other].tree, 0, SIZE - 1, check_difference,
			  &found);
	EXPECT(found.nr == nr, "%u of %u differences", found.nr, nr);
}

static void operation(unsigned int t, unsigned int i)
{
	struct model *model = &models[t];

	switch (random_below(8)) {
	case 0 ... 2:
		model->pages[i] = test_fill(&model->tree, place(i));
		model->dirty[i] = false;
		break;
	case 3:
		test_punch(&model->tree, place(i));
		model->pages[i] = NULL;
		model->dirty[i] = false;
		break;
	case 4:
		if (!model->pages[i] || !is_private(t, i))
			break;
		kvmfork_tree_mark_dirty(&model->tree, place(i));
		model->dirty[i] = true;
		break;
	case 5:
	case 6:
		share(t, random_below(TREES));
		break;
	case 7:
		compare(t, random_below(TREES));
		break;
	}
}

void tree_model(void)
{
	u32 seed = get_random_u32();
	unsigned int n;

	seq_printf(test_out, "# seed %u\n", seed);
	prandom_seed_state(&random, seed);
	memset(models, 0, sizeof(models));
	for (n = 0; n < TREES; n++)
		kvmfork_tree_init(&models[n].tree, SIZE);
	for (n = 0; n < OPERATIONS && !test_failed; n++) {
		operation(random_below(TREES), random_below(NR_PLACES));
		check(n % TREES);
	}
	for (n = 0; n < TREES; n++)
		kvmfork_tree_destroy(&models[n].tree);
}
