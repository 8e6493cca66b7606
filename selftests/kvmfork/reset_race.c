// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resets while other threads do what they can to get in the way. Each call gives a
 * result that its documentation knows; in the end the VM is what the template
 * is, the same by every way of looking. KVMFORK_TEST_SECONDS: how long each lasts.
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
	struct vm vm, child;
	int template;
	char *ram;
	int ram_fd;
	struct crowd crowd;
	unsigned long resets, refused, wrong;
};

FIXTURE_SETUP(race)
{
	self->metadata = _metadata;
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	memset(vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE), 't', RAM_SIZE);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	self->ram = self->child.slots[1].hva;
	self->ram_fd = self->child.slots[1].memory_fd;
}

FIXTURE_TEARDOWN(race)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

/* By the mapping and by the file. */
static bool ram_is_as_in_the_template(struct vm *vm)
{
	char *map = vm_hva(vm, RAM_GPA), page[PAGE_SIZE];

	for (unsigned int nr = 0; nr < RAM_PAGES; nr++) {
		if (pread(vm->slots[1].memory_fd, page, PAGE_SIZE, nr * PAGE_SIZE) != PAGE_SIZE)
			return false;
		for (unsigned int i = 0; i < PAGE_SIZE; i++) {
			if (page[i] == 't' && map[nr * PAGE_SIZE + i] == 't')
				continue;
			fprintf(stderr, "# page %u: 0x%02x, 0x%02x by its mapping\n", nr, page[i],
				map[nr * PAGE_SIZE + i]);
			return false;
		}
	}
	return true;
}

