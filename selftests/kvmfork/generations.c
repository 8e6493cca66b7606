// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forks without end: neither their number nor their depth makes memory grow or
 * lets a page get lost. What is forked runs on and writes a few pages each time;
 * the children are two VMs which are used again and again.
 */
#include <sys/resource.h>

#include "fork.h"
#include "harness.h"

#define MIB		(1UL << 20)
#define RAM_GPA		(16 * MIB)
#define RAM_PAGES	1024
#define WRITES		4	/* pages per generation */
#define DEPTH		1000

/* What all this may leave behind, and other users of the machine change. */
#define SLACK		((long long)(16 * MIB))

FIXTURE(generations) {
	struct vm vms[2];
	long long before;
};

/*
 * Generation 1, 2, ...: its number into WRITES pages, which walk through all of
 * the memory. The generation is kept in a register.
 */
static __guest void guest_write(uint64_t arg)
{
	(void)arg;
	for (uint64_t generation = 1;; generation++) {
		for (uint64_t i = 0; i < WRITES; i++) {
			uint64_t page = (generation * WRITES + i) % RAM_PAGES;

			*(volatile uint64_t *)(RAM_GPA + page * PAGE_SIZE) = generation;
		}
		guest_sync(generation);
	}
}

/* The last generation that wrote page @page, up to @generation; 0: none. */
static uint64_t expected(uint64_t generation, uint64_t page)
{
	const uint64_t period = RAM_PAGES / WRITES;
	uint64_t first = page / WRITES;

	if (generation < first)
		return 0;
	return generation - (generation - first) % period;
}

static bool has_memory_of(struct vm *vm, uint64_t generation)
{
	for (uint64_t page = 0; page < RAM_PAGES; page++) {
		uint64_t found = *(volatile uint64_t *)vm_hva(vm, RAM_GPA + page * PAGE_SIZE);

		if (found == expected(generation, page))
			continue;
		fprintf(stderr, "# generation %lu: page %lu is of %lu, not of %lu\n",
			(long)generation, (long)page, (long)found,
			(long)expected(generation, page));
		return false;
	}
	return true;
}

FIXTURE_SETUP(generations)
{
	int fd;

	vm_create_default(&self->vms[0], VM_IRQCHIP_NONE, 1);
	vm_memory_add(&self->vms[0], 0, RAM_GPA, RAM_PAGES * PAGE_SIZE);
	vcpu_start(&self->vms[0].vcpus[0], 0, guest_write, 0);
	fd = vm_freeze(&self->vms[0]);
	vm_spawn(fd, &self->vms[0], &self->vms[1]);
	close(fd);
	self->before = mem_available();
}

FIXTURE_TEARDOWN(generations)
{
	vm_close(&self->vms[0]);
	vm_close(&self->vms[1]);
}

/* A parent that goes on after each fork. */
TEST_F_TIMEOUT(generations, one_parent_many_forks, 600)
{
	unsigned long forks = test_scaled(100000);
	struct vm *parent = &self->vms[0], *child = &self->vms[1];

	for (unsigned long i = 1; i <= forks; i++) {
		int fd;

		ASSERT_EQ((uint32_t)i, vcpu_run_to_port(&parent->vcpus[0], PORT_SYNC));
		fd = vm_freeze(parent);
		vm_reset(child, fd);
		close(fd);
		/* Now and then the child has a look, and a life of its own. */
		if (i % 1000)
			continue;
		ASSERT_TRUE(has_memory_of(child, i));
		ASSERT_EQ((uint32_t)i + 1, vcpu_run_to_port(&child->vcpus[0], PORT_SYNC));
		ASSERT_TRUE(has_memory_of(parent, i));
	}
	EXPECT_LT(self->before - SLACK, mem_available());
}

/* Each is the child of the one before, whose template stays: a chain. */
TEST_F_TIMEOUT(generations, deep, 600)
{
	struct rlimit files = { .rlim_cur = 2 * DEPTH, .rlim_max = 2 * DEPTH };
	unsigned long depth = test_scaled(20 * DEPTH);
	static int fds[DEPTH + 1];

	if (depth > DEPTH)
		depth = DEPTH;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	for (unsigned long i = 1; i <= depth; i++) {
		struct vm *vm = &self->vms[i % 2], *next = &self->vms[(i + 1) % 2];

		ASSERT_EQ((uint32_t)i, vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC));
		fds[i] = vm_freeze(vm);
		vm_reset(next, fds[i]);
	}
	/* All of them are still what they were, in any order. */
	for (unsigned long i = 0; i < depth; i += 7) {
		unsigned long which = 1 + i * 31 % depth;

		vm_reset(&self->vms[0], fds[which]);
		ASSERT_TRUE(has_memory_of(&self->vms[0], which));
		ASSERT_EQ((uint32_t)which + 1,
			  vcpu_run_to_port(&self->vms[0].vcpus[0], PORT_SYNC));
	}
	for (unsigned long i = 1; i <= depth; i++)
		close(fds[i]);
	EXPECT_LT(self->before - SLACK, mem_available());
}

TEST_HARNESS_MAIN
