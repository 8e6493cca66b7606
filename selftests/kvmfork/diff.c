// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_DIFF: what a VM has made its own since a template. */
#include <fcntl.h>
#include <sys/eventfd.h>

#include "access.h"
#include "fork.h"
#include "harness.h"

#define RAM_GPA		(16UL << 20)
#define PAGES		1000
#define SIZE		(PAGES * PAGE_SIZE)
#define WORDS		((PAGES + 63) / 64)

FIXTURE(diff) {
	struct vm vm, child;
	int template, base;
	uint64_t bitmap[WORDS + 1];
	struct kvmfork_diff args;
};

static int ram_fd(struct vm *vm)
{
	return vm->slots[1].memory_fd;
}

static void prepare(FIXTURE_DATA(diff) *self)
{
	memset(self->bitmap, 0xa5, sizeof(self->bitmap));
	self->args = (struct kvmfork_diff) {
		.size = SIZE,
		.bitmap = (unsigned long)self->bitmap,
		.nr_pages = 77,
		.other_fd = self->base,
	};
}

FIXTURE_SETUP(diff)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	vm_memory_add(&self->vm, 0, RAM_GPA, SIZE);
	for (unsigned int page = 0; page < PAGES; page += 2)
		*(char *)vm_hva(&self->vm, RAM_GPA + page * PAGE_SIZE) = 't';
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	self->base = template_open_memory_of(self->template, SIZE);
	prepare(self);
}

FIXTURE_TEARDOWN(diff)
{
	close(self->base);
	close(self->template);
	vm_close(&self->child);
	vm_close(&self->vm);
}

static int diff(FIXTURE_DATA(diff) *self, int fd)
{
	return xioctl(fd, KVMFORK_DIFF, &self->args);
}

static bool bit(const uint64_t *bitmap, unsigned long nr)
{
	return bitmap[nr / 64] >> nr % 64 & 1;
}

/* Write by all ways in turn, to the pages of a list that ends with PAGES. */
static void write_pages(struct vm *vm, const unsigned int *pages)
{
	for (unsigned int i = 0; pages[i] < PAGES; i++)
		access_write(vm, i % ACCESS_METHODS, RAM_GPA + pages[i] * PAGE_SIZE + i, 'w');
}

/* Just the pages of that list differ. */
static bool bits_are(FIXTURE_DATA(diff) *self, const unsigned int *pages)
{
	unsigned int nr = 0;

	for (unsigned int page = 0; page < WORDS * 64; page++) {
		bool expected = pages[nr] == page && page < PAGES;

		if (bit(self->bitmap, page) != expected) {
			fprintf(stderr, "# page %u: %d\n", page, !expected);
			return false;
		}
		nr += expected;
	}
	if (self->args.nr_pages != nr || self->bitmap[WORDS] != 0xa5a5a5a5a5a5a5a5) {
		fprintf(stderr, "# %lu pages instead of %u; 0x%lx behind the bitmap\n",
			(long)self->args.nr_pages, nr, (long)self->bitmap[WORDS]);
		return false;
	}
	return true;
}

static const unsigned int none[] = { PAGES };
static const unsigned int some[] = { 0, 1, 2, 62, 63, 64, 65, 127, 500, 998, 999, PAGES };

TEST_F(diff, nothing_written)
{
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, none));
	/* Reading, also of holes, makes nothing one's own. */
	for (unsigned int page = 0; page < PAGES; page += 7)
		access_read(&self->child, page % ACCESS_METHODS, RAM_GPA + page * PAGE_SIZE);
	prepare(self);
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, none));
}

TEST_F(diff, written_pages)
{
	write_pages(&self->child, some);
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, some));
	/* The other way round it is the same; what others have written is not seen. */
	prepare(self);
	self->args.other_fd = ram_fd(&self->child);
	ASSERT_EQ(0, diff(self, self->base));
	EXPECT_TRUE(bits_are(self, some));
	prepare(self);
	ASSERT_EQ(0, diff(self, ram_fd(&self->vm)));
	EXPECT_TRUE(bits_are(self, none));
	vm_reset(&self->child, self->template);
	prepare(self);
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, none));
}

