// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_SPAWN: arguments, limits, what is left behind by failures. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "fork.h"
#include "harness.h"

#define SECOND_GPA	(16UL << 20)
#define SECOND_SIZE	(4 * PAGE_SIZE)

FIXTURE(spawn) {
	struct vm vm;
	int template;
	struct fork_call call;
};

FIXTURE_SETUP(spawn)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 2);
	vm_memory_add(&self->vm, 0, SECOND_GPA, SECOND_SIZE);
	*(uint64_t *)vm_hva(&self->vm, GUEST_DATA) = 0x1122334455667788;
	self->template = vm_freeze(&self->vm);
	fork_call_init(&self->call, &self->vm);
}

FIXTURE_TEARDOWN(spawn)
{
	close(self->template);
	vm_close(&self->vm);
}

/* Spawn shall fail; -EPROTO when it left something. */
static int spawn_failing(FIXTURE_DATA(spawn) *self)
{
	struct proc_state before, after;
	int ret;

	proc_state_get(&before);
	ret = fork_call_spawn(&self->call, self->template);
	proc_state_get(&after);
	if (ret < 0 && !proc_state_equal(&before, &after)) {
		fprintf(stderr, "# left behind: %d fds, %d mappings (%s)\n",
			(int)(after.fds - before.fds), (int)(after.maps - before.maps),
			strerror(-ret));
		return -EPROTO;
	}
	return ret;
}

static uint64_t first_word(struct vm *vm)
{
	return *(volatile uint64_t *)vm_hva(vm, GUEST_DATA);
}

TEST_F(spawn, results)
{
	const struct kvmfork_spawn *spawn = &self->call.args.spawn;
	struct vm child;

	ASSERT_EQ(0, fork_call_spawn(&self->call, self->template));
	EXPECT_EQ(2, spawn->nr_vcpus);
	EXPECT_EQ(2, spawn->nr_mappings);
	EXPECT_EQ(FD_CLOEXEC, fcntl(spawn->vm_fd, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(spawn->attach_fd, F_GETFD));
	for (unsigned int i = 0; i < spawn->nr_vcpus; i++) {
		EXPECT_EQ(i, self->call.vcpus[i].id);
		EXPECT_EQ(FD_CLOEXEC, fcntl(self->call.vcpus[i].fd, F_GETFD));
	}
	for (unsigned int i = 0; i < spawn->nr_mappings; i++) {
		EXPECT_EQ(0, self->call.mappings[i].reserved);
		EXPECT_EQ(0, self->call.mappings[i].offset);
		EXPECT_EQ(FD_CLOEXEC, fcntl(self->call.mappings[i].memory_fd, F_GETFD));
		if (i) {
			EXPECT_LT(self->call.mappings[i - 1].parent_address,
				  self->call.mappings[i].parent_address);
		}
	}
	fork_call_child(&self->call, &self->vm, &child);
	EXPECT_EQ(0x1122334455667788, first_word(&child));
	EXPECT_EQ((long long)SECOND_SIZE,
		  fdinfo_value(child.slots[1].memory_fd, "kvmfork-size"));
	/* All of it is what it says it is. */
	EXPECT_EQ(-EEXIST, __vm_attach(child.vm_fd, 0));
	EXPECT_EQ(0, __vm_trap(child.attach_fd, 0));
	vm_close(&child);
}

TEST_F(spawn, vcpus_of_the_result_run)
{
	struct vm child;

	vcpu_start(&self->vm.vcpus[1], 1, guest_count, 41);
	close(self->template);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &child);
	EXPECT_EQ(42, vcpu_run_to_port(&child.vcpus[1], PORT_SYNC));
	EXPECT_EQ(42, first_word(&child));
	EXPECT_EQ(0x1122334455667788, first_word(&self->vm));
	vm_close(&child);
}

TEST_F(spawn, unknown_flags)
{
	for (unsigned int bit = 1; bit < 64; bit++) {
		self->call.args.spawn.flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, spawn_failing(self))
			TH_LOG("flag bit %u", bit);
	}
}

