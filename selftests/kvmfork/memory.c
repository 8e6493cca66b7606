// SPDX-License-Identifier: GPL-2.0-only
/* A memory file on its own: creation, and the file calls that it knows. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "fork.h"
#include "harness.h"

#define SIZE	(16 * PAGE_SIZE)

FIXTURE(memory) {
	int fd;
	char *map;
};

FIXTURE_SETUP(memory)
{
	self->fd = memory_create(SIZE);
	self->map = memory_map(self->fd, SIZE);
}

FIXTURE_TEARDOWN(memory)
{
	munmap(self->map, SIZE);
	close(self->fd);
}

static bool is_filled(const char *data, char with, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != with)
			return false;
	return true;
}

static unsigned long allocated_pages(int fd)
{
	struct stat stat;

	TEST_REQUIRE(!fstat(fd, &stat), "fstat: %m");
	return stat.st_blocks / (PAGE_SIZE / 512);
}

TEST(create_errors)
{
	static const struct {
		uint64_t size, flags;
		int ret;
	} cases[] = {
		{ 0, 0, -EINVAL },
		{ 1, 0, -EINVAL },
		{ 4095, 0, -EINVAL },
		{ 4097, 0, -EINVAL },
		{ 3 * 4096 + 512, 0, -EINVAL },
		{ KVMFORK_MEMORY_SIZE_MAX + 4096, 0, -EFBIG },
		{ KVMFORK_MEMORY_SIZE_MAX * 2, 0, -EFBIG },
		{ 1ULL << 63, 0, -EFBIG },
		{ -4096ULL, 0, -EFBIG },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		EXPECT_EQ(cases[i].ret, __memory_create(cases[i].size, cases[i].flags))
			TH_LOG("size 0x%llx", (unsigned long long)cases[i].size);
	}
	/* KVMFORK_MEMORY_HUGE; its _COPY is nothing by itself. */
	for (unsigned int bit = 1; bit < 64; bit++) {
		EXPECT_EQ(-EINVAL, __memory_create(PAGE_SIZE, 1ULL << bit))
			TH_LOG("flag bit %u", bit);
	}
}

TEST(create_sizes)
{
	static const uint64_t sizes[] = {
		PAGE_SIZE, 2 * PAGE_SIZE, 1 << 20, 1ULL << 32, (1ULL << 40) + PAGE_SIZE,
		KVMFORK_MEMORY_SIZE_MAX,
	};

	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		struct stat stat = {};
		char byte = 1;
		int fd = memory_create(sizes[i]);

		EXPECT_EQ(0, fstat(fd, &stat));
		EXPECT_EQ(sizes[i], (uint64_t)stat.st_size);
		EXPECT_EQ(0, stat.st_blocks);
		EXPECT_EQ(sizes[i], (uint64_t)lseek(fd, 0, SEEK_END));
		EXPECT_EQ(1, pwrite(fd, &byte, 1, sizes[i] - 1));
		EXPECT_EQ(1, allocated_pages(fd));
		EXPECT_EQ(sizes[i], (uint64_t)fdinfo_value(fd, "kvmfork-size"));
		close(fd);
	}
}

/* Two files have nothing in common, their inodes neither. */
TEST(own_inodes)
{
	int fds[2] = { memory_create(PAGE_SIZE), memory_create(PAGE_SIZE) };
	char byte = 'a';
	struct stat stats[2];

	ASSERT_EQ(0, fstat(fds[0], &stats[0]));
	ASSERT_EQ(0, fstat(fds[1], &stats[1]));
	EXPECT_NE(stats[0].st_ino, stats[1].st_ino);
	EXPECT_EQ(1, pwrite(fds[0], &byte, 1, 0));
	EXPECT_EQ(1, pread(fds[1], &byte, 1, 0));
	EXPECT_EQ(0, byte);
	close(fds[0]);
	close(fds[1]);
}

TEST_F(memory, new_reads_as_zero)
{
	char buffer[SIZE];

	memset(buffer, 1, sizeof(buffer));
	EXPECT_EQ((ssize_t)SIZE, pread(self->fd, buffer, SIZE, 0));
	EXPECT_TRUE(is_filled(buffer, 0, SIZE));
	EXPECT_TRUE(is_filled(self->map, 0, SIZE));
}

TEST_F(memory, reading_allocates_little)
{
	char buffer[SIZE];

	EXPECT_EQ((ssize_t)SIZE, pread(self->fd, buffer, SIZE, 0));
	EXPECT_EQ(0, allocated_pages(self->fd));
}