/* What matters is whose page it is, not what is in it. */
TEST_F(diff, written_with_the_same)
{
	static const unsigned int pages[] = { 4, 5, PAGES };

	access_write(&self->child, ACCESS_MAP, RAM_GPA + 4 * PAGE_SIZE, 't');
	access_write(&self->child, ACCESS_MAP, RAM_GPA + 5 * PAGE_SIZE, 0);
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, pages));
}

TEST_F(diff, punched_pages)
{
	static const unsigned int data[] = { 0, 2, 64, 998, PAGES };

	for (unsigned int i = 0; data[i] < PAGES; i++) {
		access_punch(&self->child, RAM_GPA + data[i] * PAGE_SIZE);
		/* A hole and a hole are the same. */
		access_punch(&self->child, RAM_GPA + (data[i] + 1) * PAGE_SIZE);
	}
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, data));
}

/* Two VMs of one template: what either has written. */
TEST_F(diff, siblings)
{
	static const unsigned int one[] = { 3, 100, PAGES }, other[] = { 100, 700, PAGES };
	static const unsigned int both[] = { 3, 100, 700, PAGES };

	write_pages(&self->child, one);
	write_pages(&self->vm, other);
	self->args.other_fd = ram_fd(&self->vm);
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, both));
}

TEST_F(diff, a_file_and_itself)
{
	write_pages(&self->child, some);
	self->args.other_fd = ram_fd(&self->child);
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bits_are(self, none));
}

TEST_F(diff, strangers)
{
	int empty = memory_create(SIZE);

	self->args.other_fd = empty;
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_EQ(PAGES / 2, self->args.nr_pages);
	for (unsigned int page = 0; page < PAGES; page++)
		EXPECT_EQ(page % 2 == 0, bit(self->bitmap, page));
	close(empty);
}

TEST_F(diff, ranges)
{
	static const struct {
		unsigned int first, nr;
	} ranges[] = {
		{ 0, 1 }, { 1, 1 }, { 3, 1 }, { 1, 63 }, { 1, 64 }, { 62, 3 }, { 63, 65 },
		{ 128, 371 }, { 128, 373 }, { 500, 499 }, { 998, 2 }, { 999, 1 }, { 0, 999 },
	};

	write_pages(&self->child, some);
	for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++) {
		unsigned int first = ranges[i].first, nr = ranges[i].nr, next = 0, count = 0;
		unsigned int words = (nr + 63) / 64;

		prepare(self);
		self->args.offset = first * PAGE_SIZE;
		self->args.size = nr * PAGE_SIZE;
		ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
		for (unsigned int page = 0; page < words * 64; page++) {
			while (some[next] < first + page)
				next++;
			EXPECT_EQ(page < nr && some[next] == first + page, bit(self->bitmap, page))
				TH_LOG("pages %u and %u more: bit %u", first, nr, page);
			count += bit(self->bitmap, page);
		}
		EXPECT_EQ(count, self->args.nr_pages);
		EXPECT_EQ(0xa5a5a5a5a5a5a5a5, self->bitmap[words]);
	}
}

/* Compared piece by piece: 32,768 pages at a time. */
TEST_F(diff, many_pages)
{
	const unsigned long nr = 3 * 32768 + 77, words = (nr + 63) / 64;
	const unsigned long pages[] = { 0, 32767, 32768, 65535, 65536, 70000, 98304, nr - 1 };
	uint64_t *bitmap = calloc(words, 8);
	int one = memory_create(nr * PAGE_SIZE), other = memory_create(nr * PAGE_SIZE);
	struct kvmfork_diff args = {
		.size = nr * PAGE_SIZE, .bitmap = (unsigned long)bitmap, .other_fd = other,
	};

	for (size_t i = 0; i < ARRAY_LENGTH(pages); i++)
		EXPECT_EQ(1, pwrite(one, "x", 1, pages[i] * PAGE_SIZE));
	ASSERT_EQ(0, xioctl(one, KVMFORK_DIFF, &args));
	EXPECT_EQ(ARRAY_LENGTH(pages), args.nr_pages);
	for (size_t i = 0; i < ARRAY_LENGTH(pages); i++) {
		EXPECT_TRUE(bit(bitmap, pages[i]))
			TH_LOG("page %lu", pages[i]);
	}
	/* From the middle of a piece to the middle of another. */
	args.offset = 32767 * PAGE_SIZE;
	args.size = 32770 * PAGE_SIZE;
	ASSERT_EQ(0, xioctl(one, KVMFORK_DIFF, &args));
	EXPECT_EQ(4, args.nr_pages);
	EXPECT_TRUE(bit(bitmap, 0) && bit(bitmap, 1) && bit(bitmap, 32768) && bit(bitmap, 32769));
	free(bitmap);
	close(one);
	close(other);
}

