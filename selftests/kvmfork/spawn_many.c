// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_SPAWN_MANY: children of one call, and what is left of calls that fail. */
#include <sys/resource.h>

#include "fork.h"
#include "harness.h"

#define COUNT		6
#define RAM_GPA		(16UL << 20)
#define RAM_SIZE	(4 * PAGE_SIZE)

/* Of a child: VM, attach file, two vCPUs, two memory files. */
#define FDS_OF_A_CHILD	6

FIXTURE(many) {
	struct vm vm, children[COUNT];
	int template;
	struct kvmfork_spawn_many args;
	struct fork_call calls[COUNT];
	struct kvmfork_spawn spawns[COUNT];
	int32_t results[COUNT];
};

static void prepare(FIXTURE_DATA(many) *self)
{
	self->args = (struct kvmfork_spawn_many) {
		.spawns = (unsigned long)self->spawns,
		.results = (unsigned long)self->results,
		.count = COUNT,
		.nr_spawned = 77,
	};
	for (int i = 0; i < COUNT; i++) {
		spawn_call_init(&self->calls[i]);
		self->spawns[i] = self->calls[i].args.spawn;
		self->spawns[i].message = (unsigned long)self->calls[i].message;
		self->spawns[i].message_size = sizeof(self->calls[i].message);
		self->results[i] = 77;
	}
}

FIXTURE_SETUP(many)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 2);
	memset(vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE), 't', RAM_SIZE);
	for (unsigned int i = 0; i < 2; i++)
		vcpu_start(&self->vm.vcpus[i], i, guest_count, 1000 * i);
	self->template = vm_freeze(&self->vm);
	prepare(self);
}

FIXTURE_TEARDOWN(many)
{
	close(self->template);
	vm_close(&self->vm);
}

static int call(FIXTURE_DATA(many) *self)
{
	return xioctl(self->template, KVMFORK_SPAWN_MANY, &self->args);
}

/* The call shall fail; -EPROTO when it left something. */
static int call_failing(FIXTURE_DATA(many) *self)
{
	struct proc_state before, after;
	int ret;

	proc_state_get(&before);
	ret = call(self);
	proc_state_get(&after);
	if (ret < 0 && !proc_state_equal(&before, &after)) {
		fprintf(stderr, "# left behind: %d fds, %d mappings (%s)\n",
			(int)(after.fds - before.fds), (int)(after.maps - before.maps),
			strerror(-ret));
		return -EPROTO;
	}
	return ret;
}

static void take_child(FIXTURE_DATA(many) *self, int i)
{
	self->calls[i].args.spawn = self->spawns[i];
	fork_call_child(&self->calls[i], &self->vm, &self->children[i]);
}

/* It runs, both vCPUs, and what it writes is its own. */
static bool child_works(FIXTURE_DATA(many) *self, int i)
{
	struct vm *child = &self->children[i];
	char *ram = vm_hva(child, RAM_GPA);

	if (ram[0] != 't' || ram[RAM_SIZE - 1] != 't')
		return false;
	memset(ram, 'a' + i, RAM_SIZE);
	for (uint32_t round = 1; round < 4; round++) {
		if (vcpu_run_to_port(&child->vcpus[0], PORT_SYNC) != round ||
		    vcpu_run_to_port(&child->vcpus[1], PORT_SYNC) != 1000 + round)
			return false;
	}
	return *(volatile char *)vm_hva(&self->vm, RAM_GPA) == 't' && ram[0] == 'a' + i;
}

/* All of those with result 0, and only these: closed, they leave nothing. */
static void expect_children(FIXTURE_DATA(many) *self, struct __test_metadata *_metadata,
			    const struct proc_state *before)
{
	struct proc_state after;
	uint32_t spawned = 0;

	for (int i = 0; i < COUNT; i++) {
		if (self->results[i])
			continue;
		spawned++;
		take_child(self, i);
	}
	EXPECT_EQ(spawned, self->args.nr_spawned);
	for (int i = 0; i < COUNT; i++) {
		if (self->results[i])
			continue;
		EXPECT_TRUE(child_works(self, i))
			TH_LOG("child %d", i);
	}
	for (int i = 0; i < COUNT; i++)
		if (!self->results[i])
			vm_close(&self->children[i]);
	proc_state_get(&after);
	EXPECT_TRUE(proc_state_equal(before, &after));
}

TEST_F(many, all_run)
{
	struct proc_state before;

	proc_state_get(&before);
	ASSERT_EQ(0, call(self));
	EXPECT_EQ(COUNT, self->args.nr_spawned);
	for (int i = 0; i < COUNT; i++) {
		EXPECT_EQ(0, self->results[i]);
		EXPECT_EQ(2, self->spawns[i].nr_vcpus);
		EXPECT_EQ(2, self->spawns[i].nr_mappings);
	}
	expect_children(self, _metadata, &before);
}

TEST_F(many, all_or_none)
{
	struct proc_state before;

	proc_state_get(&before);
	self->args.flags = KVMFORK_SPAWN_MANY_ALL;
	ASSERT_EQ(0, call(self));
	EXPECT_EQ(COUNT, self->args.nr_spawned);
	expect_children(self, _metadata, &before);
}

