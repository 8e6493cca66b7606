// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_LOAD of states with something changed at random: refused with a message,
 * or a template that can be exported, spawned from and reset to, or says why not.
 * Nothing is lost in any case. KVMFORK_TEST_SEED repeats a run.
 */
#include <stdlib.h>

#include "fork.h"
#include "harness.h"
#include "save.h"

#define RAM_GPA		(16UL << 20)
#define RAM_SIZE	(8 * PAGE_SIZE)
#define MIB		(1LL << 20)

#define NR_VCPUS	2
/* VMs are made of one in so many of those that can be loaded. */
#define SPAWN_ONE_IN	16

FIXTURE(fuzz) {
	struct vm vm;
	int template;
	struct blob right, wrong;
	struct load_call call;
	unsigned int refused, loaded, spawned, reset;
};

FIXTURE_VARIANT(fuzz) {
	enum vm_irqchip irqchip;
};

FIXTURE_VARIANT_ADD(fuzz, kernel_irqchip) { .irqchip = VM_IRQCHIP_KERNEL };
FIXTURE_VARIANT_ADD(fuzz, no_irqchip) { .irqchip = VM_IRQCHIP_NONE };

static unsigned int seed(void)
{
	const char *text = getenv("KVMFORK_TEST_SEED");

	return text ? strtoul(text, NULL, 0) : (unsigned int)test_now_ns();
}

FIXTURE_SETUP(fuzz)
{
	vm_create_default(&self->vm, variant->irqchip, NR_VCPUS);
	vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE);
	vm_memory_add(&self->vm, KVM_MEM_READONLY, 2 * RAM_GPA, RAM_SIZE);
	for (unsigned int i = 0; i < NR_VCPUS; i++)
		vcpu_start(&self->vm.vcpus[i], i, guest_count, 0);
	self->template = vm_freeze(&self->vm);
	template_export(self->template, &self->right);
	self->wrong.bytes = malloc(2 * self->right.size);
	TEST_REQUIRE(self->wrong.bytes, "out of memory");
	load_call_init(&self->call, &self->right, self->template);
}

FIXTURE_TEARDOWN(fuzz)
{
	load_call_close(&self->call);
	free(self->wrong.bytes);
	free(self->right.bytes);
	close(self->template);
	vm_close(&self->vm);
}

static uint32_t pick(uint32_t below)
{
	return ((uint32_t)rand() << 12 ^ rand()) % below;
}

static uint64_t interesting(void)
{
	static const uint64_t values[] = {
		0, 1, 2, 8, 24, 4096, 4097, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x10000,
		0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0xffff000000000000,
		0x7fffffffffffffff, 0x8000000000000000, -1ULL, -4096ULL, 0x0101010101010101,
	};

	return values[pick(ARRAY_LENGTH(values))];
}

static struct kvmfork_state_record *any_record(struct blob *blob)
{
	struct kvmfork_state_record *record = NULL, *found = NULL;
	unsigned int nr = 0;

	while ((record = blob_next(blob, record)))
		if (!pick(++nr))
			found = record;
	return found;
}

/* A number somewhere in a record, its head more often than not. */
static void change_number(struct blob *blob)
{
	static const unsigned int sizes[] = { 1, 4, 4, 8 };
	struct kvmfork_state_record *record = any_record(blob);
	uint64_t room = pick(2) ? sizeof(*record) : blob_record_size(record);
	unsigned int size = sizes[pick(4)];
	uint64_t at = pick(room), value = interesting();

	if (pick(4))
		at &= -(uint64_t)size;
	if (at + size > room)
		at = room - size;
	memcpy((uint8_t *)record + at, &value, size);
}

static void flip_bit(struct blob *blob)
{
	blob->bytes[pick(blob->size)] ^= 1 << pick(8);
}

static void set_size(struct blob *blob, uint64_t size)
{
	blob->size = size;
	((struct kvmfork_state_header *)blob->bytes)->size = size;
}

static void truncate_it(struct blob *blob)
{
	uint64_t size = pick(blob->size);

	if (size < sizeof(struct kvmfork_state_header))
		blob->size = size;
	else
		set_size(blob, pick(2) ? size : size & -8ULL);
}

static void remove_one(struct blob *blob)
{
	struct kvmfork_state_record *record = any_record(blob);
	uint64_t size = blob_record_size(record);
	uint8_t *from = (uint8_t *)record + size;

	memmove(record, from, blob->bytes + blob->size - from);
	set_size(blob, blob->size - size);
}

static void double_one(struct blob *blob)
{
	struct kvmfork_state_record *record = any_record(blob);
	uint64_t size = blob_record_size(record);

	memmove((uint8_t *)record + size, record,
		blob->bytes + blob->size - (uint8_t *)record);
	set_size(blob, blob->size + size);
}

/* A stretch of it over another. */
static void splice(struct blob *blob)
{
	uint64_t size = 1 + pick(256), from = pick(blob->size - size), to = pick(blob->size - size);

	memmove(blob->bytes + to, blob->bytes + from, size);
}