/* The bitmap is written while the memory that it is in is compared. */
TEST_F(diff, bitmap_in_that_very_memory)
{
	volatile uint64_t *bitmap = vm_hva(&self->child, RAM_GPA + 7 * PAGE_SIZE);

	write_pages(&self->child, some);
	self->args.bitmap = (unsigned long)bitmap;
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	for (unsigned int i = 0; i < WORDS; i++)
		self->bitmap[i] = bitmap[i];
	/* As before its own page was written. */
	EXPECT_TRUE(bits_are(self, some));
	ASSERT_EQ(0, diff(self, ram_fd(&self->child)));
	EXPECT_TRUE(bit((uint64_t *)bitmap, 7));
}

TEST_F(diff, range_errors)
{
	static const struct {
		uint64_t offset, size;
	} ranges[] = {
		{ 0, 0 }, { PAGE_SIZE, 0 }, { 1, PAGE_SIZE }, { 0, 1 }, { 0, PAGE_SIZE + 1 },
		{ 0, SIZE + PAGE_SIZE }, { PAGE_SIZE, SIZE }, { SIZE, PAGE_SIZE },
		{ SIZE + PAGE_SIZE, PAGE_SIZE }, { PAGE_SIZE, -PAGE_SIZE },
		{ -PAGE_SIZE, PAGE_SIZE }, { -PAGE_SIZE, 2 * PAGE_SIZE }, { 0, -PAGE_SIZE },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++) {
		self->args.offset = ranges[i].offset;
		self->args.size = ranges[i].size;
		EXPECT_EQ(-EINVAL, diff(self, ram_fd(&self->child)))
			TH_LOG("offset 0x%lx, size 0x%lx", (long)ranges[i].offset,
			       (long)ranges[i].size);
	}
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5, self->bitmap[0]);
	EXPECT_EQ(77, self->args.nr_pages);
}

TEST_F(diff, flags)
{
	for (unsigned int nr = 0; nr < 32; nr++) {
		self->args.flags = 1U << nr;
		EXPECT_EQ(-EINVAL, diff(self, ram_fd(&self->child)));
	}
}

TEST_F(diff, other_files)
{
	const int others[] = {
		-1, 9999, open("/dev/null", O_RDWR | O_CLOEXEC), eventfd(0, EFD_CLOEXEC),
		kvm_device(), kvmfork_device(), self->template, self->child.vm_fd,
		self->child.attach_fd,
	};
	int larger = memory_create(SIZE + PAGE_SIZE);

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		self->args.other_fd = others[i];
		EXPECT_EQ(-EBADF, diff(self, ram_fd(&self->child)))
			TH_LOG("fd number %zu", i);
	}
	/* Not of one size, whichever the range. */
	self->args.other_fd = larger;
	self->args.size = PAGE_SIZE;
	EXPECT_EQ(-EINVAL, diff(self, ram_fd(&self->child)));
	close(larger);
}

TEST_F(diff, bad_bitmaps)
{
	static const uint64_t pointers[] = { 0, 8, 0x8000000000000000ULL, -8ULL };

	for (size_t i = 0; i < ARRAY_LENGTH(pointers); i++) {
		self->args.bitmap = pointers[i];
		EXPECT_EQ(-EFAULT, diff(self, ram_fd(&self->child)))
			TH_LOG("bitmap 0x%llx", (unsigned long long)pointers[i]);
		EXPECT_EQ(77, self->args.nr_pages);
	}
}

TEST_HARNESS_MAIN
