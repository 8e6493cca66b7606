// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory is freed when its last user goes, whichever that is; shared
 * pages are there once.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "fork.h"
#include "harness.h"

#define MIB		(1UL << 20)
#define GPA		(16UL * MIB)
#define PAGES		256
#define SIZE		(PAGES * PAGE_SIZE)

FIXTURE(lifetime) {
	struct vm vm;
};

FIXTURE_SETUP(lifetime)
{
	vm_create(&self->vm, VM_IRQCHIP_NONE);
	vm_memory_add(&self->vm, 0, GPA, SIZE);
	self->vm.attach_fd = vm_attach(self->vm.vm_fd);
}

FIXTURE_TEARDOWN(lifetime)
{
	if (self->vm.nr_slots)
		vm_close(&self->vm);
}

static long long counter(struct vm *vm, const char *key)
{
	return fdinfo_value(vm->slots[0].memory_fd, key);
}

static void touch(struct vm *vm, unsigned int first, unsigned int nr)
{
	for (unsigned int i = first; i < first + nr; i++)
		((volatile char *)vm->slots[0].hva)[i * PAGE_SIZE]++;
}

static unsigned long data_pages(struct vm *vm)
{
	struct stat stat;

	TEST_REQUIRE(!fstat(vm->slots[0].memory_fd, &stat), "fstat: %m");
	return stat.st_blocks / (PAGE_SIZE / 512);
}

TEST_F(lifetime, counters)
{
	struct vm child;

	touch(&self->vm, 0, 10);
	EXPECT_EQ(10 * PAGE_SIZE, counter(&self->vm, "kvmfork-private"));
	EXPECT_EQ(0, counter(&self->vm, "kvmfork-shared"));
	vm_fork(&self->vm, &child);
	EXPECT_EQ(1, counter(&self->vm, "kvmfork-freezes"));
	EXPECT_EQ(0, counter(&child, "kvmfork-private"));
	EXPECT_EQ(10 * PAGE_SIZE, counter(&child, "kvmfork-shared"));
	EXPECT_EQ(0, counter(&self->vm, "kvmfork-private"));
	EXPECT_EQ(10 * PAGE_SIZE, counter(&self->vm, "kvmfork-shared"));
	touch(&child, 5, 10);
	EXPECT_EQ(10 * PAGE_SIZE, counter(&child, "kvmfork-private"));
	EXPECT_EQ(5 * PAGE_SIZE, counter(&child, "kvmfork-shared"));
	/* What the child has copied is the parent's alone. */
	EXPECT_EQ(5 * PAGE_SIZE, counter(&self->vm, "kvmfork-private"));
	touch(&self->vm, 0, 1);
	EXPECT_EQ(6 * PAGE_SIZE, counter(&self->vm, "kvmfork-private"));
	EXPECT_EQ(10, data_pages(&self->vm));
	EXPECT_EQ(15, data_pages(&child));
	vm_close(&child);
}

TEST_F(lifetime, holes_stay_holes)
{
	struct vm child;
	int fd;

	touch(&self->vm, 4, 4);
	vm_fork(&self->vm, &child);
	fd = child.slots[0].memory_fd;
	EXPECT_EQ(4, data_pages(&child));
	EXPECT_EQ((off_t)(4 * PAGE_SIZE), lseek(fd, 0, SEEK_DATA));
	EXPECT_EQ((off_t)(8 * PAGE_SIZE), lseek(fd, 4 * PAGE_SIZE, SEEK_HOLE));
	EXPECT_EQ(-1, lseek(fd, 8 * PAGE_SIZE, SEEK_DATA));
	/* Reading a hole leaves it one, in both. */
	EXPECT_EQ(0, ((volatile char *)child.slots[0].hva)[0]);
	EXPECT_EQ(0, ((volatile char *)self->vm.slots[0].hva)[0]);
	EXPECT_EQ(4, data_pages(&child));
	EXPECT_EQ(4, data_pages(&self->vm));
	/* One more in each, neither in the other. */
	touch(&child, 0, 1);
	touch(&self->vm, 20, 1);
	EXPECT_EQ(5, data_pages(&child));
	EXPECT_EQ(5, data_pages(&self->vm));
	EXPECT_EQ((off_t)0, lseek(fd, 0, SEEK_DATA));
	EXPECT_EQ((off_t)PAGE_SIZE, lseek(fd, 0, SEEK_HOLE));
	EXPECT_EQ(-1, lseek(fd, 8 * PAGE_SIZE, SEEK_DATA));
	vm_close(&child);
}

