// SPDX-License-Identifier: GPL-2.0-only
/* Failing allocations: what is done with memory. See lib/fail_try.h. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>

#include "fail_try.h"

FIXTURE(fail_memory) {
	struct fail_vm base;
};

FIXTURE_SETUP(fail_memory)
{
	fail_vm_create(&self->base);
}

FIXTURE_TEARDOWN(fail_memory)
{
	fail_vm_close(&self->base);
}

static int call_create_memory(struct fail_vm *self)
{
	self->fd = __memory_create(FAIL_RAM_SIZE, 0);
	return self->fd;
}

TEST_F(fail_memory, create_memory)
{
	static const struct fail_try op = {
		.call = call_create_memory, .finish = fail_close_fd,
	};

	fail_try(_metadata, &self->base, &op);
}

/* The kernel tries again when a process's own access finds no memory. */
static int call_touch(struct fail_vm *self)
{
	for (unsigned int i = 0; i < 2; i++)
		((volatile char *)self->ram)[i * PAGE_SIZE]++;
	return ((volatile char *)self->ram)[0] == 2 ? 0 : -EILSEQ;
}

static void ram_of_ones(struct fail_vm *self)
{
	memset(self->ram, 1, FAIL_RAM_SIZE);
	close(self->template);
	self->template = vm_freeze(&self->vm);
}

TEST_F(fail_memory, fault_that_copies)
{
	static const struct fail_try op = { .prepare = ram_of_ones, .call = call_touch };

	self->base.template = vm_freeze(&self->base.vm);
	fail_try(_metadata, &self->base, &op);
}

static char *fresh;

/* New memory, all holes: the first page, or the one of zeroes. */
static void new_memory(struct fail_vm *self)
{
	if (fresh) {
		munmap(fresh, FAIL_RAM_SIZE);
		close(self->fd);
	}
	self->fd = memory_create(FAIL_RAM_SIZE);
	fresh = memory_map(self->fd, FAIL_RAM_SIZE);
}

static int call_touch_hole(struct fail_vm *self)
{
	volatile char *memory = fresh;
	char read = memory[PAGE_SIZE];

	(void)self;
	memory[0] = 1;
	return !read && memory[0] == 1 ? 0 : -EILSEQ;
}

TEST_F(fail_memory, fault_in_a_hole)
{
	static const struct fail_try op = { .prepare = new_memory, .call = call_touch_hole };

	fail_try(_metadata, &self->base, &op);
	munmap(fresh, FAIL_RAM_SIZE);
	close(self->base.fd);
}

/* KVM faults the page in that the guest writes. */
static int call_run(struct fail_vm *self)
{
	return __vcpu_run(&self->vm.vcpus[0]);
}

static void count_run(struct fail_vm *self, struct __test_metadata *_metadata)
{
	EXPECT_EQ(KVM_EXIT_IO, self->vm.vcpus[0].run->exit_reason);
	EXPECT_EQ(self->count + 1, *(uint32_t *)vcpu_pio_data(&self->vm.vcpus[0]));
	self->count++;
}

TEST_F(fail_memory, run)
{
	static const struct fail_try op = {
		.prepare = fail_hold_pages, .call = call_run, .finish = count_run, .error = -EFAULT,
	};

	fail_try(_metadata, &self->base, &op);
}

static int call_pwrite(struct fail_vm *self)
{
	ssize_t done = pwrite(self->vm.slots[1].memory_fd, "word", 4, 8);

	return done < 0 ? -errno : 0;
}

static void see_word(struct fail_vm *self, struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, memcmp(self->ram + 8, "word", 4));
}

TEST_F(fail_memory, pwrite)
{
	static const struct fail_try op = {
		.prepare = fail_hold_pages, .call = call_pwrite, .finish = see_word,
	};

	fail_try(_metadata, &self->base, &op);
}

/* As O_DIRECT does: the pages are faulted in by get_user_pages(). */
static int call_vm_writev(struct fail_vm *self)
{
	struct iovec local = { "word", 4 }, remote = { self->ram + 8, 4 };
	ssize_t done = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);

	return done < 0 ? -errno : 0;
}

TEST_F(fail_memory, process_vm_writev)
{
	static const struct fail_try op = {
		.prepare = fail_hold_pages, .call = call_vm_writev, .finish = see_word,
		.error = -EFAULT,
	};

	fail_try(_metadata, &self->base, &op);
}

/* Parts of pages at both ends, and whole ones between them. */
static int call_punch(struct fail_vm *self)
{
	return fallocate(self->vm.slots[1].memory_fd,
			 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE_SIZE / 2,
			 FAIL_RAM_SIZE - PAGE_SIZE) ? -errno : 0;
}

static void see_hole(struct fail_vm *self, struct __test_metadata *_metadata)
{
	EXPECT_NE(0, self->ram[0]);
	for (unsigned long at = PAGE_SIZE / 2; at < FAIL_RAM_SIZE - PAGE_SIZE / 2; at += PAGE_SIZE / 2)
		EXPECT_EQ(0, self->ram[at]);
	EXPECT_NE(0, self->ram[FAIL_RAM_SIZE - PAGE_SIZE / 2]);
}

static void fill_and_hold(struct fail_vm *self)
{
	memset(self->ram, 1, FAIL_RAM_SIZE);
	fail_hold_pages(self);
}

TEST_F(fail_memory, punch)
{
	static const struct fail_try op = {
		.prepare = fill_and_hold, .call = call_punch, .finish = see_hole,
	};

	fail_try(_metadata, &self->base, &op);
}

static int call_open_memory(struct fail_vm *self)
{
	self->fd = __template_open_memory(self->template, 1, 0);
	return self->fd;
}

TEST_F(fail_memory, open_memory)
{
	static const struct fail_try op = {
		.prepare = fail_hold_pages, .call = call_open_memory, .finish = fail_close_fd,
	};

	fail_try(_metadata, &self->base, &op);
}

static int call_diff(struct fail_vm *self)
{
	uint64_t bitmap[FAIL_RAM_PAGES / 64];
	struct kvmfork_diff diff = {
		.size = FAIL_RAM_SIZE,
		.bitmap = (unsigned long)bitmap,
		.other_fd = self->fd,
	};

	return xioctl(self->vm.slots[1].memory_fd, KVMFORK_DIFF, &diff);
}

TEST_F(fail_memory, diff)
{
	static const struct fail_try op = { .call = call_diff };

	self->base.fd = memory_create(FAIL_RAM_SIZE);
	fail_try(_metadata, &self->base, &op);
	close(self->base.fd);
}

TEST_HARNESS_MAIN
