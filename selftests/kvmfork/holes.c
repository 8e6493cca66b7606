// SPDX-License-Identifier: GPL-2.0-only
/* Holes of a memory file: finding, punching, counting. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "fork.h"
#include "harness.h"

#define PAGES	32
#define SIZE	(PAGES * PAGE_SIZE)

FIXTURE(holes) {
	int fd;
	char *map;
};

FIXTURE_SETUP(holes)
{
	self->fd = memory_create(SIZE);
	self->map = memory_map(self->fd, SIZE);
}

FIXTURE_TEARDOWN(holes)
{
	munmap(self->map, SIZE);
	close(self->fd);
}

static off_t page(unsigned int nr)
{
	return nr * PAGE_SIZE;
}

static unsigned long allocated_pages(int fd)
{
	struct stat stat;

	TEST_REQUIRE(!fstat(fd, &stat), "fstat: %m");
	return stat.st_blocks / (PAGE_SIZE / 512);
}

static int punch(int fd, off_t offset, off_t size)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size) ?
	       -errno : 0;
}

static off_t seek(int fd, off_t offset, int whence)
{
	off_t at = lseek(fd, offset, whence);

	return at < 0 ? -errno : at;
}

TEST_F(holes, seek_in_an_empty_file)
{
	EXPECT_EQ(-ENXIO, seek(self->fd, 0, SEEK_DATA));
	EXPECT_EQ(-ENXIO, seek(self->fd, SIZE - 1, SEEK_DATA));
	EXPECT_EQ(0, seek(self->fd, 0, SEEK_HOLE));
	EXPECT_EQ(page(3) + 5, seek(self->fd, page(3) + 5, SEEK_HOLE));
}

TEST_F(holes, seek_past_the_end)
{
	self->map[SIZE - 1] = 1;
	EXPECT_EQ(-ENXIO, seek(self->fd, SIZE, SEEK_DATA));
	EXPECT_EQ(-ENXIO, seek(self->fd, SIZE, SEEK_HOLE));
	EXPECT_EQ(-ENXIO, seek(self->fd, SIZE + page(7), SEEK_DATA));
	EXPECT_EQ(-ENXIO, seek(self->fd, SIZE + 1, SEEK_HOLE));
	EXPECT_EQ(-ENXIO, seek(self->fd, -1, SEEK_DATA));
	EXPECT_EQ(-EINVAL, seek(self->fd, 0, 77));
}

TEST_F(holes, seek_among_data)
{
	static const unsigned int data[] = { 2, 3, 4, 9, PAGES - 1 };

	for (size_t i = 0; i < ARRAY_LENGTH(data); i++)
		self->map[page(data[i]) + 100] = 1;
	EXPECT_EQ(page(2), seek(self->fd, 0, SEEK_DATA));
	EXPECT_EQ(page(2), seek(self->fd, page(2), SEEK_DATA));
	EXPECT_EQ(page(2) + 77, seek(self->fd, page(2) + 77, SEEK_DATA));
	EXPECT_EQ(page(5), seek(self->fd, page(2), SEEK_HOLE));
	EXPECT_EQ(page(5), seek(self->fd, page(4) + 4095, SEEK_HOLE));
	EXPECT_EQ(page(9), seek(self->fd, page(5), SEEK_DATA));
	EXPECT_EQ(page(10), seek(self->fd, page(9), SEEK_HOLE));
	EXPECT_EQ(page(PAGES - 1), seek(self->fd, page(10), SEEK_DATA));
	EXPECT_EQ((off_t)SIZE, seek(self->fd, page(PAGES - 1), SEEK_HOLE));
	EXPECT_EQ(ARRAY_LENGTH(data), allocated_pages(self->fd));
}

TEST_F(holes, seek_in_a_huge_file)
{
	const uint64_t size = KVMFORK_MEMORY_SIZE_MAX;
	const off_t far = (1LL << 43) + page(12345);
	int fd = memory_create(size);

	EXPECT_EQ(-ENXIO, seek(fd, 0, SEEK_DATA));
	EXPECT_EQ(1, pwrite(fd, "x", 1, far));
	EXPECT_EQ(far, seek(fd, 0, SEEK_DATA));
	EXPECT_EQ(far + page(1), seek(fd, far, SEEK_HOLE));
	EXPECT_EQ(-ENXIO, seek(fd, far + page(1), SEEK_DATA));
	close(fd);
}

TEST_F(holes, punch_whole_pages)
{
	memset(self->map, 'a', SIZE);
	EXPECT_EQ(PAGES, allocated_pages(self->fd));
	EXPECT_EQ(0, punch(self->fd, page(4), page(8)));
	EXPECT_EQ(PAGES - 8, allocated_pages(self->fd));
	EXPECT_EQ(page(4), seek(self->fd, 0, SEEK_HOLE));
	EXPECT_EQ(page(12), seek(self->fd, page(4), SEEK_DATA));
	for (unsigned int i = 0; i < PAGES; i++) {
		EXPECT_EQ(i < 4 || i >= 12 ? 'a' : 0, ((volatile char *)self->map)[page(i)])
			TH_LOG("page %u", i);
	}
	self->map[page(5)] = 'b';
	EXPECT_EQ('b', ((volatile char *)self->map)[page(5)]);
	EXPECT_EQ(0, ((volatile char *)self->map)[page(5) + 1]);
}

TEST_F(holes, punch_parts_of_pages)
{
	static const struct {
		off_t offset, size;
	} cases[] = {
		{ 10, 20 }, { 0, 1 }, { 4095, 1 }, { 4095, 2 }, { 100, 4096 },
		{ 100, 3 * 4096 }, { 0, 3 * 4096 + 1 }, { 4096, 1 }, { 0, 4095 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		unsigned int wrong = 0;

		memset(self->map, 'a', SIZE);
		EXPECT_EQ(0, punch(self->fd, cases[i].offset, cases[i].size));
		for (off_t at = 0; at < (off_t)SIZE; at++) {
			bool hole = at >= cases[i].offset &&
				    at < cases[i].offset + cases[i].size;

			wrong += ((volatile char *)self->map)[at] != (hole ? 0 : 'a');
		}
		EXPECT_EQ(0, wrong)
			TH_LOG("offset %ld, size %ld", (long)cases[i].offset,
			       (long)cases[i].size);
	}
}

/* Zeroing a part of a hole must not make it data. */
TEST_F(holes, punch_holes)
{
	EXPECT_EQ(0, punch(self->fd, 10, 20));
	EXPECT_EQ(0, punch(self->fd, 0, SIZE));
	EXPECT_EQ(0, allocated_pages(self->fd));
	EXPECT_EQ(-ENXIO, seek(self->fd, 0, SEEK_DATA));
}