/* A hole in the middle of inherited data. */
TEST_F(lifetime, punched_in_the_child)
{
	struct vm child, grandchild;

	touch(&self->vm, 0, 16);
	vm_fork(&self->vm, &child);
	ASSERT_EQ(0, fallocate(child.slots[0].memory_fd,
			       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * PAGE_SIZE,
			       4 * PAGE_SIZE));
	vm_fork(&child, &grandchild);
	EXPECT_EQ(16, data_pages(&self->vm));
	EXPECT_EQ(12, data_pages(&child));
	EXPECT_EQ(12, data_pages(&grandchild));
	EXPECT_EQ((off_t)(4 * PAGE_SIZE), lseek(grandchild.slots[0].memory_fd, 0, SEEK_HOLE));
	EXPECT_EQ((off_t)(8 * PAGE_SIZE),
		  lseek(grandchild.slots[0].memory_fd, 4 * PAGE_SIZE, SEEK_DATA));
	vm_close(&grandchild);
	vm_close(&child);
}

/* What is freed by RCU comes back late. */
static long long available_at_least(long long expected)
{
	long long now = 0;

	for (int try = 0; try < 50; try++) {
		now = mem_available();
		if (now >= expected)
			break;
		usleep(100000);
	}
	return now;
}

#define BIG	(128 * MIB)
/* What other users of the machine may change. */
#define SLACK	((long long)(24 * MIB))

static struct vm big_vm(void)
{
	struct vm vm;

	vm_create(&vm, VM_IRQCHIP_NONE);
	memset(vm_memory_add(&vm, 0, GPA, BIG), 1, BIG);
	vm.attach_fd = vm_attach(vm.vm_fd);
	return vm;
}

/*
 * Parent, child and template hold the same 128 MiB. The memory goes with the
 * last of them, in all six orders, and not before.
 */
TEST_F(lifetime, freed_with_the_last_user)
{
	static const char orders[6][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	long long before = mem_available();

	if (before < (long long)(3 * BIG))
		SKIP(return, "too little memory");
	for (size_t order = 0; order < ARRAY_LENGTH(orders); order++) {
		struct vm parent = big_vm(), child;
		int fd = vm_freeze(&parent);

		vm_fork(&parent, &child);
		/* Once for all of them. */
		EXPECT_GT(before - (long long)BIG + SLACK, mem_available());
		EXPECT_LT(before - (long long)BIG - SLACK, mem_available());
		for (int i = 0; i < 3; i++) {
			EXPECT_GT(before - (long long)BIG + SLACK, mem_available())
				TH_LOG("order %zu: freed before %d went", order, orders[order][i]);
			if (orders[order][i] == 0)
				vm_close(&parent);
			else if (orders[order][i] == 1)
				vm_close(&child);
			else
				close(fd);
		}
		EXPECT_LT(before - SLACK, available_at_least(before - SLACK))
			TH_LOG("order %zu: not freed", order);
	}
}

/* The fd is closed, the mapping still there; and the other way round. */
TEST_F(lifetime, mapping_and_fd_hold_it)
{
	long long before = mem_available();
	struct vm vm;
	char *map;
	int fd;

	if (before < (long long)(3 * BIG))
		SKIP(return, "too little memory");
	vm = big_vm();
	map = vm.slots[0].hva;
	fd = dup(vm.slots[0].memory_fd);
	vm.nr_slots = 0;
	close(vm.slots[0].memory_fd);
	vm_close(&vm);
	EXPECT_GT(before - (long long)BIG + SLACK, mem_available());
	EXPECT_EQ(0, munmap(map, BIG));
	EXPECT_GT(before - (long long)BIG + SLACK, mem_available());
	close(fd);
	EXPECT_LT(before - SLACK, available_at_least(before - SLACK));
}

/* Punching frees at once, unless someone else has the page. */
TEST_F(lifetime, punching_frees)
{
	long long before = mem_available();
	struct vm vm, child;

	if (before < (long long)(3 * BIG))
		SKIP(return, "too little memory");
	vm = big_vm();
	vm_fork(&vm, &child);
	ASSERT_EQ(0, fallocate(vm.slots[0].memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       0, BIG));
	EXPECT_GT(before - (long long)BIG + SLACK, mem_available());
	EXPECT_EQ(1, child.slots[0].hva[BIG - 1]);
	EXPECT_EQ(0, vm.slots[0].hva[BIG - 1]);
	vm_close(&child);
	EXPECT_LT(before - SLACK, available_at_least(before - SLACK));
	vm_close(&vm);
}

/*
 * A VM which forks and overwrites for ever: what no one else has any more is
 * not kept.
 */
TEST_F(lifetime, forks_for_ever)
{
	unsigned long forks = test_scaled(500);
	long long before;
	struct vm child;

	touch(&self->vm, 0, PAGES);
	before = mem_available();
	for (unsigned long i = 0; i < forks; i++) {
		int fd = vm_freeze(&self->vm);

		touch(&self->vm, 0, PAGES);
		close(fd);
	}
	/* Kept, it would be 1 MiB each. */
	EXPECT_LT(before - SLACK, available_at_least(before - SLACK));
	vm_fork(&self->vm, &child);
	EXPECT_EQ((char)(forks + 1), child.slots[0].hva[SIZE - PAGE_SIZE]);
	vm_close(&child);
}

TEST_HARNESS_MAIN
