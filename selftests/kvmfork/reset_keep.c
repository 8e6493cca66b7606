// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET_KEEP: pages that the VM has written stay its own and are written
 * over; and where that cannot be, the memory goes back all the same.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>

#include "access.h"
#include "fork.h"
#include "harness.h"

#define GPA	(16UL << 20)
#define PAGES	16
#define SIZE	(PAGES * PAGE_SIZE)
#define KEEP	(RESET_ALL | KVMFORK_RESET_KEEP)

FIXTURE(keep) {
	struct vm vm, child;
	int template;
	int fd;			/* the child's memory at GPA */
	uint8_t *ram;
};

/* How the pages are written. */
FIXTURE_VARIANT(keep) {
	enum access how;
};

FIXTURE_VARIANT_ADD(keep, map) { ACCESS_MAP };
FIXTURE_VARIANT_ADD(keep, file) { ACCESS_FILE };
FIXTURE_VARIANT_ADD(keep, guest) { ACCESS_GUEST };

/* The template: pages 0 to 7 are filled, the others are holes. */
FIXTURE_SETUP(keep)
{
	char *ram;

	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	ram = vm_memory_add(&self->vm, 0, GPA, SIZE);
	for (unsigned int i = 0; i < PAGES / 2; i++)
		memset(ram + i * PAGE_SIZE, 'a' + i, PAGE_SIZE);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	self->ram = vm_hva(&self->child, GPA);
	for (unsigned int i = 0; i < self->child.nr_slots; i++)
		if (self->child.slots[i].gpa == GPA)
			self->fd = self->child.slots[i].memory_fd;
}

FIXTURE_TEARDOWN(keep)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

static void write_pages(struct vm *vm, enum access how, unsigned int first, unsigned int nr)
{
	for (unsigned int i = first; i < first + nr; i++)
		access_write(vm, how, GPA + i * PAGE_SIZE + 100, 'Z');
}

/* Bytes that are not as in the template. */
static unsigned long wrong(const uint8_t *ram)
{
	unsigned long bytes = 0;

	for (unsigned long at = 0; at < SIZE; at++)
		bytes += ram[at] != (at < SIZE / 2 ? 'a' + at / PAGE_SIZE : 0);
	return bytes;
}

TEST_F(keep, kept)
{
	write_pages(&self->child, variant->how, 4, 8);
	EXPECT_EQ(8 * (long long)PAGE_SIZE, fdinfo_value(self->fd, "kvmfork-private"));
	for (unsigned int round = 0; round < 5; round++) {
		ASSERT_EQ(0, __vm_reset(&self->child, self->template, KEEP));
		EXPECT_EQ(0, wrong(self->ram));
		EXPECT_EQ(0, access_read(&self->child, ACCESS_GUEST, GPA + 11 * PAGE_SIZE + 100));
		EXPECT_EQ('a' + 4, access_read(&self->child, ACCESS_GUEST,
					       GPA + 4 * PAGE_SIZE + 100));
		EXPECT_EQ(8 * (long long)PAGE_SIZE, fdinfo_value(self->fd, "kvmfork-private"));
		/* Some of them again, and others. */
		write_pages(&self->child, variant->how, 5, 2);
	}
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, RESET_ALL));
	EXPECT_EQ(0, wrong(self->ram));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-private"));
	EXPECT_EQ(0, wrong(vm_hva(&self->vm, GPA)));
}

/* The pages' next freeze sees what was written after the reset. */
TEST_F(keep, frozen_again)
{
	struct vm grandchild;

	write_pages(&self->child, variant->how, 0, PAGES);
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KEEP));
	write_pages(&self->child, variant->how, 3, 1);
	vm_fork(&self->child, &grandchild);
	EXPECT_EQ(1, wrong(vm_hva(&grandchild, GPA)));
	EXPECT_EQ('Z', *((uint8_t *)vm_hva(&grandchild, GPA) + 3 * PAGE_SIZE + 100));
	/* The pages are the grandchild's too now. */
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KEEP));
	EXPECT_EQ(0, wrong(self->ram));
	EXPECT_EQ(1, wrong(vm_hva(&grandchild, GPA)));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-private"));
	vm_close(&grandchild);
}

TEST_F(keep, holes_made_since)
{
	write_pages(&self->child, variant->how, 0, 4);
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * PAGE_SIZE,
			       PAGE_SIZE));
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KEEP));
	EXPECT_EQ(0, wrong(self->ram));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-private"));
}

/* Who refers to a page has what it was. */
TEST_F(keep, referred_to)
{
	uint8_t buffer[2 * PAGE_SIZE];
	struct iovec iov = { self->ram + PAGE_SIZE, sizeof(buffer) };
	int fds[2];

	write_pages(&self->child, variant->how, 0, 4);
	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ((ssize_t)iov.iov_len, vmsplice(fds[1], &iov, 1, 0));
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KEEP));
	EXPECT_EQ(0, wrong(self->ram));
	ASSERT_EQ((ssize_t)sizeof(buffer), read(fds[0], buffer, sizeof(buffer)));
	EXPECT_EQ('Z', buffer[100]);
	EXPECT_EQ('Z', buffer[PAGE_SIZE + 100]);
	close(fds[0]);
	close(fds[1]);
}

TEST_F(keep, to_another_template)
{
	int other;

	write_pages(&self->child, variant->how, 0, 4);
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KEEP));
	access_write(&self->vm, ACCESS_MAP, GPA + 2 * PAGE_SIZE, 'Y');
	access_write(&self->vm, ACCESS_MAP, GPA + 9 * PAGE_SIZE, 'Y');
	other = vm_freeze(&self->vm);
	for (unsigned int round = 0; round < 2; round++) {
		ASSERT_EQ(0, __vm_reset(&self->child, other, KEEP));
		EXPECT_EQ(2, wrong(self->ram));
		EXPECT_EQ('Y', self->ram[9 * PAGE_SIZE]);
		write_pages(&self->child, variant->how, 8, 2);
		ASSERT_EQ(0, __vm_reset(&self->child, self->template, KEEP));
		EXPECT_EQ(0, wrong(self->ram));
	}
	close(other);
}

/* Memory alone; and never without it. */
TEST(flags)
{
	static const struct {
		uint64_t flags;
		int ret;
	} cases[] = {
		{ KVMFORK_RESET_KEEP, -EINVAL },
		{ KVMFORK_RESET_KEEP | KVMFORK_RESET_STATE, -EINVAL },
		{ KVMFORK_RESET_KEEP | KVMFORK_RESET_MEMORY, 0 },
		{ KEEP, 0 },
	};
	struct vm vm;
	int template;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	template = vm_freeze(&vm);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		EXPECT_EQ(cases[i].ret, __vm_reset(&vm, template, cases[i].flags))
			TH_LOG("flags 0x%llx", (unsigned long long)cases[i].flags);
	}
	close(template);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