static void change(struct blob *blob)
{
	static void (*const ways[])(struct blob *blob) = {
		change_number, change_number, change_number, flip_bit, flip_bit,
		truncate_it, remove_one, double_one, splice,
	};
	unsigned int way = pick(ARRAY_LENGTH(ways));

	ways[way](blob);
	/* These leave a list of records that can be walked. */
	if (ways[way] == remove_one && !pick(3))
		double_one(blob);
}

static bool spawn_and_close(FIXTURE_DATA(fuzz) *self, int fd)
{
	struct fork_call call;

	spawn_call_init(&call);
	if (fork_call_spawn(&call, fd))
		return call.message[0];
	self->spawned++;
	for (unsigned int i = 0; i < call.args.spawn.nr_mappings; i++) {
		struct kvmfork_mapping *mapping = &call.mappings[i];
		bool seen = false;

		munmap((void *)(unsigned long)mapping->address, mapping->size);
		for (unsigned int j = 0; j < i; j++)
			seen |= call.mappings[j].memory_fd == mapping->memory_fd;
		if (!seen)
			close(mapping->memory_fd);
	}
	for (unsigned int i = 0; i < call.args.spawn.nr_vcpus; i++)
		close(call.vcpus[i].fd);
	close(call.args.spawn.attach_fd);
	close(call.args.spawn.vm_fd);
	return true;
}

/* Into the parent, which can be put right again whatever has become of it. */
static bool reset_and_back(FIXTURE_DATA(fuzz) *self, int fd)
{
	struct reset_call call;
	int ret;

	reset_call_init(&call, &self->vm, fd);
	ret = reset_call_run(&call, self->vm.attach_fd);
	if (ret && !call.message[0])
		return false;
	self->reset += !ret;
	ret = __vm_reset(&self->vm, self->template, RESET_ALL);
	if (!ret)
		return true;
	/* A lock that a guest cannot undo either: see docs/api.rst. */
	vm_close(&self->vm);
	vm_spawn(self->template, &self->vm, &self->vm);
	return true;
}

static bool exports_again(FIXTURE_DATA(fuzz) *self, int fd)
{
	struct load_call call = self->call;
	struct blob blob;
	int again;

	template_export(fd, &blob);
	call.args.state = (unsigned long)blob.bytes;
	call.args.size = blob.size;
	call.args.memory_fds = (unsigned long)self->call.memory_fds;
	again = load_call_run(&call);
	if (again < 0)
		fprintf(stderr, "# what was exported again: %s\n", call.message);
	else
		close(again);
	free(blob.bytes);
	return again >= 0;
}

/* One change, or a few. False: something has gone wrong. */
static bool round_trip(FIXTURE_DATA(fuzz) *self)
{
	int fd;

	self->wrong.size = self->right.size;
	memcpy(self->wrong.bytes, self->right.bytes, self->right.size);
	change(&self->wrong);
	self->call.args.state = (unsigned long)self->wrong.bytes;
	self->call.args.size = self->wrong.size;
	self->call.message[0] = '\0';
	fd = load_call_run(&self->call);
	if (fd < 0) {
		self->refused++;
		return (fd == -EINVAL || fd == -EOPNOTSUPP) && self->call.message[0];
	}
	self->loaded++;
	if (self->loaded % SPAWN_ONE_IN == 0 && !spawn_and_close(self, fd))
		return false;
	if (self->loaded % SPAWN_ONE_IN == 1 && !reset_and_back(self, fd))
		return false;
	if (self->loaded % 4 == 0 && !exports_again(self, fd))
		return false;
	close(fd);
	return true;
}

TEST_F_TIMEOUT(fuzz, mutations, 3600)
{
	unsigned long rounds = test_scaled(10000);
	struct proc_state before, after;
	unsigned int start = seed();
	long long available;

	srand(start);
	/* What the kernel keeps once. */
	for (unsigned int i = 0; i < 100; i++)
		TEST_REQUIRE(round_trip(self), "seed %u: %s", start, self->call.message);
	available = mem_available();
	proc_state_get(&before);
	for (unsigned long i = 0; i < rounds; i++) {
		ASSERT_TRUE(round_trip(self))
			TH_LOG("round %lu of seed %u: %s", i, start, self->call.message);
	}
	proc_state_get(&after);
	TH_LOG("seed %u: %u refused, %u loaded, %u spawned, %u reset; available %+lld KiB", start,
	       self->refused, self->loaded, self->spawned, self->reset,
	       (mem_available() - available) / 1024);
	EXPECT_EQ(before.fds, after.fds);
	EXPECT_EQ(before.maps, after.maps);
	EXPECT_LT(available - mem_available(), 8 * MIB);
	/* Both happen, or the test is of nothing. */
	EXPECT_LT(rounds / 10, self->refused);
	EXPECT_LT(rounds / 10, self->loaded);
	EXPECT_LT(0, self->spawned);
	EXPECT_LT(0, self->reset);
}

TEST_HARNESS_MAIN
