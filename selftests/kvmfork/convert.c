// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_CONVERT: memory of all kinds becomes forkable where it is. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "access.h"
#include "convert.h"
#include "harness.h"

#define MIB	(1UL << 20)
#define SIZE	(16 * MIB)
#define PAGES	(SIZE / PAGE_SIZE)
/* Written densely, so that it is more than one chunk. */
#define DENSE	(GUEST_MEMORY / PAGE_SIZE)
#define DENSE_END (DENSE + 6 * MIB / PAGE_SIZE)

static int new_memfd(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	TEST_REQUIRE(fd >= 0 && !ftruncate(fd, SIZE), "memfd: %m");
	return fd;
}

static int new_file(void)
{
	return file_create(SIZE);
}

static uint64_t pattern(unsigned long page)
{
	return page * 0x9e3779b97f4a7c15ULL + 1;
}

static bool is_data(unsigned long page)
{
	return (page >= DENSE && page < DENSE_END) || page % 97 == 5 || page == PAGES - 1;
}

/* What the file of a private mapping holds already. */
static bool is_in_file(unsigned long page)
{
	return page >= DENSE && page % 3 == 0;
}

static void fill_file(int fd)
{
	for (unsigned long page = DENSE; page < PAGES; page++) {
		uint64_t value = pattern(page) + 1;

		if (is_in_file(page))
			TEST_REQUIRE(pwrite(fd, &value, sizeof(value), page * PAGE_SIZE) ==
				     sizeof(value), "pwrite: %m");
	}
}

FIXTURE(convert) {
	struct vm vm;
	char *hva;
	int fd;
	bool in_file;
};

FIXTURE_VARIANT(convert) {
	int flags;
	int (*open)(void);
	bool filled;
	int advice;
};

FIXTURE_VARIANT_ADD(convert, anonymous) { .flags = MAP_PRIVATE | MAP_ANONYMOUS };
FIXTURE_VARIANT_ADD(convert, anonymous_shared) { .flags = MAP_SHARED | MAP_ANONYMOUS };
FIXTURE_VARIANT_ADD(convert, huge) {
	.flags = MAP_PRIVATE | MAP_ANONYMOUS, .advice = MADV_HUGEPAGE
};

FIXTURE_VARIANT_ADD(convert, memfd) { .flags = MAP_SHARED, .open = new_memfd };
FIXTURE_VARIANT_ADD(convert, memfd_private) { .flags = MAP_PRIVATE, .open = new_memfd };
FIXTURE_VARIANT_ADD(convert, memfd_private_filled) {
	.flags = MAP_PRIVATE, .open = new_memfd, .filled = true
};

FIXTURE_VARIANT_ADD(convert, file) { .flags = MAP_PRIVATE, .open = new_file };
FIXTURE_VARIANT_ADD(convert, file_filled) {
	.flags = MAP_PRIVATE, .open = new_file, .filled = true
};

FIXTURE_SETUP(convert)
{
	self->fd = variant->open ? variant->open() : -1;
	self->hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, variant->flags, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->hva);
	if (variant->advice)
		ASSERT_EQ(0, madvise(self->hva, SIZE, variant->advice));
	if (variant->filled)
		fill_file(self->fd);
	self->in_file = variant->filled;
	vm_create_over(&self->vm, self->hva, SIZE, 2);
	for (unsigned long page = DENSE; page < PAGES; page++)
		if (is_data(page))
			*(uint64_t *)(self->hva + page * PAGE_SIZE) = pattern(page);
}

FIXTURE_TEARDOWN(convert)
{
	vm_close(&self->vm);
	if (self->fd >= 0)
		close(self->fd);
}

static uint64_t expected(FIXTURE_DATA(convert) *self, unsigned long page)
{
	if (is_data(page))
		return pattern(page);
	return self->in_file && is_in_file(page) ? pattern(page) + 1 : 0;
}

/* Data and holes of the test's part of @hva; how many pages are not as they should be. */
static unsigned long count_wrong(FIXTURE_DATA(convert) *self, const char *hva)
{
	unsigned long wrong = 0;

	for (unsigned long page = DENSE; page < PAGES; page++) {
		const uint64_t *word = (const uint64_t *)(hva + page * PAGE_SIZE);

		wrong += word[0] != expected(self, page) || word[1];
	}
	return wrong;
}

static unsigned long count_data(FIXTURE_DATA(convert) *self, const char *hva)
{
	static const char zeroes[PAGE_SIZE];
	unsigned long nr = 0;

	for (unsigned long page = 0; page < DENSE; page++)
		nr += !!memcmp(hva + page * PAGE_SIZE, zeroes, PAGE_SIZE);
	for (unsigned long page = DENSE; page < PAGES; page++)
		nr += !!expected(self, page);
	return nr;
}

TEST_F(convert, contents)
{
	unsigned long nr = vm_convert(&self->vm);
	struct vm_slot *slot = &self->vm.slots[0];

	EXPECT_EQ(0, count_wrong(self, self->hva));
	EXPECT_EQ(count_data(self, self->hva), nr);
	EXPECT_EQ((long long)(nr * PAGE_SIZE), fdinfo_value(slot->memory_fd, "kvmfork-private"));
	EXPECT_EQ((long long)SIZE, fdinfo_value(slot->memory_fd, "kvmfork-size"));
	EXPECT_EQ(1, count_mappings(self->hva, SIZE));
	EXPECT_EQ(0, slot->offset);
	/* It is writable, and what is written is the file's. */
	self->hva[SIZE - 1] = 0x5a;
	EXPECT_EQ(0x5a, access_read(&self->vm, ACCESS_FILE, SIZE - 1));
}

