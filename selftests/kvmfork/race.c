// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forks while other threads do what they can to get in the way. What counts is
 * that each call gives a result that its documentation knows, and that every
 * child there is, is whole. KVMFORK_TEST_SECONDS says how long each one lasts.
 */
#include <fcntl.h>
#include <linux/falloc.h>

#include "crowd.h"
#include "fork.h"
#include "harness.h"

#define RAM_GPA		(16UL << 20)
#define RAM_PAGES	64
#define RAM_SIZE	(RAM_PAGES * PAGE_SIZE)

FIXTURE(race) {
	struct __test_metadata *metadata;
	struct vm vm;
	char *ram;
	struct crowd crowd;
};

FIXTURE_SETUP(race)
{
	self->metadata = _metadata;
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	self->ram = vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE);
	memset(self->ram, 0x5a, RAM_SIZE);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
}

FIXTURE_TEARDOWN(race)
{
	vm_close(&self->vm);
}

/* All pages of the child are of one value each, out of those two. */
static bool ram_is_whole(struct vm *vm, char a, char b)
{
	const char *ram = vm_hva(vm, RAM_GPA);

	for (unsigned int page = 0; page < RAM_PAGES; page++) {
		const char *data = ram + page * PAGE_SIZE;

		if ((data[0] != a && data[0] != b) || data[PAGE_SIZE - 1] != data[0]) {
			fprintf(stderr, "# page %u: %d … %d\n", page, data[0],
				data[PAGE_SIZE - 1]);
			return false;
		}
	}
	return true;
}

/* Fork till the time is over; @expected: errors which may come, 0 at the end. */
static void fork_for_a_while(FIXTURE_DATA(race) *self, const int *expected, char a, char b)
{
	struct __test_metadata *_metadata = self->metadata;
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL;
	unsigned long forks = 0, refused = 0;
	struct fork_call call;
	struct vm child;

	while (test_now_ns() < end) {
		int ret;

		fork_call_init(&call, &self->vm);
		ret = fork_call_fork(&call, self->vm.attach_fd);
		if (ret < 0) {
			refused++;
			EXPECT_TRUE(is_one_of(ret, expected))
				TH_LOG("%s: %s", strerror(-ret), call.message);
			continue;
		}
		forks++;
		fork_call_child(&call, &self->vm, &child);
		EXPECT_TRUE(ram_is_whole(&child, a, b));
		vm_close(&child);
	}
	crowd_stop(&self->crowd);
	/* It must work when no one is in the way any more. */
	EXPECT_EQ(0, __vm_fork(&self->vm, &child));
	vm_close(&child);
	TH_LOG("%lu forks, %lu refused; the others: %lu, %lu", forks, refused, self->crowd.done[0],
	       self->crowd.done[1]);
	EXPECT_LT(0, forks);
	EXPECT_LT(0, self->crowd.done[0]);
}

static void *punch(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	unsigned int page = 0;

	while (!crowd_stopped(&self->crowd)) {
		page = (page * 5 + 3) % RAM_PAGES;
		fallocate(self->vm.slots[1].memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  page * PAGE_SIZE, PAGE_SIZE);
		self->crowd.done[0]++;
	}
	return NULL;
}

TEST_F(race, punching_holes)
{
	crowd_start(&self->crowd, punch, self);
	fork_for_a_while(self, (int[]){ 0 }, 0x5a, 0);
}

/* Written whole pages at a time, by pwrite(). */
static void *write_pages(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	char page[PAGE_SIZE];

	while (!crowd_stopped(&self->crowd)) {
		memset(page, self->crowd.done[1] & 1 ? 0x5a : 0, PAGE_SIZE);
		pwrite(self->vm.slots[1].memory_fd, page, PAGE_SIZE,
		       self->crowd.done[1] % RAM_PAGES * PAGE_SIZE);
		self->crowd.done[1]++;
	}
	return NULL;
}

/* A page of the child may be half of a pwrite(), hence only the fork matters. */
TEST_F(race, punching_and_writing)
{
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL;
	struct vm child;

	crowd_start(&self->crowd, punch, self);
	crowd_start(&self->crowd, write_pages, self);
	while (test_now_ns() < end) {
		uint64_t sum[2] = {};

		ASSERT_EQ(0, __vm_fork(&self->vm, &child));
		for (int i = 0; i < 2; i++)
			for (unsigned int at = 0; at < RAM_SIZE; at += 8)
				sum[i] += *(uint64_t *)((char *)vm_hva(&child, RAM_GPA) + at);
		/* It does not change afterwards. */
		EXPECT_EQ(sum[0], sum[1]);
		vm_close(&child);
	}
	crowd_stop(&self->crowd);
}

static void *unmap(void *arg)
{
	FIXTURE_DATA(race) *self = arg;

	while (!crowd_stopped(&self->crowd)) {
		munmap(self->ram + 8 * PAGE_SIZE, 8 * PAGE_SIZE);
		mmap(self->ram + 8 * PAGE_SIZE, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED, self->vm.slots[1].memory_fd, 8 * PAGE_SIZE);
		self->crowd.done[0]++;
	}
	return NULL;
}

TEST_F(race, unmapping)
{
	crowd_start(&self->crowd, unmap, self);
	fork_for_a_while(self, (int[]){ -EMEDIUMTYPE, 0 }, 0x5a, 0x5a);
}