TEST_F(many, fewer)
{
	struct proc_state before;

	proc_state_get(&before);
	self->args.count = 1;
	ASSERT_EQ(0, call(self));
	EXPECT_EQ(1, self->args.nr_spawned);
	for (int i = 1; i < COUNT; i++)
		EXPECT_EQ(77, self->results[i]);
	expect_children(self, _metadata, &before);
}

static void spoil_flags(struct kvmfork_spawn *spawn)
{
	spawn->flags = 1ULL << 40;
}

static void spoil_kvm_fd(struct kvmfork_spawn *spawn)
{
	spawn->kvm_fd = -1;
}

static void spoil_room(struct kvmfork_spawn *spawn)
{
	spawn->nr_vcpus = 1;
}

static void spoil_pointer(struct kvmfork_spawn *spawn)
{
	spawn->mappings = 8;
}

/* Where the parent still has its memory. */
static void spoil_place(struct kvmfork_spawn *spawn)
{
	spawn->flags = KVMFORK_SPAWN_FIXED;
}

static const struct {
	const char *name;
	void (*spoil)(struct kvmfork_spawn *spawn);
	int error;
	bool message;
} spoilers[] = {
	{ "unknown flag", spoil_flags, -EINVAL, false },
	{ "no /dev/kvm", spoil_kvm_fd, -EBADF, true },
	{ "too little room", spoil_room, -E2BIG, false },
	{ "bad pointer", spoil_pointer, -EFAULT, false },
	{ "place is taken", spoil_place, -EEXIST, true },
};

TEST_F(many, one_bad_among_good_ones)
{
	struct proc_state before;

	proc_state_get(&before);
	for (size_t s = 0; s < ARRAY_LENGTH(spoilers); s++) {
		int bad = s % COUNT;

		TH_LOG("%s, child %d", spoilers[s].name, bad);
		prepare(self);
		spoilers[s].spoil(&self->spawns[bad]);
		ASSERT_EQ(0, call(self));
		EXPECT_EQ(COUNT - 1, self->args.nr_spawned);
		for (int i = 0; i < COUNT; i++)
			EXPECT_EQ(i == bad ? spoilers[s].error : 0, self->results[i]);
		EXPECT_EQ(spoilers[s].message, !!self->calls[bad].message[0]);
		EXPECT_EQ(2, self->spawns[COUNT - 1].nr_vcpus);
		expect_children(self, _metadata, &before);
	}
}

TEST_F(many, one_bad_and_none_is_made)
{
	for (size_t s = 0; s < ARRAY_LENGTH(spoilers); s++) {
		for (int bad = 0; bad < COUNT; bad += COUNT - 1) {
			TH_LOG("%s, child %d", spoilers[s].name, bad);
			prepare(self);
			self->args.flags = KVMFORK_SPAWN_MANY_ALL;
			spoilers[s].spoil(&self->spawns[bad]);
			EXPECT_EQ(spoilers[s].error, call_failing(self));
			for (int i = 0; i < COUNT; i++)
				EXPECT_EQ(i == bad ? spoilers[s].error : -ECANCELED,
					  self->results[i]);
			EXPECT_EQ(spoilers[s].message, !!self->calls[bad].message[0]);
		}
	}
	/* The right ones of those are still right. */
	prepare(self);
	EXPECT_EQ(0, call(self));
}

TEST_F(many, all_bad)
{
	for (int i = 0; i < COUNT; i++)
		spoil_kvm_fd(&self->spawns[i]);
	EXPECT_EQ(0, call_failing(self));
	EXPECT_EQ(0, self->args.nr_spawned);
	for (int i = 0; i < COUNT; i++)
		EXPECT_EQ(-EBADF, self->results[i]);
}

/* There are fds for @nr children and a few more. */
static int call_with_few_fds(FIXTURE_DATA(many) *self, unsigned int nr, unsigned int more)
{
	struct rlimit limit, old;
	int free_fd = dup(0), ret;

	close(free_fd);
	getrlimit(RLIMIT_NOFILE, &old);
	limit = old;
	limit.rlim_cur = free_fd + nr * FDS_OF_A_CHILD + more;
	setrlimit(RLIMIT_NOFILE, &limit);
	ret = call(self);
	setrlimit(RLIMIT_NOFILE, &old);
	return ret;
}

TEST_F(many, few_file_descriptors)
{
	struct proc_state before, after;

	proc_state_get(&before);
	for (unsigned int more = 0; more < FDS_OF_A_CHILD; more++) {
		prepare(self);
		ASSERT_EQ(0, call_with_few_fds(self, 3, more));
		EXPECT_EQ(3, self->args.nr_spawned);
		for (int i = 0; i < COUNT; i++)
			EXPECT_EQ(i < 3 ? 0 : -EMFILE, self->results[i]);
		expect_children(self, _metadata, &before);

		prepare(self);
		self->args.flags = KVMFORK_SPAWN_MANY_ALL;
		EXPECT_EQ(-EMFILE, call_with_few_fds(self, 3, more));
		for (int i = 0; i < COUNT; i++)
			EXPECT_EQ(i == 3 ? -EMFILE : -ECANCELED, self->results[i]);
		proc_state_get(&after);
		EXPECT_TRUE(proc_state_equal(&before, &after));
	}
}

