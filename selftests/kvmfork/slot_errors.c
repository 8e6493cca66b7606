// SPDX-License-Identifier: GPL-2.0-only
/* What may back a memory slot of a VM that is to be forked, and what may not. */
#include <fcntl.h>

#include "fork.h"
#include "harness.h"

#define GPA	(16UL << 20)
#define SIZE	(16 * PAGE_SIZE)

FIXTURE(slots) {
	struct vm vm;
};

FIXTURE_SETUP(slots)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
}

FIXTURE_TEARDOWN(slots)
{
	vm_close(&self->vm);
}

static void *anonymous(size_t size, int flags)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	TEST_REQUIRE(map != MAP_FAILED, "mmap: %m");
	return map;
}

/* Add the slot, see what fork says, remove it, see that it was that slot. */
static int fork_with_slot(struct vm *vm, uint32_t flags, void *hva, uint64_t size)
{
	struct proc_state before, after;
	struct fork_call call;
	struct vm child;
	int ret;

	TEST_REQUIRE(!__vm_slot_set(vm, 7, flags, GPA, size, hva),
		     "KVM_SET_USER_MEMORY_REGION: %m");
	proc_state_get(&before);
	fork_call_init(&call, vm);
	ret = fork_call_fork(&call, vm->attach_fd);
	proc_state_get(&after);
	if (ret < 0) {
		TEST_REQUIRE(proc_state_equal(&before, &after), "something was left behind");
		TEST_REQUIRE(call.message[0], "no message");
	} else {
		fork_call_child(&call, vm, &child);
		vm_close(&child);
	}
	TEST_REQUIRE(!__vm_slot_set(vm, 7, 0, GPA, 0, NULL), "removing the slot: %m");
	TEST_REQUIRE(!__vm_fork(vm, &child), "fork without the slot failed");
	vm_close(&child);
	return ret;
}

TEST_F(slots, anonymous_private)
{
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, anonymous(SIZE, MAP_PRIVATE), SIZE));
}

TEST_F(slots, anonymous_shared)
{
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, anonymous(SIZE, MAP_SHARED), SIZE));
}

TEST_F(slots, read_only_anonymous)
{
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, KVM_MEM_READONLY,
					       anonymous(SIZE, MAP_PRIVATE), SIZE));
}

TEST_F(slots, memfd)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, memory_map(fd, SIZE), SIZE));
	close(fd);
}

TEST_F(slots, unmapped)
{
	char *hva = memory_map(memory_create(SIZE), SIZE);

	munmap(hva, SIZE);
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, hva, SIZE));
}

TEST_F(slots, unmapped_in_the_middle)
{
	char *hva = memory_map(memory_create(SIZE), SIZE);

	munmap(hva + 4 * PAGE_SIZE, PAGE_SIZE);
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, hva, SIZE));
}

TEST_F(slots, unmapped_at_the_ends)
{
	char *hva = memory_map(memory_create(SIZE), SIZE);

	munmap(hva + SIZE - PAGE_SIZE, PAGE_SIZE);
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, hva, SIZE));
	hva = memory_map(memory_create(SIZE), SIZE);
	munmap(hva, PAGE_SIZE);
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, hva, SIZE));
}

