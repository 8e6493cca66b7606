// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_CONVERT: how slots, mappings and memory files belong together. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "access.h"
#include "convert.h"
#include "harness.h"

#define MIB	(1UL << 20)
#define GPA	(16 * MIB)
#define SIZE	(8 * MIB)

FIXTURE(layout) {
	struct vm vm;
	char *hva;
};

FIXTURE_SETUP(layout)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	self->hva = memory_anonymous(SIZE);
}

FIXTURE_TEARDOWN(layout)
{
	vm_close(&self->vm);
}

static void add(FIXTURE_DATA(layout) *self, unsigned long gpa, unsigned long offset,
		unsigned long size)
{
	vm_slot_add(&self->vm, 0, gpa, size, self->hva + offset, -1, 0);
}

static bool same_file(const struct vm *vm, unsigned int a, unsigned int b)
{
	return vm->slots[a].memory_fd == vm->slots[b].memory_fd;
}

static unsigned long count_other(const char *hva, char byte)
{
	unsigned long nr = 0;

	for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE)
		nr += hva[at] != byte;
	return nr;
}

/* Nothing to do: fds of what there is. */
TEST_F(layout, of_kvmfork_already)
{
	struct stat before, after;

	ASSERT_EQ(0, fstat(self->vm.slots[0].memory_fd, &before));
	EXPECT_EQ(0, vm_convert(&self->vm));
	ASSERT_EQ(0, fstat(self->vm.slots[0].memory_fd, &after));
	EXPECT_EQ(before.st_ino, after.st_ino);
}

/* Two slots over the same memory stay that, and so they are in the child. */
TEST_F(layout, aliased_slots)
{
	struct vm child;

	add(self, GPA, 0, SIZE);
	add(self, 2 * GPA, 0, SIZE);
	add(self, 3 * GPA, MIB, 2 * MIB);
	self->hva[2 * MIB] = 1;
	EXPECT_EQ(1, vm_convert(&self->vm));
	EXPECT_TRUE(same_file(&self->vm, 1, 2));
	EXPECT_TRUE(same_file(&self->vm, 1, 3));
	EXPECT_EQ(1, count_mappings(self->hva, SIZE));
	vm_fork(&self->vm, &child);
	*(char *)vm_hva(&child, GPA + 2 * MIB) = 2;
	EXPECT_EQ(2, *(char *)vm_hva(&child, 2 * GPA + 2 * MIB));
	EXPECT_EQ(2, *(char *)vm_hva(&child, 3 * GPA + MIB));
	EXPECT_EQ(1, self->hva[2 * MIB]);
	vm_close(&child);
}

/* What the slots leave out stays what it was. */
TEST_F(layout, part_of_a_mapping)
{
	add(self, GPA, 2 * MIB, 3 * MIB);
	memset(self->hva, 7, SIZE);
	EXPECT_EQ(3 * MIB / PAGE_SIZE, vm_convert(&self->vm));
	EXPECT_EQ((long long)(3 * MIB), fdinfo_value(self->vm.slots[1].memory_fd, "kvmfork-size"));
	EXPECT_EQ(3, count_mappings(self->hva, SIZE));
	EXPECT_EQ(0, count_other(self->hva, 7));
	self->hva[0] = self->hva[2 * MIB] = 8;
	EXPECT_EQ(8, access_read(&self->vm, ACCESS_FILE, GPA));
}

/* One memory file, also where a hole in the guest's addresses lies between. */
TEST_F(layout, slots_of_one_mapping)
{
	struct vm child;

	add(self, GPA, 0, MIB);
	add(self, 2 * GPA, 3 * MIB, MIB);
	add(self, 3 * GPA, 4 * MIB, 4 * MIB);
	memset(self->hva, 7, SIZE);
	EXPECT_EQ(6 * MIB / PAGE_SIZE, vm_convert(&self->vm));
	EXPECT_TRUE(same_file(&self->vm, 1, 2));
	EXPECT_TRUE(same_file(&self->vm, 1, 3));
	EXPECT_EQ(0, self->vm.slots[1].offset);
	EXPECT_EQ(3 * MIB, self->vm.slots[2].offset);
	EXPECT_EQ(4 * MIB, self->vm.slots[3].offset);
	EXPECT_EQ(3, count_mappings(self->hva, SIZE));
	vm_fork(&self->vm, &child);
	EXPECT_EQ(7, *(char *)vm_hva(&child, 2 * GPA));
	vm_close(&child);

	/* A slot that needs the hole closed later. */
	vm_slot_add(&self->vm, KVM_MEM_READONLY, 4 * GPA, SIZE, self->hva, -1, 0);
	EXPECT_EQ(2 * MIB / PAGE_SIZE, vm_convert(&self->vm));
	EXPECT_TRUE(same_file(&self->vm, 1, 4));
	EXPECT_EQ(1, count_mappings(self->hva, SIZE));
	EXPECT_EQ(0, count_other(self->hva, 7));
	vm_fork(&self->vm, &child);
	EXPECT_EQ(7, *(char *)vm_hva(&child, 4 * GPA + 2 * MIB));
	vm_close(&child);
}

TEST_F(layout, mappings_of_their_own)
{
	char *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, other);
	add(self, GPA, 0, SIZE);
	vm_slot_add(&self->vm, 0, 2 * GPA, SIZE, other, -1, 0);
	self->hva[0] = other[SIZE - 1] = 1;
	EXPECT_EQ(2, vm_convert(&self->vm));
	EXPECT_FALSE(same_file(&self->vm, 1, 2));
}