TEST_F(holes, punch_around_the_end)
{
	memset(self->map, 'a', SIZE);
	EXPECT_EQ(0, punch(self->fd, page(PAGES - 1), page(10)));
	EXPECT_EQ(PAGES - 1, allocated_pages(self->fd));
	EXPECT_EQ(0, punch(self->fd, SIZE + page(1), page(1)));
	EXPECT_EQ(-EINVAL, punch(self->fd, 0, 0));
	EXPECT_EQ(-EINVAL, punch(self->fd, -1, PAGE_SIZE));
	EXPECT_EQ(-EINVAL, punch(self->fd, 0, -1));
	EXPECT_EQ(PAGES - 1, allocated_pages(self->fd));
}

TEST_F(holes, other_fallocate_modes)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_COLLAPSE_RANGE,
		FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE,
	};

	for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
		EXPECT_EQ(-1, fallocate(self->fd, modes[i], 0, PAGE_SIZE));
		EXPECT_EQ(EOPNOTSUPP, errno)
			TH_LOG("mode 0x%x", modes[i]);
	}
}

TEST_F(holes, size_is_fixed)
{
	static const off_t sizes[] = { 0, PAGE_SIZE, SIZE - 1, SIZE, SIZE + PAGE_SIZE };
	struct stat stat;

	self->map[0] = 1;
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		EXPECT_EQ(-1, ftruncate(self->fd, sizes[i]))
			TH_LOG("size %ld", (long)sizes[i]);
		EXPECT_TRUE(errno == EINVAL || errno == EPERM)
			TH_LOG("size %ld: %m", (long)sizes[i]);
	}
	ASSERT_EQ(0, fstat(self->fd, &stat));
	EXPECT_EQ((off_t)SIZE, stat.st_size);
	EXPECT_EQ(1, self->map[0]);
}

TEST_F(holes, fdinfo_counts)
{
	EXPECT_EQ((long long)SIZE, fdinfo_value(self->fd, "kvmfork-size"));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-private"));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-shared"));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-freezes"));
	self->map[page(1)] = 1;
	self->map[page(2)] = 1;
	EXPECT_EQ(page(2), fdinfo_value(self->fd, "kvmfork-private"));
	EXPECT_EQ(0, punch(self->fd, page(1), PAGE_SIZE));
	EXPECT_EQ(page(1), fdinfo_value(self->fd, "kvmfork-private"));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-shared"));
}

/* madvise(MADV_REMOVE) is the same hole by another name. */
TEST_F(holes, madvise_remove)
{
	memset(self->map, 'a', SIZE);
	if (madvise(self->map + page(2), page(1), MADV_REMOVE))
		SKIP(return, "MADV_REMOVE: %s", strerror(errno));
	EXPECT_EQ(PAGES - 1, allocated_pages(self->fd));
	EXPECT_EQ(0, ((volatile char *)self->map)[page(2)]);
}

/* Dropping the mapping's pages is not dropping the file's. */
TEST_F(holes, madvise_dontneed)
{
	memset(self->map, 'a', SIZE);
	EXPECT_EQ(0, madvise(self->map, SIZE, MADV_DONTNEED));
	EXPECT_EQ('a', ((volatile char *)self->map)[page(2)]);
	EXPECT_EQ(PAGES, allocated_pages(self->fd));
}

TEST_HARNESS_MAIN
