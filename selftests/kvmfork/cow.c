// SPDX-License-Identifier: GPL-2.0-only
/* Copy-on-write of guest memory: who writes what, when, and who may see it. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "access.h"
#include "fork.h"
#include "harness.h"

#define GPA		GUEST_DATA
#define FAMILY		4	/* parent, child, grandchild, sibling of the child */

static uint64_t page(unsigned int nr)
{
	return GPA + nr * PAGE_SIZE;
}

FIXTURE(cow) {
	struct vm vms[FAMILY];
	unsigned int nr_vms;
};

/* How the pages are written before the fork, and after it. */
FIXTURE_VARIANT(cow) {
	enum access before, after;
};

FIXTURE_VARIANT_ADD(cow, map_map) { .before = ACCESS_MAP, .after = ACCESS_MAP };
FIXTURE_VARIANT_ADD(cow, map_file) { .before = ACCESS_MAP, .after = ACCESS_FILE };
FIXTURE_VARIANT_ADD(cow, map_guest) { .before = ACCESS_MAP, .after = ACCESS_GUEST };
FIXTURE_VARIANT_ADD(cow, file_map) { .before = ACCESS_FILE, .after = ACCESS_MAP };
FIXTURE_VARIANT_ADD(cow, file_file) { .before = ACCESS_FILE, .after = ACCESS_FILE };
FIXTURE_VARIANT_ADD(cow, file_guest) { .before = ACCESS_FILE, .after = ACCESS_GUEST };
FIXTURE_VARIANT_ADD(cow, guest_map) { .before = ACCESS_GUEST, .after = ACCESS_MAP };
FIXTURE_VARIANT_ADD(cow, guest_file) { .before = ACCESS_GUEST, .after = ACCESS_FILE };
FIXTURE_VARIANT_ADD(cow, guest_guest) { .before = ACCESS_GUEST, .after = ACCESS_GUEST };

FIXTURE_SETUP(cow)
{
	vm_create_default(&self->vms[0], VM_IRQCHIP_NONE, 1);
	self->nr_vms = 1;
}

FIXTURE_TEARDOWN(cow)
{
	for (unsigned int i = 0; i < self->nr_vms; i++)
		if (self->vms[i].nr_slots)
			vm_close(&self->vms[i]);
}

static struct vm *cow_fork(FIXTURE_DATA(cow) *self, struct vm *parent)
{
	struct vm *child = &self->vms[self->nr_vms];

	vm_fork(parent, child);
	self->nr_vms++;
	return child;
}

/* A byte as all three ways see it; 0xee01 and more when they differ. */
static unsigned int seen(struct vm *vm, uint64_t gpa)
{
	uint8_t map = access_read(vm, ACCESS_MAP, gpa);
	uint8_t file = access_read(vm, ACCESS_FILE, gpa);
	uint8_t guest = access_read(vm, ACCESS_GUEST, gpa);

	if (map == file && map == guest)
		return map;
	fprintf(stderr, "# at 0x%lx: mapping %u, file %u, guest %u\n", (unsigned long)gpa,
		map, file, guest);
	return 0xee01;
}

TEST_F(cow, parent_writes)
{
	struct vm *parent = &self->vms[0], *child;

	access_write(parent, variant->before, page(0), 1);
	child = cow_fork(self, parent);
	access_write(parent, variant->after, page(0), 2);
	access_write(parent, variant->after, page(1), 3);
	EXPECT_EQ(1, seen(child, page(0)));
	EXPECT_EQ(0, seen(child, page(1)));
	EXPECT_EQ(2, seen(parent, page(0)));
	EXPECT_EQ(3, seen(parent, page(1)));
}

TEST_F(cow, child_writes)
{
	struct vm *parent = &self->vms[0], *child;

	access_write(parent, variant->before, page(0), 1);
	child = cow_fork(self, parent);
	access_write(child, variant->after, page(0), 2);
	access_write(child, variant->after, page(1), 3);
	EXPECT_EQ(1, seen(parent, page(0)));
	EXPECT_EQ(0, seen(parent, page(1)));
	EXPECT_EQ(2, seen(child, page(0)));
	EXPECT_EQ(3, seen(child, page(1)));
}

/* The rest of the page comes along with a copy. */
TEST_F(cow, copies_are_whole)
{
	struct vm *parent = &self->vms[0], *child;
	unsigned int wrong = 0;
	char *data;

	data = vm_hva(parent, page(0));
	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		data[i] = i * 7;
	child = cow_fork(self, parent);
	access_write(parent, variant->after, page(0) + 100, 1);
	access_write(child, variant->after, page(0) + 200, 2);
	for (unsigned int i = 0; i < PAGE_SIZE; i++) {
		wrong += ((char *)vm_hva(parent, page(0)))[i] != (i == 100 ? 1 : (char)(i * 7));
		wrong += ((char *)vm_hva(child, page(0)))[i] != (i == 200 ? 2 : (char)(i * 7));
	}
	EXPECT_EQ(0, wrong);
}

/* Mapped in each of them, for reading, when the other one writes. */
TEST_F(cow, read_before_the_other_writes)
{
	struct vm *parent = &self->vms[0], *child;

	access_write(parent, variant->before, page(0), 1);
	child = cow_fork(self, parent);
	EXPECT_EQ(1, seen(parent, page(0)));
	EXPECT_EQ(1, seen(child, page(0)));
	EXPECT_EQ(0, seen(parent, page(1)));
	EXPECT_EQ(0, seen(child, page(1)));
	access_write(child, variant->after, page(0), 2);
	access_write(child, variant->after, page(1), 3);
	EXPECT_EQ(1, seen(parent, page(0)));
	EXPECT_EQ(0, seen(parent, page(1)));
	access_write(parent, variant->after, page(0), 4);
	access_write(parent, variant->after, page(1), 5);
	EXPECT_EQ(2, seen(child, page(0)));
	EXPECT_EQ(3, seen(child, page(1)));
	EXPECT_EQ(4, seen(parent, page(0)));
	EXPECT_EQ(5, seen(parent, page(1)));
}