static void check_end(FIXTURE_DATA(race) *self)
{
	struct __test_metadata *_metadata = self->metadata;
	struct vm other;

	vm_reset(&self->child, self->template);
	EXPECT_TRUE(ram_is_as_in_the_template(&self->child));
	if (!getenv("KVMFORK_TEST_KEEP"))
		EXPECT_EQ(0, fdinfo_value(self->ram_fd, "kvmfork-private"));
	EXPECT_EQ(1, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	vm_spawn(self->template, &self->vm, &other);
	EXPECT_TRUE(ram_is_as_in_the_template(&other));
	EXPECT_EQ(1, vcpu_run_to_port(&other.vcpus[0], PORT_SYNC));
	vm_close(&other);
	EXPECT_TRUE(ram_is_as_in_the_template(&self->vm));
	TH_LOG("%lu resets, %lu refused; the others: %lu, %lu", self->resets, self->refused,
	       self->crowd.done[0], self->crowd.done[1]);
	EXPECT_EQ(0, self->wrong);
	EXPECT_LT(0, self->resets);
	EXPECT_LT(0, self->crowd.done[0]);
}

/*
 * Reset till the time is over, and once at least; @expected: errors which may come,
 * 0 at the end.
 */
static void reset_for_a_while(FIXTURE_DATA(race) *self, const int *expected)
{
	struct __test_metadata *_metadata = self->metadata;
	uint64_t period = test_seconds() * 1000000000ULL, end = test_now_ns() + period;
	struct reset_call call;

	while (test_now_ns() < (self->resets ? end : end + 10 * period)) {
		int ret;

		reset_call_init(&call, &self->child, self->template);
		ret = reset_call_run(&call, self->child.attach_fd);
		if (!ret) {
			self->resets++;
			continue;
		}
		self->refused++;
		EXPECT_TRUE(is_one_of(ret, expected))
			TH_LOG("%s: %s", strerror(-ret), call.message);
	}
	crowd_stop(&self->crowd);
	check_end(self);
}

/* What is read back is what was written, or what it has been reset to since. */
static void note(FIXTURE_DATA(race) *self, char value, char written)
{
	if (value != written && value != 't')
		__atomic_fetch_add(&self->wrong, 1, __ATOMIC_RELAXED);
}

static void *write_by_mapping(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	volatile char *ram = self->ram;

	for (unsigned long i = 0; !crowd_stopped(&self->crowd); i++) {
		unsigned long at = i * 37 % RAM_PAGES * PAGE_SIZE + i % PAGE_SIZE;

		ram[at] = 'm';
		note(self, ram[at], 'm');
		self->crowd.done[0]++;
	}
	return NULL;
}

static void *write_by_file(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	char page[PAGE_SIZE];

	for (unsigned long i = 0; !crowd_stopped(&self->crowd); i++) {
		off_t at = (off_t)(i * 11 % RAM_PAGES * PAGE_SIZE);

		memset(page, 'f', PAGE_SIZE);
		if (i & 1)
			pwrite(self->ram_fd, page, PAGE_SIZE, at);
		else
			pread(self->ram_fd, page, PAGE_SIZE, at);
		self->crowd.done[1]++;
	}
	return NULL;
}

TEST_F(race, writing_by_the_mapping)
{
	crowd_start(&self->crowd, write_by_mapping, self);
	reset_for_a_while(self, (int[]){ 0 });
}

static void *count_files(void *arg)
{
	FIXTURE_DATA(race) *self = arg;

	while (!crowd_stopped(&self->crowd)) {
		if (fdinfo_value(self->ram_fd, "kvmfork-private") > (long long)RAM_SIZE)
			self->wrong++;
		lseek(self->ram_fd, 0, SEEK_HOLE);
		self->crowd.done[0]++;
	}
	return NULL;
}

TEST_F(race, writing_and_reading_by_the_file)
{
	crowd_start(&self->crowd, write_by_file, self);
	crowd_start(&self->crowd, count_files, self);
	reset_for_a_while(self, (int[]){ 0 });
}

static void *punch(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	volatile char *ram = self->ram;

	for (unsigned long i = 0; !crowd_stopped(&self->crowd); i++) {
		off_t at = (off_t)(i * 5 % RAM_PAGES * PAGE_SIZE);

		fallocate(self->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
			  3 * PAGE_SIZE);
		note(self, ram[at], 0);
		self->crowd.done[0]++;
	}
	return NULL;
}

TEST_F(race, punching_holes)
{
	crowd_start(&self->crowd, punch, self);
	reset_for_a_while(self, (int[]){ 0 });
}

static void *unmap(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	char *at = self->ram + 8 * PAGE_SIZE;

	while (!crowd_stopped(&self->crowd)) {
		munmap(at, 8 * PAGE_SIZE);
		mmap(at, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     self->ram_fd, 8 * PAGE_SIZE);
		memset(at, 'u', 8 * PAGE_SIZE);
		madvise(self->ram, RAM_SIZE, MADV_DONTNEED);
		self->crowd.done[0]++;
	}
	return NULL;
}

TEST_F(race, unmapping)
{
	crowd_start(&self->crowd, unmap, self);
	reset_for_a_while(self, (int[]){ -EMEDIUMTYPE, 0 });
}

static void *reset_too(void *arg)
{
	FIXTURE_DATA(race) *self = arg;

	while (!crowd_stopped(&self->crowd)) {
		uint64_t begin = test_now_ns();
		struct reset_call call;
		int ret;

		reset_call_init(&call, &self->child, self->template);
		ret = reset_call_run(&call, self->child.attach_fd);
		/* Busy: with what a call of the other thread does to the vCPU. */
		if (ret && ret != -EALREADY && ret != -EBUSY) {
			fprintf(stderr, "# %s: %s\n", strerror(-ret), call.message);
			self->wrong++;
		}
		self->crowd.done[0]++;
		/* With one CPU it would be in the midst of it whenever the other runs. */
		usleep((test_now_ns() - begin) / 1000);
	}
	return NULL;
}

TEST_F(race, two_resets)
{
	crowd_start(&self->crowd, reset_too, self);
	crowd_start(&self->crowd, write_by_file, self);
	reset_for_a_while(self, (int[]){ -EALREADY, -EBUSY, 0 });
}

/* The VM is frozen, and children made of it, while it is reset. */
static void *freeze_and_fork(void *arg)
{
	FIXTURE_DATA(race) *self = arg;

	while (!crowd_stopped(&self->crowd)) {
		struct fork_call call;
		struct vm other;
		int ret;

		fork_call_init(&call, &self->child);
		ret = fork_call_fork(&call, self->child.attach_fd);
		self->crowd.done[0]++;
		/* KVM_CREATE_VM, kicked by stop(). */
		if (ret == -EINTR && crowd_stopped(&self->crowd))
			break;
		if (ret && ret != -EALREADY && ret != -EBUSY) {
			fprintf(stderr, "# %s: %s\n", strerror(-ret), call.message);
			self->wrong++;
		}
		if (ret)
			continue;
		fork_call_child(&call, &self->child, &other);
		self->crowd.done[1]++;
		self->wrong += !ram_is_as_in_the_template(&other);
		vm_close(&other);
	}
	return NULL;
}

TEST_F(race, freezing)
{
	crowd_start(&self->crowd, freeze_and_fork, self);
	reset_for_a_while(self, (int[]){ -EALREADY, -EBUSY, 0 });
}

/* The parent's pages are the template's, until it writes. */
static void *write_parent(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	char *ram = self->vm.slots[1].hva;

	while (!crowd_stopped(&self->crowd)) {
		int fd = __vm_freeze(&self->vm);

		memset(ram, 'p', RAM_SIZE);
		memset(ram, 't', RAM_SIZE);
		close(fd);
		self->crowd.done[0]++;
	}
	return NULL;
}

TEST_F(race, writing_parent)
{
	crowd_start(&self->crowd, write_parent, self);
	crowd_start(&self->crowd, write_by_file, self);
	reset_for_a_while(self, (int[]){ 0 });
}

/* Kicked by stop(), which may come just before KVM_RUN: hence in turns. */
static void *run_guest(void *arg)
{
	FIXTURE_DATA(race) *self = arg;

	while (!crowd_stopped(&self->crowd)) {
		int ret = __vcpu_run(&self->child.vcpus[0]);

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
	reset_for_a_while(self, (int[]){ -EBUSY, -EINPROGRESS, 0 });
}

static void *change_slots(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	int fd = memory_create(RAM_SIZE);
	void *hva = memory_map(fd, RAM_SIZE);

	while (!crowd_stopped(&self->crowd)) {
		__vm_slot_set(&self->child, 5, 0, 2 * RAM_GPA, RAM_SIZE, hva);
		__vm_slot_set(&self->child, 5, 0, 2 * RAM_GPA, 0, NULL);
		usleep(100);
		self->crowd.done[0]++;
	}
	close(fd);
	return NULL;
}

TEST_F(race, changing_slots)
{
	crowd_start(&self->crowd, change_slots, self);
	reset_for_a_while(self, (int[]){ -ESTALE, 0 });
}

static void *swap_template(void *arg)
{
	FIXTURE_DATA(race) *self = arg;
	int copy = dup(self->template), null = open("/dev/null", O_RDWR);

	while (!crowd_stopped(&self->crowd)) {
		dup2(null, self->template);
		dup2(copy, self->template);
		self->crowd.done[0]++;
	}
	close(copy);
	close(null);
	return NULL;
}

TEST_F(race, changing_the_template_fd)
{
	crowd_start(&self->crowd, swap_template, self);
	reset_for_a_while(self, (int[]){ -EBADF, 0 });
}

TEST_HARNESS_MAIN
