// SPDX-License-Identifier: GPL-2.0-only
/*
 * forktree [DEPTH [BREADTH]]: a tree of VMs, all alive at once until their
 * children have ended. Every VM says `id N parent P depth D`, for whoever
 * wants to check that ids are unique in the whole tree; its status is the
 * number of VMs below and with it.
 */
#include "guest.h"

#define BREADTH_MAX	64
/* A status has 8 bits and the upper values mean failures. */
#define STATUS_MOD	200

const char guest_name[] = "forktree";

static uint64_t depth_max, breadth;

static long ancestors[64];
static unsigned int nr_ancestors;

static uint64_t tree_size(uint64_t depth)
{
	uint64_t size = 1;

	while (depth--)
		size = size * breadth + 1;
	return size;
}

static void check_new_id(long id, const long *siblings, uint64_t n)
{
	check(id > 0, "id %ld", id);
	for (unsigned int i = 0; i < nr_ancestors; i++)
		check(id != ancestors[i], "id %ld is an ancestor's", id);
	for (uint64_t i = 0; i < n; i++)
		check(id != siblings[i], "id %ld is an older sibling's", id);
}

/*
 * Waits for all children in any order. Children fail with GUEST_FAILED; a sum
 * which does not fit says so too.
 */
static uint64_t reap(long *children, uint64_t depth)
{
	uint64_t want = tree_size(depth_max - depth - 1) % STATUS_MOD;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < breadth; i++) {
		long status = -1;
		long id = guest_wait(0, 0, &status);
		uint64_t k;

		for (k = 0; k < breadth && children[k] != id; k++)
			;
		if (!check(k < breadth, "wait returned %ld, not a child", id))
			continue;
		children[k] = -1;
		check(status == (long)want, "VM %ld: status %ld, expected %lu",
		      id, status, want);
		sum += (uint64_t)status;
	}
	return sum;
}

void guest_main(void)
{
	long children[BREADTH_MAX];
	long me = guest_getid(), status;
	uint64_t depth = 0, i, sum;

	depth_max = arg_positional(0, 2);
	breadth = arg_positional(1, 2);
	if (!check(breadth <= BREADTH_MAX && depth_max < 64, "too large a tree"))
		return;
again:
	say("id %ld parent %ld depth %lu", me, guest_getparent(), depth);
	ancestors[nr_ancestors++] = me;
	for (i = 0; depth < depth_max && i < breadth; i++) {
		long id = guest_fork();

		if (!id) {
			/* The child starts where the root did, one level down. */
			check_eq("parent", guest_getparent(), me);
			me = guest_getid();
			check_new_id(me, children, i);
			depth++;
			goto again;
		}
		if (!check(id > 0, "fork returned %ld at depth %lu", id, depth))
			return;
		check_new_id(id, children, i);
		children[i] = id;
	}
	sum = 1 + (depth < depth_max ? reap(children, depth) : 0);
	check(guest_wait(0, 0, &status) == -ECHILD, "a child is left");
	check_eq("own id", guest_getid(), me);
	if (depth) {
		if (arg_flag("break") && depth == depth_max)
			sum++;
		guest_exit(guest_failures ? GUEST_FAILED :
					    (unsigned int)(sum % STATUS_MOD));
	}
	/* Children's statuses are sums already reduced. */
	check_eq("VMs in the tree", sum % STATUS_MOD,
		 tree_size(depth_max) % STATUS_MOD);
	say("%lu VMs", tree_size(depth_max));
}