TEST_F(many, counts)
{
	self->args.count = 0;
	EXPECT_EQ(-EINVAL, call_failing(self));
	self->args.count = KVMFORK_SPAWN_MANY_MAX + 1;
	EXPECT_EQ(-E2BIG, call_failing(self));
	self->args.count = 0xffffffff;
	EXPECT_EQ(-E2BIG, call_failing(self));
	EXPECT_EQ(77, self->results[0]);
}

TEST_F(many, unknown_flags_and_reserved_fields)
{
	for (unsigned int bit = 1; bit < 64; bit++) {
		self->args.flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, call_failing(self))
			TH_LOG("flag bit %u", bit);
	}
	for (int i = 0; i < 2; i++) {
		prepare(self);
		self->args.reserved[i] = 1ULL << (40 * i);
		EXPECT_EQ(-EINVAL, call_failing(self));
	}
}

/* Nobody would know of the children. */
TEST_F(many, bad_pointers)
{
	static const uint64_t pointers[] = { 0, 8, 0x8000000000000000ULL };
	static const uint64_t flags[] = { 0, KVMFORK_SPAWN_MANY_ALL };

	for (size_t f = 0; f < ARRAY_LENGTH(flags); f++) {
		for (size_t p = 0; p < ARRAY_LENGTH(pointers); p++) {
			prepare(self);
			self->args.flags = flags[f];
			self->args.results = pointers[p];
			EXPECT_EQ(-EFAULT, call_failing(self));
			prepare(self);
			self->args.flags = flags[f];
			self->args.spawns = pointers[p];
			/* It is the children of which there are none. */
			EXPECT_EQ(flags[f] ? -EFAULT : 0, call_failing(self));
			EXPECT_EQ(flags[f] ? 77 : 0, self->args.nr_spawned);
			for (int i = 0; i < COUNT; i++)
				EXPECT_EQ(flags[f] && i ? -ECANCELED : -EFAULT, self->results[i]);
		}
	}
}

/* The first half of the array can be read, the other cannot. */
TEST_F(many, end_of_the_memory)
{
	size_t size = COUNT / 2 * sizeof(self->spawns[0]);
	char *pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvmfork_spawn *spawns = (void *)(pages + PAGE_SIZE - size);
	struct proc_state before;

	ASSERT_NE(MAP_FAILED, pages);
	mprotect(pages + PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	proc_state_get(&before);
	memcpy(spawns, self->spawns, size);
	self->args.spawns = (unsigned long)spawns;
	ASSERT_EQ(0, call(self));
	EXPECT_EQ(COUNT / 2, self->args.nr_spawned);
	for (int i = 0; i < COUNT; i++)
		EXPECT_EQ(i < COUNT / 2 ? 0 : -EFAULT, self->results[i]);
	memcpy(self->spawns, spawns, size);
	expect_children(self, _metadata, &before);
	munmap(pages, 2 * PAGE_SIZE);
}

/* As ukrun would, were there one process for all: nothing but memory. */
TEST(hundred)
{
	const unsigned int count = 100;
	struct kvmfork_spawn *spawns = calloc(count, sizeof(*spawns));
	struct kvmfork_mapping *mappings = calloc(count, sizeof(*mappings));
	int32_t *results = calloc(count, sizeof(*results));
	struct kvmfork_spawn_many args = {
		.flags = KVMFORK_SPAWN_MANY_ALL,
		.spawns = (unsigned long)spawns,
		.results = (unsigned long)results,
		.count = count,
	};
	struct proc_state before, after;
	struct vm vm;
	int fd;

	vm_create(&vm, VM_IRQCHIP_NONE);
	vm_memory_add(&vm, 0, 0, 64 * PAGE_SIZE);
	vm.attach_fd = vm_attach(vm.vm_fd);
	*(char *)vm_hva(&vm, 0) = 't';
	fd = vm_freeze(&vm);
	proc_state_get(&before);
	for (unsigned int i = 0; i < count; i++) {
		spawns[i].mappings = (unsigned long)&mappings[i];
		spawns[i].nr_mappings = 1;
		spawns[i].kvm_fd = kvm_device();
	}
	ASSERT_EQ(0, xioctl(fd, KVMFORK_SPAWN_MANY, &args));
	EXPECT_EQ(count, args.nr_spawned);
	for (unsigned int i = 0; i < count; i++) {
		volatile char *ram = (char *)(unsigned long)mappings[i].address;

		EXPECT_EQ('t', ram[0]);
		ram[0] = i;
	}
	for (unsigned int i = 0; i < count; i++) {
		char *ram = (char *)(unsigned long)mappings[i].address;

		EXPECT_EQ((char)i, ram[0]);
		munmap(ram, mappings[i].size);
		close(mappings[i].memory_fd);
		close(spawns[i].attach_fd);
		close(spawns[i].vm_fd);
	}
	proc_state_get(&after);
	EXPECT_TRUE(proc_state_equal(&before, &after));
	close(fd);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
