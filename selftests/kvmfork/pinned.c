// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that the kernel has hold of while the VM is forked, and may write
 * behind the page tables: O_DIRECT, vmsplice(). What comes in late is the
 * parent's, and the child's image stays as it was.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>

#include "disk.h"
#include "fork.h"
#include "harness.h"

#define GPA	(16UL << 20)
#define PAGES	64
#define SIZE	(PAGES * PAGE_SIZE)

FIXTURE(pinned) {
	struct vm vm;
	char *ram;
	int disk;
};

FIXTURE_SETUP(pinned)
{
	vm_create(&self->vm, VM_IRQCHIP_NONE);
	self->ram = vm_memory_add(&self->vm, 0, GPA, SIZE);
	memset(self->ram, 'a', SIZE);
	self->vm.attach_fd = vm_attach(self->vm.vm_fd);
	self->disk = -1;
}

FIXTURE_TEARDOWN(pinned)
{
	if (self->disk >= 0)
		close(self->disk);
	vm_close(&self->vm);
}

static bool is_all(const char *data, char what, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != what)
			return false;
	return true;
}

/* In the pipe are the pages themselves, at the time of the fork and after. */
TEST_F(pinned, vmsplice)
{
	struct iovec iov = { self->ram, 4 * PAGE_SIZE };
	char buffer[4 * PAGE_SIZE];
	struct vm child;
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ((ssize_t)iov.iov_len, vmsplice(fds[1], &iov, 1, 0));
	vm_fork(&self->vm, &child);
	memset(self->ram, 'b', 4 * PAGE_SIZE);
	EXPECT_TRUE(is_all(child.slots[0].hva, 'a', SIZE));
	memset(child.slots[0].hva, 'c', 4 * PAGE_SIZE);
	EXPECT_TRUE(is_all(self->ram, 'b', 4 * PAGE_SIZE));
	/* Of the parent, earlier or later; of the child, never. */
	ASSERT_EQ((ssize_t)sizeof(buffer), read(fds[0], buffer, sizeof(buffer)));
	EXPECT_TRUE(is_all(buffer, 'a', sizeof(buffer)) || is_all(buffer, 'b', sizeof(buffer)));
	vm_close(&child);
	close(fds[0]);
	close(fds[1]);
}

/* The last holder of the pages is the pipe. */
TEST_F(pinned, vmsplice_outlives_all)
{
	int fd = memory_create(SIZE), fds[2];
	char *map = memory_map(fd, SIZE), byte = 0;
	struct iovec iov = { map, PAGE_SIZE };

	memset(map, 'z', SIZE);
	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ((ssize_t)PAGE_SIZE, vmsplice(fds[1], &iov, 1, 0));
	munmap(map, SIZE);
	close(fd);
	EXPECT_EQ(1, read(fds[0], &byte, 1));
	EXPECT_EQ('z', byte);
	close(fds[0]);
	close(fds[1]);
}

static int open_disk(void)
{
	char path[DISK_PATH_SIZE], page[PAGE_SIZE];
	int file, disk, direct;

	file = memfd_create("disk", MFD_CLOEXEC);
	memset(page, 'd', sizeof(page));
	for (int i = 0; i < PAGES; i++)
		TEST_REQUIRE(write(file, page, PAGE_SIZE) == PAGE_SIZE, "write: %m");
	disk = disk_open(file, path);
	close(file);
	if (disk < 0)
		return -1;
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	close(disk);
	return direct;
}

struct reader {
	FIXTURE_DATA(pinned) *self;
	bool stop, failed;
	unsigned long reads;
};

/* Reads into guest memory, all of it 'd', and wipes it again. */
static void *read_directly(void *arg)
{
	struct reader *reader = arg;
	char *ram = reader->self->ram;

	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
		memset(ram, 'a', SIZE);
		if (pread(reader->self->disk, ram, SIZE, 0) != (ssize_t)SIZE)
			reader->failed = true;
		/* What was read is there, whatever forked in between. */
		if (!is_all(ram, 'd', SIZE)) {
			reader->failed = true;
			break;
		}
		reader->reads++;
	}
	return NULL;
}

TEST_F(pinned, direct_reads)
{
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL;
	struct reader reader = { .self = self };
	unsigned long forks = 0;
	pthread_t thread;
	struct vm child;

	self->disk = open_disk();
	if (self->disk < 0)
		SKIP(return, "no block device");
	pthread_create(&thread, NULL, read_directly, &reader);
	while (test_now_ns() < end && !reader.failed) {
		uint64_t sum[2] = {};

		vm_fork(&self->vm, &child);
		forks++;
		for (int i = 0; i < 2; i++) {
			for (unsigned long at = 0; at < SIZE; at++)
				sum[i] += child.slots[0].hva[at] * (at % 251 + 1);
			usleep(1000);
		}
		EXPECT_EQ(sum[0], sum[1])
			TH_LOG("fork %lu: the child's memory changed", forks);
		vm_close(&child);
	}
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_FALSE(reader.failed);
	TH_LOG("%lu forks, %lu reads", forks, reader.reads);
	EXPECT_LT(0, reader.reads);
}

TEST_F(pinned, direct_read_into_a_child)
{
	struct vm child;

	self->disk = open_disk();
	if (self->disk < 0)
		SKIP(return, "no block device");
	vm_fork(&self->vm, &child);
	/* Into pages still shared. */
	ASSERT_EQ((ssize_t)SIZE, pread(self->disk, child.slots[0].hva, SIZE, 0));
	EXPECT_TRUE(is_all(child.slots[0].hva, 'd', SIZE));
	EXPECT_TRUE(is_all(self->ram, 'a', SIZE));
	vm_close(&child);
}

/* Of another process, by process_vm_writev(): the pages are pinned for it. */
TEST_F(pinned, written_by_another_process)
{
	char text[PAGE_SIZE];
	struct iovec local = { text, sizeof(text) };
	struct iovec remote = { self->ram, sizeof(text) };
	struct vm child;

	memset(text, 'e', sizeof(text));
	vm_fork(&self->vm, &child);
	ASSERT_EQ((ssize_t)sizeof(text), process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_TRUE(is_all(self->ram, 'e', PAGE_SIZE));
	EXPECT_TRUE(is_all(child.slots[0].hva, 'a', SIZE));
	remote.iov_base = child.slots[0].hva + PAGE_SIZE;
	ASSERT_EQ((ssize_t)sizeof(text), process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_TRUE(is_all(self->ram + PAGE_SIZE, 'a', SIZE - PAGE_SIZE));
	EXPECT_TRUE(is_all(child.slots[0].hva + PAGE_SIZE, 'e', PAGE_SIZE));
	vm_close(&child);
}

TEST_HARNESS_MAIN