/* The writers' mapping is writable at the time of the fork, again and again. */
TEST_F(cow, fork_after_fork)
{
	struct vm *parent = &self->vms[0], child;

	for (unsigned int i = 1; i < 10; i++) {
		access_write(parent, variant->before, page(0), i);
		access_write(parent, variant->before, page(i), i);
		vm_fork(parent, &child);
		access_write(parent, variant->after, page(0), 100 + i);
		EXPECT_EQ(i, seen(&child, page(0)));
		EXPECT_EQ(i, seen(&child, page(i)));
		EXPECT_EQ(0, seen(&child, page(i + 1)));
		EXPECT_EQ(100 + i, seen(parent, page(0)));
		vm_close(&child);
	}
	for (unsigned int i = 1; i < 10; i++) {
		EXPECT_EQ(i, seen(parent, page(i)))
			TH_LOG("page %u", i);
	}
}

/* All 24 orders in which a family of four may write. */
static void write_in_order(FIXTURE_DATA(cow) *self, enum access how, unsigned int nr)
{
	unsigned int left[FAMILY] = { 0, 1, 2, 3 };

	for (unsigned int n = FAMILY; n > 0; n--) {
		unsigned int pick = nr % n, who = left[pick];

		nr /= n;
		left[pick] = left[n - 1];
		/* One page per order; its second half stays as it was. */
		access_write(&self->vms[who], how, page(1 + nr % 2), 10 + who);
	}
}

TEST_F(cow, family_in_all_orders)
{
	struct vm *parent = &self->vms[0], *child;

	access_write(parent, variant->before, page(0), 1);
	access_write(parent, variant->before, page(1), 1);
	child = cow_fork(self, parent);
	access_write(child, variant->before, page(0), 2);
	cow_fork(self, child);
	cow_fork(self, parent);
	for (unsigned int nr = 0; nr < 24; nr++) {
		for (unsigned int who = 0; who < FAMILY; who++) {
			/* Back to what they share. */
			access_write(&self->vms[who], ACCESS_MAP, page(1), 1);
			access_write(&self->vms[who], ACCESS_MAP, page(2), 0);
		}
		write_in_order(self, variant->after, nr);
	}
	EXPECT_EQ(1, seen(&self->vms[0], page(0)));
	EXPECT_EQ(2, seen(&self->vms[1], page(0)));
	EXPECT_EQ(2, seen(&self->vms[2], page(0)));
	EXPECT_EQ(1, seen(&self->vms[3], page(0)));
}

/* First writes only: each page is still shared by all when the first writes. */
TEST_F(cow, first_writes_in_all_orders)
{
	struct vm *parent = &self->vms[0], *child;

	for (unsigned int nr = 0; nr < 24; nr++)
		access_write(parent, variant->before, page(nr), 1);
	child = cow_fork(self, parent);
	cow_fork(self, child);
	cow_fork(self, parent);
	for (unsigned int nr = 0; nr < 24; nr++) {
		unsigned int left[FAMILY] = { 0, 1, 2, 3 }, order = nr;
		bool written[FAMILY] = {};

		for (unsigned int n = FAMILY; n > 0; n--) {
			unsigned int pick = order % n, who = left[pick];

			order /= n;
			left[pick] = left[n - 1];
			access_write(&self->vms[who], variant->after, page(nr), 10 + who);
			written[who] = true;
			for (unsigned int i = 0; i < FAMILY; i++) {
				EXPECT_EQ(written[i] ? 10 + i : 1, seen(&self->vms[i], page(nr)))
					TH_LOG("order %u, VM %u", nr, i);
			}
		}
	}
}

TEST_F(cow, punch_in_the_parent)
{
	struct vm *parent = &self->vms[0], *child;

	access_write(parent, variant->before, page(0), 1);
	access_write(parent, variant->before, page(1), 1);
	child = cow_fork(self, parent);
	access_punch(parent, page(0));
	EXPECT_EQ(0, seen(parent, page(0)));
	EXPECT_EQ(1, seen(child, page(0)));
	access_write(parent, variant->after, page(0), 2);
	EXPECT_EQ(2, seen(parent, page(0)));
	EXPECT_EQ(0, access_read(parent, variant->after, page(0) + 1));
	EXPECT_EQ(1, seen(child, page(0)));
	EXPECT_EQ(1, seen(parent, page(1)));
}

TEST_F(cow, punch_in_the_child)
{
	struct vm *parent = &self->vms[0], *child, *grandchild;

	access_write(parent, variant->before, page(0), 1);
	access_write(parent, variant->before, page(1), 1);
	child = cow_fork(self, parent);
	access_punch(child, page(0));
	EXPECT_EQ(0, seen(child, page(0)));
	EXPECT_EQ(1, seen(parent, page(0)));
	/* The hole is inherited, not what it covers. */
	grandchild = cow_fork(self, child);
	EXPECT_EQ(0, seen(grandchild, page(0)));
	EXPECT_EQ(1, seen(grandchild, page(1)));
	access_write(child, variant->after, page(0), 2);
	EXPECT_EQ(0, seen(grandchild, page(0)));
	EXPECT_EQ(1, seen(parent, page(0)));
}

TEST_HARNESS_MAIN