/* Protections come and go; what is read only can still be forked. */
static void *protect(void *arg)
{
	FIXTURE_DATA(race) *self = arg;

	while (!crowd_stopped(&self->crowd)) {
		mprotect(self->ram, 8 * PAGE_SIZE, self->crowd.done[0] & 1 ? PROT_READ :
			 PROT_READ | PROT_WRITE);
		madvise(self->ram, RAM_SIZE, MADV_DONTNEED);
		self->crowd.done[0]++;
	}
	mprotect(self->ram, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	return NULL;
}

TEST_F(race, protections)
{
	crowd_start(&self->crowd, protect, self);
	fork_for_a_while(self, (int[]){ 0 }, 0x5a, 0x5a);
}

/* All fds that a fork may just be making, taken away. */
static void *close_new_fds(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	int first = dup(0);

	while (!crowd_stopped(&self->crowd)) {
		for (int fd = first; fd < first + 8; fd++)
			self->crowd.done[0] += !close(fd);
	}
	return NULL;
}

TEST_F(race, closing_what_is_being_made)
{
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL;
	struct fork_call call;

	crowd_start(&self->crowd, close_new_fds, self);
	while (test_now_ns() < end) {
		fork_call_init(&call, &self->vm);
		if (fork_call_fork(&call, self->vm.attach_fd))
			continue;
		for (unsigned int i = 0; i < call.args.spawn.nr_mappings; i++)
			munmap((void *)(unsigned long)call.mappings[i].address,
			       call.mappings[i].size);
	}
	crowd_stop(&self->crowd);
	EXPECT_LT(0, self->crowd.done[0]);
}

/* The fds of the call itself: another VM's, none, and right again. */
static void *swap_vcpu_fd(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	int fd = self->vm.vcpus[0].fd, copy = dup(fd), null = open("/dev/null", O_RDWR);

	while (!crowd_stopped(&self->crowd)) {
		close(fd);
		dup2(null, fd);
		dup2(copy, fd);
		self->crowd.done[0]++;
	}
	dup2(copy, fd);
	close(copy);
	close(null);
	return NULL;
}

TEST_F(race, changing_the_vcpu_fd)
{
	crowd_start(&self->crowd, swap_vcpu_fd, self);
	fork_for_a_while(self, (int[]){ -EBADF, 0 }, 0x5a, 0x5a);
}

static void *attach_and_detach(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	struct vm other;

	vm_create_default(&other, VM_IRQCHIP_NONE, 0);
	while (!crowd_stopped(&self->crowd)) {
		close(other.attach_fd);
		other.attach_fd = vm_attach(other.vm_fd);
		__vm_trap(other.attach_fd, KVMFORK_TRAP_UD);
		self->crowd.done[0]++;
	}
	vm_close(&other);
	return NULL;
}

TEST_F(race, attaching)
{
	crowd_start(&self->crowd, attach_and_detach, self);
	fork_for_a_while(self, (int[]){ 0 }, 0x5a, 0x5a);
}

static void *run_guest(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	struct vcpu *vcpu = &self->vm.vcpus[0];

	while (!crowd_stopped(&self->crowd)) {
		int ret = __vcpu_run(vcpu);

		/* EINTR is also what a fork's own completion looks like. */
		TEST_REQUIRE(!ret || ret == -EINTR, "KVM_RUN: %s", strerror(-ret));
		self->crowd.done[0]++;
		if (self->crowd.done[0] % 64 == 0)
			usleep(500);
	}
	return NULL;
}

TEST_F(race, running)
{
	crowd_start(&self->crowd, run_guest, self);
	fork_for_a_while(self, (int[]){ -EBUSY, -EINPROGRESS, 0 }, 0x5a, 0x5a);
}

static void *fork_too(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	struct __test_metadata *_metadata = self->metadata;

	while (!crowd_stopped(&self->crowd)) {
		struct fork_call call;
		struct vm child;
		int ret;

		fork_call_init(&call, &self->vm);
		ret = fork_call_fork(&call, self->vm.attach_fd);
		EXPECT_TRUE(ret == 0 || ret == -EALREADY || ret == -EBUSY)
			TH_LOG("%s: %s", strerror(-ret), call.message);
		if (ret)
			continue;
		fork_call_child(&call, &self->vm, &child);
		EXPECT_TRUE(ram_is_whole(&child, 0x5a, 0x5a));
		vm_close(&child);
		self->crowd.done[0]++;
	}
	return NULL;
}

TEST_F(race, two_forks)
{
	crowd_start(&self->crowd, fork_too, self);
	fork_for_a_while(self, (int[]){ -EALREADY, -EBUSY, 0 }, 0x5a, 0x5a);
}

static void *add_and_remove_slot(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	int fd = memory_create(RAM_SIZE);
	void *hva = memory_map(fd, RAM_SIZE);

	while (!crowd_stopped(&self->crowd)) {
		__vm_slot_set(&self->vm, 5, 0, 2 * RAM_GPA, RAM_SIZE, hva);
		__vm_slot_set(&self->vm, 5, 0, 2 * RAM_GPA, 0, NULL);
		self->crowd.done[0]++;
	}
	close(fd);
	return NULL;
}

TEST_F(race, changing_slots)
{
	crowd_start(&self->crowd, add_and_remove_slot, self);
	fork_for_a_while(self, (int[]){ 0 }, 0x5a, 0x5a);
}

TEST_HARNESS_MAIN