TEST_F(convert, twice)
{
	struct stat first, second;

	EXPECT_LT(0, vm_convert(&self->vm));
	ASSERT_EQ(0, fstat(self->vm.slots[0].memory_fd, &first));
	EXPECT_EQ(0, vm_convert(&self->vm));
	ASSERT_EQ(0, fstat(self->vm.slots[0].memory_fd, &second));
	EXPECT_EQ(first.st_ino, second.st_ino);
	EXPECT_EQ(0, count_wrong(self, self->hva));
}

/* A guest that has been running goes on in parent and child. */
TEST_F(convert, guest_goes_on)
{
	struct vm child;

	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 100);
	vcpu_start(&self->vm.vcpus[1], 1, guest_count, 200);
	EXPECT_EQ(101, vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC));
	EXPECT_EQ(201, vcpu_run_to_port(&self->vm.vcpus[1], PORT_SYNC));
	vm_convert(&self->vm);
	EXPECT_EQ(102, vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC));
	vm_fork(&self->vm, &child);
	for (unsigned int i = 0; i < 3; i++)
		EXPECT_EQ(103 + i, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	EXPECT_EQ(103, vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC));
	EXPECT_EQ(202, vcpu_run_to_port(&self->vm.vcpus[1], PORT_SYNC));
	EXPECT_EQ(202, vcpu_run_to_port(&child.vcpus[1], PORT_SYNC));
	EXPECT_EQ(0, count_wrong(self, child.slots[0].hva));
	memset(self->hva + DENSE * PAGE_SIZE, 1, SIZE - DENSE * PAGE_SIZE);
	EXPECT_EQ(0, count_wrong(self, child.slots[0].hva));
	vm_close(&child);
}

/* The flag of a freeze: two calls added to a monitor, and no more. */
TEST_F(convert, by_the_fork_itself)
{
	struct fork_call call;
	struct vm child;

	fork_call_init(&call, &self->vm);
	EXPECT_EQ(-EMEDIUMTYPE, fork_call_fork(&call, self->vm.attach_fd));
	fork_call_init(&call, &self->vm);
	call.args.freeze.flags = KVMFORK_FREEZE_CONVERT;
	ASSERT_EQ(0, fork_call_fork(&call, self->vm.attach_fd)) TH_LOG("%s", call.message);
	fork_call_child(&call, &self->vm, &child);
	EXPECT_EQ(0, count_wrong(self, self->hva));
	EXPECT_EQ(0, count_wrong(self, child.slots[0].hva));
	self->hva[(PAGES - 1) * PAGE_SIZE] ^= 1;
	EXPECT_EQ(0, count_wrong(self, child.slots[0].hva));
	vm_close(&child);
	/* It stays what it has become. */
	vm_fork(&self->vm, &child);
	EXPECT_EQ(1, count_wrong(self, child.slots[0].hva));
	vm_close(&child);
}

TEST_F(convert, reset_and_diff)
{
	struct kvmfork_diff diff = { .size = SIZE };
	uint64_t bitmap[PAGES / 64];
	int template;

	vm_convert(&self->vm);
	template = vm_freeze(&self->vm);
	self->hva[DENSE * PAGE_SIZE] ^= 1;
	self->hva[SIZE - PAGE_SIZE] ^= 1;
	diff.bitmap = (unsigned long)bitmap;
	diff.other_fd = template_open_memory(template, 0);
	ASSERT_EQ(0, xioctl(self->vm.slots[0].memory_fd, KVMFORK_DIFF, &diff));
	EXPECT_EQ(2, diff.nr_pages);
	EXPECT_EQ(1ULL << (DENSE % 64), bitmap[DENSE / 64]);
	EXPECT_EQ(1ULL << 63, bitmap[PAGES / 64 - 1]);
	vm_reset(&self->vm, template);
	EXPECT_EQ(0, count_wrong(self, self->hva));
	close(diff.other_fd);
	close(template);
}

/* Also a slot that the guest cannot write to, and memory that nobody can. */
TEST_F(convert, read_only_slot)
{
	struct vm child;

	ASSERT_EQ(0, __vm_slot_set(&self->vm, 0, 0, 0, 0, NULL));
	ASSERT_EQ(0, __vm_slot_set(&self->vm, 0, KVM_MEM_READONLY, 0, SIZE, self->hva));
	self->vm.slots[0].flags = KVM_MEM_READONLY;
	ASSERT_EQ(0, mprotect(self->hva, SIZE, PROT_READ));
	vm_convert(&self->vm);
	EXPECT_EQ(0, count_wrong(self, self->hva));
	vm_fork(&self->vm, &child);
	EXPECT_EQ(0, count_wrong(self, child.slots[0].hva));
	vm_close(&child);
	/* As protected as it was, and no more. */
	ASSERT_EQ(0, mprotect(self->hva, SIZE, PROT_READ | PROT_WRITE));
	self->hva[SIZE - 1] = 1;
}

TEST_HARNESS_MAIN