TEST_F(memory, mapping_and_file_are_one)
{
	char buffer[100];

	memset(buffer, 'a', sizeof(buffer));
	EXPECT_EQ(100, pwrite(self->fd, buffer, 100, PAGE_SIZE - 50));
	EXPECT_TRUE(is_filled(self->map + PAGE_SIZE - 50, 'a', 100));
	EXPECT_EQ(0, self->map[PAGE_SIZE - 51]);
	EXPECT_EQ(0, self->map[PAGE_SIZE + 50]);
	self->map[5 * PAGE_SIZE] = 'b';
	EXPECT_EQ(1, pread(self->fd, buffer, 1, 5 * PAGE_SIZE));
	EXPECT_EQ('b', buffer[0]);
	EXPECT_EQ(3, allocated_pages(self->fd));
}

/* Mapped and read as a hole first, then written through the file. */
TEST_F(memory, write_under_a_read_mapping)
{
	char byte = 'x';

	EXPECT_EQ(0, ((volatile char *)self->map)[0]);
	EXPECT_EQ(1, pwrite(self->fd, &byte, 1, 0));
	EXPECT_EQ('x', ((volatile char *)self->map)[0]);
}

TEST_F(memory, several_mappings)
{
	char *other = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
			   3 * PAGE_SIZE);
	char *reader = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, other);
	ASSERT_NE(MAP_FAILED, reader);
	EXPECT_EQ(0, ((volatile char *)reader)[4 * PAGE_SIZE]);
	other[PAGE_SIZE] = 'c';
	EXPECT_EQ('c', ((volatile char *)self->map)[4 * PAGE_SIZE]);
	EXPECT_EQ('c', ((volatile char *)reader)[4 * PAGE_SIZE]);
	munmap(other, 2 * PAGE_SIZE);
	munmap(reader, SIZE);
}

TEST_F(memory, mapping_outlives_the_fd)
{
	int fd = memory_create(PAGE_SIZE);
	char *map = memory_map(fd, PAGE_SIZE);

	close(fd);
	map[17] = 'd';
	EXPECT_EQ('d', ((volatile char *)map)[17]);
	munmap(map, PAGE_SIZE);
}

TEST_F(memory, private_mapping)
{
	errno = 0;
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
}

static sigjmp_buf bus_error;

static void on_bus_error(int signal)
{
	siglongjmp(bus_error, signal);
}

static int touch_signal(volatile char *address, bool write)
{
	int signal = sigsetjmp(bus_error, 1);

	if (signal)
		return signal;
	if (write)
		*address = 1;
	else
		(void)*address;
	return 0;
}

TEST_F(memory, access_past_the_end)
{
	char *map = mmap(NULL, SIZE + 4 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	signal(SIGBUS, on_bus_error);
	EXPECT_EQ(0, touch_signal(map + SIZE - 1, false));
	EXPECT_EQ(0, touch_signal(map + SIZE - 1, true));
	EXPECT_EQ(SIGBUS, touch_signal(map + SIZE, false));
	EXPECT_EQ(SIGBUS, touch_signal(map + SIZE, true));
	EXPECT_EQ(SIGBUS, touch_signal(map + SIZE + 3 * PAGE_SIZE, true));
	munmap(map, SIZE + 4 * PAGE_SIZE);
}

/* A page with a memory error is nobody's any more, by whatever way. */
TEST_F(memory, poisoned_page)
{
	char *other = memory_map(self->fd, SIZE), byte = 1;

	self->map[PAGE_SIZE] = 1;
	/* EBUSY: the kernel has marked the page and could do no more. */
	if (madvise(self->map + PAGE_SIZE, PAGE_SIZE, MADV_HWPOISON) && errno != EBUSY)
		SKIP(return, "no memory errors can be injected: %m");
	signal(SIGBUS, on_bus_error);
	EXPECT_EQ(SIGBUS, touch_signal(other + PAGE_SIZE, false));
	EXPECT_EQ(SIGBUS, touch_signal(other + PAGE_SIZE, true));
	EXPECT_EQ(-1, pread(self->fd, &byte, 1, PAGE_SIZE));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(self->fd, &byte, 1, PAGE_SIZE));
	EXPECT_EQ(EIO, errno);
	/* The others are as they were. */
	EXPECT_EQ(0, touch_signal(other, true));
	munmap(other, SIZE);
}