/* Half of it is the module's, half is not. */
TEST_F(slots, mixed)
{
	char *hva = memory_map(memory_create(SIZE), SIZE);

	ASSERT_EQ(hva + SIZE / 2, mmap(hva + SIZE / 2, SIZE / 2, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(-EMEDIUMTYPE, fork_with_slot(&self->vm, 0, hva, SIZE));
}

TEST_F(slots, mapping_past_the_end_of_the_file)
{
	char *hva = memory_map(memory_create(SIZE), 2 * SIZE);
	int ret = fork_with_slot(&self->vm, 0, hva, 2 * SIZE);

	/* Beyond the end is nothing that could be carried, or lost. */
	EXPECT_TRUE(!ret || ret == -EMEDIUMTYPE)
		TH_LOG("%d", ret);
}

/* A slot may be any part of a mapping, and of a file. */
TEST_F(slots, parts_of_a_mapping)
{
	int fd = memory_create(8 * SIZE);
	char *hva = mmap(NULL, 4 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 2 * SIZE);
	struct vm child;

	ASSERT_NE(MAP_FAILED, hva);
	memset(hva + SIZE, 'm', SIZE);
	vm_slot_add(&self->vm, 0, GPA, SIZE, hva + SIZE, fd, 3 * SIZE);
	vm_fork(&self->vm, &child);
	EXPECT_EQ('m', *(char *)vm_hva(&child, GPA + PAGE_SIZE));
	EXPECT_EQ(3 * SIZE, child.slots[1].offset);
	memset(hva + SIZE, 'p', SIZE);
	EXPECT_EQ('m', *(char *)vm_hva(&child, GPA));
	EXPECT_EQ('m', *(char *)vm_hva(&child, GPA + SIZE - 1));
	vm_close(&child);
}

/*
 * Two slots over the same part of a file: in the child, too, what is written
 * through one is seen through the other.
 */
TEST_F(slots, the_same_memory_twice)
{
	int fd = memory_create(SIZE);
	void *hva = memory_map(fd, SIZE);
	struct vm child;

	vm_slot_add(&self->vm, 0, GPA, SIZE, hva, fd, 0);
	vm_slot_add(&self->vm, 0, GPA + SIZE, SIZE, hva, fd, 0);
	vm_fork(&self->vm, &child);
	EXPECT_EQ(child.slots[1].memory_fd, child.slots[2].memory_fd);
	*(volatile char *)vm_hva(&child, GPA) = 't';
	EXPECT_EQ('t', *(volatile char *)vm_hva(&child, GPA + SIZE));
	EXPECT_EQ(0, *(volatile char *)hva);
	vm_close(&child);
	/* They share a mapping, which vm_close() shall unmap once. */
	self->vm.nr_slots--;
}

TEST_F(slots, the_same_file_mapped_twice)
{
	int fd = memory_create(SIZE);
	struct vm child;

	vm_slot_add(&self->vm, 0, GPA, SIZE, memory_map(fd, SIZE), fd, 0);
	vm_slot_add(&self->vm, 0, GPA + SIZE, SIZE, memory_map(fd, SIZE), fd, 0);
	vm_fork(&self->vm, &child);
	EXPECT_EQ(child.slots[1].memory_fd, child.slots[2].memory_fd);
	*(volatile char *)vm_hva(&child, GPA + SIZE) = 't';
	EXPECT_EQ('t', *(volatile char *)vm_hva(&child, GPA));
	EXPECT_EQ(0, *(volatile char *)vm_hva(&self->vm, GPA));
	vm_close(&child);
}

/* One memory file in two VMs: each VM's child has its own copy. */
TEST_F(slots, file_shared_by_two_vms)
{
	struct vm other, children[2];
	volatile char *shared;
	int fd = memory_create(SIZE);

	vm_create_default(&other, VM_IRQCHIP_NONE, 1);
	vm_slot_add(&self->vm, 0, GPA, SIZE, memory_map(fd, SIZE), fd, 0);
	vm_slot_add(&other, 0, GPA, SIZE, memory_map(fd, SIZE), dup(fd), 0);
	shared = vm_hva(&other, GPA);
	*shared = 1;
	vm_fork(&self->vm, &children[0]);
	*shared = 2;
	EXPECT_EQ(2, *(volatile char *)vm_hva(&self->vm, GPA));
	vm_fork(&other, &children[1]);
	*shared = 3;
	EXPECT_EQ(1, *(volatile char *)vm_hva(&children[0], GPA));
	EXPECT_EQ(2, *(volatile char *)vm_hva(&children[1], GPA));
	vm_close(&children[0]);
	vm_close(&children[1]);
	vm_close(&other);
}

/* Both slots' memory is of one file, with a gap; fork gives the gap away, too. */
TEST_F(slots, many)
{
	int fd = memory_create(64 * SIZE);
	char *hva = memory_map(fd, 64 * SIZE);
	struct vm child;

	for (unsigned int i = 0; i < 12; i++)
		vm_slot_add(&self->vm, 0, GPA + 2 * i * SIZE, SIZE, hva + 3 * i * SIZE, fd,
			    3 * i * SIZE);
	for (unsigned int i = 0; i < 64; i++)
		hva[i * SIZE] = i + 1;
	vm_fork(&self->vm, &child);
	memset(hva, 0, 64 * SIZE);
	for (unsigned int i = 0; i < 12; i++) {
		EXPECT_EQ((char)(3 * i + 1), *(char *)vm_hva(&child, GPA + 2 * i * SIZE))
			TH_LOG("slot %u", i);
	}
	vm_close(&child);
	/* One mapping for all of them: leave it to the end of the process. */
	self->vm.nr_slots = 1;
}

TEST_F(slots, removed_and_added_again)
{
	struct vm child;

	for (int i = 0; i < 3; i++) {
		void *hva = memory_map(memory_create(SIZE), SIZE);

		ASSERT_EQ(0, __vm_slot_set(&self->vm, 3, 0, GPA, SIZE, hva));
		vm_fork(&self->vm, &child);
		EXPECT_EQ(-EEXIST, __vm_slot_set(&child, 4, 0, GPA, SIZE, hva));
		vm_close(&child);
		ASSERT_EQ(0, __vm_slot_set(&self->vm, 3, 0, GPA, 0, NULL));
		vm_fork(&self->vm, &child);
		EXPECT_EQ(0, __vm_slot_set(&child, 4, 0, GPA, SIZE, hva));
		vm_close(&child);
	}
}

TEST_HARNESS_MAIN