TEST_F(spawn, wrong_kvm_fd)
{
	const struct {
		const char *what;
		int fd;
	} others[] = {
		{ "none", -1 },
		{ "closed", 9999 },
		{ "/dev/null", open("/dev/null", O_RDWR | O_CLOEXEC) },
		{ "eventfd", eventfd(0, EFD_CLOEXEC) },
		{ "VM", self->vm.vm_fd },
		{ "vCPU", self->vm.vcpus[0].fd },
		{ "/dev/kvmfork", kvmfork_device() },
		{ "template", self->template },
		{ "memory file", self->vm.slots[0].memory_fd },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		self->call.args.spawn.kvm_fd = others[i].fd;
		EXPECT_EQ(-EBADF, spawn_failing(self))
			TH_LOG("%s", others[i].what);
	}
}

TEST_F(spawn, too_little_room)
{
	static const struct {
		unsigned int vcpus, mappings;
	} rooms[] = { { 0, 16 }, { 1, 16 }, { 8, 0 }, { 8, 1 }, { 0, 0 }, { 1, 1 } };
	struct kvmfork_spawn *spawn = &self->call.args.spawn;
	struct vm child;

	for (size_t i = 0; i < ARRAY_LENGTH(rooms); i++) {
		spawn->nr_vcpus = rooms[i].vcpus;
		spawn->nr_mappings = rooms[i].mappings;
		EXPECT_EQ(-E2BIG, spawn_failing(self))
			TH_LOG("%u vCPUs, %u mappings", rooms[i].vcpus, rooms[i].mappings);
		EXPECT_EQ(2, spawn->nr_vcpus);
		EXPECT_EQ(2, spawn->nr_mappings);
	}
	/* What came back is enough. */
	ASSERT_EQ(0, fork_call_spawn(&self->call, self->template));
	fork_call_child(&self->call, &self->vm, &child);
	vm_close(&child);
}

TEST_F(spawn, bad_result_pointers)
{
	static const uint64_t pointers[] = { 0, 8, 0x8000000000000000ULL };
	struct kvmfork_spawn *spawn = &self->call.args.spawn;

	for (size_t i = 0; i < ARRAY_LENGTH(pointers); i++) {
		fork_call_init(&self->call, &self->vm);
		spawn->vcpus = pointers[i];
		EXPECT_EQ(-EFAULT, spawn_failing(self))
			TH_LOG("vcpus 0x%llx", (unsigned long long)pointers[i]);
		fork_call_init(&self->call, &self->vm);
		spawn->mappings = pointers[i];
		EXPECT_EQ(-EFAULT, spawn_failing(self))
			TH_LOG("mappings 0x%llx", (unsigned long long)pointers[i]);
	}
}

TEST_F(spawn, fixed_where_the_parent_is)
{
	self->call.args.spawn.flags = KVMFORK_SPAWN_FIXED;
	EXPECT_EQ(-EEXIST, spawn_failing(self));
}