TEST_F(memory, read_at_the_end)
{
	char buffer[100];

	EXPECT_EQ(10, pread(self->fd, buffer, 100, SIZE - 10));
	EXPECT_EQ(0, pread(self->fd, buffer, 100, SIZE));
	EXPECT_EQ(0, pread(self->fd, buffer, 100, SIZE + 12345));
	EXPECT_EQ(-1, pread(self->fd, buffer, 100, -1));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(memory, write_at_the_end)
{
	char buffer[100] = { 1 };

	EXPECT_EQ(10, pwrite(self->fd, buffer, 100, SIZE - 10));
	EXPECT_EQ(-1, pwrite(self->fd, buffer, 100, SIZE));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, pwrite(self->fd, buffer, 1, SIZE + PAGE_SIZE));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(0, pwrite(self->fd, buffer, 0, 0));
	EXPECT_EQ(1, allocated_pages(self->fd));
}

TEST_F(memory, read_and_write_move_the_position)
{
	char buffer[PAGE_SIZE];

	memset(buffer, 'p', sizeof(buffer));
	EXPECT_EQ((off_t)PAGE_SIZE, lseek(self->fd, PAGE_SIZE, SEEK_SET));
	EXPECT_EQ((ssize_t)PAGE_SIZE, write(self->fd, buffer, PAGE_SIZE));
	EXPECT_EQ((off_t)(2 * PAGE_SIZE), lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ((off_t)PAGE_SIZE, lseek(self->fd, -(off_t)PAGE_SIZE, SEEK_CUR));
	memset(buffer, 0, sizeof(buffer));
	EXPECT_EQ(100, read(self->fd, buffer, 100));
	EXPECT_TRUE(is_filled(buffer, 'p', 100));
	EXPECT_EQ((off_t)PAGE_SIZE + 100, lseek(self->fd, 0, SEEK_CUR));
}

TEST_F(memory, vectors)
{
	char a[3] = "ab", b[PAGE_SIZE + 5], c[3] = "", d[PAGE_SIZE + 5] = "";
	struct iovec out[] = { { a, 3 }, { b, sizeof(b) } };
	struct iovec in[] = { { c, 3 }, { d, sizeof(d) } };

	memset(b, 'v', sizeof(b));
	EXPECT_EQ((ssize_t)(3 + sizeof(b)), pwritev(self->fd, out, 2, 7));
	EXPECT_EQ((ssize_t)(3 + sizeof(b)), preadv(self->fd, in, 2, 7));
	EXPECT_EQ(0, memcmp(a, c, 3));
	EXPECT_EQ(0, memcmp(b, d, sizeof(b)));
}

TEST_F(memory, bad_buffers)
{
	char *hole = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte = 1;

	ASSERT_NE(MAP_FAILED, hole);
	EXPECT_EQ(-1, pread(self->fd, hole, PAGE_SIZE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(self->fd, hole, PAGE_SIZE, 0));
	EXPECT_EQ(EFAULT, errno);
	munmap(hole, PAGE_SIZE);
	/* Nothing of it stays: what is there is as it was. */
	EXPECT_EQ(1, pread(self->fd, &byte, 1, 0));
	EXPECT_EQ(0, byte);
}

/* The buffer is the file's own mapping. */
TEST_F(memory, write_from_and_read_into_itself)
{
	memset(self->map, 's', 2 * PAGE_SIZE);
	EXPECT_EQ((ssize_t)(2 * PAGE_SIZE),
		  pwrite(self->fd, self->map, 2 * PAGE_SIZE, 4 * PAGE_SIZE));
	EXPECT_TRUE(is_filled(self->map + 4 * PAGE_SIZE, 's', 2 * PAGE_SIZE));
	EXPECT_EQ((ssize_t)(2 * PAGE_SIZE),
		  pread(self->fd, self->map + 8 * PAGE_SIZE, 2 * PAGE_SIZE, 4 * PAGE_SIZE));
	EXPECT_TRUE(is_filled(self->map + 8 * PAGE_SIZE, 's', 2 * PAGE_SIZE));
	EXPECT_EQ((ssize_t)PAGE_SIZE, pwrite(self->fd, self->map + 12 * PAGE_SIZE, PAGE_SIZE,
					     12 * PAGE_SIZE));
	EXPECT_EQ((ssize_t)PAGE_SIZE, pread(self->fd, self->map + 13 * PAGE_SIZE, PAGE_SIZE,
					    13 * PAGE_SIZE));
}

TEST_F(memory, access_modes)
{
	char path[64], byte = 1;
	int reader;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	reader = open(path, O_RDONLY);
	/* Files of a pseudo file system cannot always be opened anew. */
	if (reader < 0)
		SKIP(return, "no second open file: %s", strerror(errno));
	EXPECT_EQ(-1, pwrite(reader, &byte, 1, 0));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0));
	EXPECT_EQ(1, pwrite(self->fd, &byte, 1, 0));
	byte = 0;
	EXPECT_EQ(1, pread(reader, &byte, 1, 0));
	EXPECT_EQ(1, byte);
	close(reader);
}

TEST_HARNESS_MAIN