/* A slot over several mappings, with other protection, and of other kinds. */
TEST_F(layout, slot_over_several_mappings)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct vm child;

	ASSERT_EQ(0, ftruncate(fd, MIB));
	memset(self->hva, 7, SIZE);
	ASSERT_EQ(self->hva + MIB, mmap(self->hva + MIB, MIB, PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_FIXED, fd, 0));
	self->hva[MIB + MIB / 2] = 8;
	ASSERT_EQ(0, mprotect(self->hva + 4 * MIB, MIB, PROT_READ));
	add(self, GPA, 0, SIZE);
	EXPECT_EQ((SIZE - MIB) / PAGE_SIZE + 1, vm_convert(&self->vm));
	vm_fork(&self->vm, &child);
	EXPECT_EQ(7, *(char *)vm_hva(&child, GPA));
	EXPECT_EQ(0, *(char *)vm_hva(&child, GPA + MIB));
	EXPECT_EQ(8, *(char *)vm_hva(&child, GPA + MIB + MIB / 2));
	EXPECT_EQ(7, *(char *)vm_hva(&child, GPA + 4 * MIB));
	EXPECT_EQ(7, *(char *)vm_hva(&child, GPA + SIZE - 1));
	vm_close(&child);
	ASSERT_EQ(0, mprotect(self->hva + 4 * MIB, MIB, PROT_READ | PROT_WRITE));
	/* fork() passes on what was shared, and nothing else. */
	EXPECT_EQ(3, count_mappings(self->hva, SIZE));
	close(fd);
}

/* A memfd goes on without the VM. */
TEST_F(layout, memfd_is_left_behind)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char *hva, byte;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, hva);
	vm_slot_add(&self->vm, 0, GPA, SIZE, hva, -1, 0);
	hva[5] = 1;
	EXPECT_EQ(1, vm_convert(&self->vm));
	hva[5] = 2;
	ASSERT_EQ(1, pread(fd, &byte, 1, 5));
	EXPECT_EQ(1, byte);
	/* No more of it was allocated than there was. */
	EXPECT_EQ((off_t)PAGE_SIZE, lseek(fd, PAGE_SIZE, SEEK_DATA) < 0 ? (off_t)PAGE_SIZE : 0);
	close(fd);
}

/* A part of a memfd, and not from its start. */
TEST_F(layout, window_of_a_memfd)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char *hva;

	ASSERT_EQ(0, ftruncate(fd, 4 * SIZE));
	ASSERT_EQ(1, pwrite(fd, "x", 1, SIZE - 1));
	ASSERT_EQ(1, pwrite(fd, "a", 1, SIZE));
	ASSERT_EQ(1, pwrite(fd, "b", 1, 2 * SIZE - 1));
	ASSERT_EQ(1, pwrite(fd, "x", 1, 2 * SIZE));
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, SIZE);
	ASSERT_NE(MAP_FAILED, hva);
	vm_slot_add(&self->vm, 0, GPA, SIZE, hva, -1, 0);
	EXPECT_EQ(2, vm_convert(&self->vm));
	EXPECT_EQ('a', hva[0]);
	EXPECT_EQ('b', hva[SIZE - 1]);
	EXPECT_EQ((long long)SIZE, fdinfo_value(self->vm.slots[1].memory_fd, "kvmfork-size"));
	close(fd);
}

/* Beyond the end of a file there are no pages, and then there are. */
TEST_F(layout, beyond_the_end_of_a_file)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *hva;
	char first[64];

	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ((ssize_t)sizeof(first), pread(fd, first, sizeof(first), 0));
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, hva);
	ASSERT_GT((off_t)SIZE, st.st_size);
	vm_slot_add(&self->vm, KVM_MEM_READONLY, GPA, SIZE, hva, -1, 0);
	EXPECT_GE((unsigned long)(st.st_size + PAGE_SIZE - 1) / PAGE_SIZE, vm_convert(&self->vm));
	EXPECT_EQ(0, memcmp(hva, first, sizeof(first)));
	EXPECT_EQ(0, hva[SIZE - 1]);
	hva[SIZE - 1] = 1;
	close(fd);
}

/* Private memory is not what a process made by fork() shares. */
TEST_F(layout, kept_from_fork)
{
	pid_t pid;
	int status;

	add(self, GPA, 0, SIZE);
	self->hva[0] = 1;
	vm_convert(&self->vm);
	pid = fork();
	if (!pid) {
		self->hva[0] = 2;
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(1, self->hva[0]);
}

TEST_F(layout, mlocked)
{
	add(self, GPA, 0, SIZE);
	self->hva[SIZE - 1] = 1;
	ASSERT_EQ(0, mlock(self->hva, SIZE));
	EXPECT_EQ(1, vm_convert(&self->vm));
	EXPECT_EQ(0, proc_value("/proc/self/status", "VmLck"));
	EXPECT_EQ(1, self->hva[SIZE - 1]);
}

/* Without room for mappings nobody is told. */
TEST_F(layout, nobody_is_told)
{
	struct proc_state before, after;
	struct convert_call call;

	add(self, GPA, 0, SIZE);
	self->hva[0] = 1;
	proc_state_get(&before);
	convert_call_init(&call, &self->vm);
	call.args.nr_mappings = 0;
	ASSERT_EQ(0, convert_call_run(&call, self->vm.attach_fd));
	proc_state_get(&after);
	EXPECT_EQ(before.fds, after.fds);
	EXPECT_EQ(0, call.args.nr_mappings);
	EXPECT_EQ(1, call.args.nr_pages);
}

TEST_HARNESS_MAIN