/* One of two places is free, the other holds a single page of something else. */
TEST_F(spawn, fixed_half_occupied)
{
	char *first = self->vm.slots[0].hva, *second = self->vm.slots[1].hva;

	munmap(first, self->vm.slots[0].size);
	munmap(second, SECOND_SIZE);
	ASSERT_EQ(second + SECOND_SIZE - PAGE_SIZE,
		  mmap(second + SECOND_SIZE - PAGE_SIZE, PAGE_SIZE, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	self->call.args.spawn.flags = KVMFORK_SPAWN_FIXED;
	EXPECT_EQ(-EEXIST, spawn_failing(self));
	munmap(second + SECOND_SIZE - PAGE_SIZE, PAGE_SIZE);
}

TEST_F(spawn, fixed_in_free_places)
{
	struct vm child;

	for (unsigned int i = 0; i < self->vm.nr_slots; i++)
		munmap(self->vm.slots[i].hva, self->vm.slots[i].size);
	self->call.args.spawn.flags = KVMFORK_SPAWN_FIXED;
	ASSERT_EQ(0, fork_call_spawn(&self->call, self->template));
	fork_call_child(&self->call, &self->vm, &child);
	EXPECT_EQ(self->vm.slots[0].hva, child.slots[0].hva);
	EXPECT_EQ(self->vm.slots[1].hva, child.slots[1].hva);
	EXPECT_EQ(0x1122334455667788, first_word(&child));
	vm_close(&child);
}

static int spawn_fixed(void *arg)
{
	FIXTURE_DATA(spawn) *self = arg;
	struct vm child;

	self->call.args.spawn.flags = KVMFORK_SPAWN_FIXED;
	if (spawn_failing(self) != -EEXIST)
		return 1;
	for (unsigned int i = 0; i < self->vm.nr_slots; i++)
		munmap(self->vm.slots[i].hva, self->vm.slots[i].size);
	if (fork_call_spawn(&self->call, self->template))
		return 2;
	fork_call_child(&self->call, &self->vm, &child);
	return first_word(&child) == 0x1122334455667788 ? 0 : 3;
}

/* As ukrun does it: fork(), give the parent's memory up, be the child VM. */
TEST_F(spawn, fixed_in_a_forked_process)
{
	EXPECT_TRUE(process_exited(process_run(spawn_fixed, self), 0));
	EXPECT_EQ(0x1122334455667788, first_word(&self->vm));
}

/* From no free fd at all to just enough. */
TEST_F(spawn, few_file_descriptors)
{
	struct rlimit limit, old;
	struct vm child;
	int free_fd = dup(0), ret, failures = 0;

	close(free_fd);
	getrlimit(RLIMIT_NOFILE, &old);
	limit = old;
	for (int more = 0; more < 32; more++) {
		fork_call_init(&self->call, &self->vm);
		limit.rlim_cur = free_fd + more;
		setrlimit(RLIMIT_NOFILE, &limit);
		ret = fork_call_spawn(&self->call, self->template);
		setrlimit(RLIMIT_NOFILE, &old);
		if (!ret)
			break;
		failures++;
		EXPECT_EQ(-EMFILE, ret);
		/* The same fd is the next free one as before. */
		ASSERT_EQ(free_fd, dup(0));
		close(free_fd);
	}
	ASSERT_EQ(0, ret);
	/* VM, attach file, two vCPUs, two memory files. */
	EXPECT_EQ(6, failures);
	fork_call_child(&self->call, &self->vm, &child);
	vm_close(&child);
}

/* Address space for nothing, for one of the mappings, for all. */
TEST_F(spawn, little_address_space)
{
	struct rlimit limit, old;
	long long used = proc_value("/proc/self/status", "VmSize");
	unsigned int failures = 0;
	struct vm child;
	int ret = -1;

	getrlimit(RLIMIT_AS, &old);
	limit = old;
	for (unsigned int pages = 0; ret && pages < 4096; pages += failures < 40 ? 1 : 128) {
		fork_call_init(&self->call, &self->vm);
		limit.rlim_cur = used + pages * PAGE_SIZE;
		setrlimit(RLIMIT_AS, &limit);
		ret = fork_call_spawn(&self->call, self->template);
		setrlimit(RLIMIT_AS, &old);
		if (!ret)
			break;
		failures++;
		EXPECT_EQ(-ENOMEM, ret);
		EXPECT_EQ(used, proc_value("/proc/self/status", "VmSize"));
	}
	ASSERT_EQ(0, ret);
	EXPECT_LT(0, failures);
	fork_call_child(&self->call, &self->vm, &child);
	EXPECT_EQ(0x1122334455667788, first_word(&child));
	vm_close(&child);
}

/* The same, by way of KVMFORK_FORK. */
TEST_F(spawn, bad_fork_arguments)
{
	struct kvmfork_spawn *spawn = &self->call.args.spawn;
	struct proc_state before, after;

	proc_state_get(&before);
	spawn->kvm_fd = -1;
	EXPECT_EQ(-EBADF, fork_call_fork(&self->call, self->vm.attach_fd));
	fork_call_init(&self->call, &self->vm);
	spawn->nr_vcpus = 1;
	EXPECT_EQ(-E2BIG, fork_call_fork(&self->call, self->vm.attach_fd));
	EXPECT_EQ(2, spawn->nr_vcpus);
	fork_call_init(&self->call, &self->vm);
	spawn->flags = KVMFORK_SPAWN_FIXED;
	EXPECT_EQ(-EEXIST, fork_call_fork(&self->call, self->vm.attach_fd));
	fork_call_init(&self->call, &self->vm);
	spawn->mappings = 8;
	EXPECT_EQ(-EFAULT, fork_call_fork(&self->call, self->vm.attach_fd));
	proc_state_get(&after);
	EXPECT_TRUE(proc_state_equal(&before, &after));
}

TEST_HARNESS_MAIN
