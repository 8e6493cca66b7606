// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fork.h"

int kvmfork_device(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/kvmfork", O_RDWR | O_CLOEXEC);
	TEST_REQUIRE(fd >= 0, "/dev/kvmfork: %m");
	return fd;
}

int __memory_create(uint64_t size, uint64_t flags)
{
	struct kvmfork_create_memory args = { .size = size, .flags = flags };

	return xioctl(kvmfork_device(), KVMFORK_CREATE_MEMORY, &args);
}

/* KVMFORK_TEST_MEMORY: huge, huge-copy; which pages the tests' memory is of. */
static uint64_t memory_flags(void)
{
	const char *name = getenv("KVMFORK_TEST_MEMORY");

	if (!name)
		return 0;
	if (!strcmp(name, "huge"))
		return KVMFORK_MEMORY_HUGE;
	TEST_REQUIRE(!strcmp(name, "huge-copy"), "KVMFORK_TEST_MEMORY=%s is not known", name);
	return KVMFORK_MEMORY_HUGE | KVMFORK_MEMORY_HUGE_COPY;
}

int memory_create(uint64_t size)
{
	int fd = __memory_create(size, memory_flags());

	TEST_REQUIRE(fd >= 0, "KVMFORK_CREATE_MEMORY of 0x%lx: %m", (unsigned long)size);
	return fd;
}

void *memory_map(int fd, uint64_t size)
{
	void *hva = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	TEST_REQUIRE(hva != MAP_FAILED, "mmap of memory: %m");
	return hva;
}

int __template_open_memory(int template_fd, uint32_t index, uint32_t flags)
{
	struct kvmfork_open_memory args = { .index = index, .flags = flags };

	return xioctl(template_fd, KVMFORK_OPEN_MEMORY, &args);
}

int template_open_memory(int template_fd, uint32_t index)
{
	int fd = __template_open_memory(template_fd, index, 0);

	TEST_REQUIRE(fd >= 0, "KVMFORK_OPEN_MEMORY %u: %m", index);
	return fd;
}

int template_open_memory_of(int template_fd, uint64_t size)
{
	for (uint32_t index = 0;; index++) {
		int fd = template_open_memory(template_fd, index);

		if (fdinfo_value(fd, "kvmfork-size") == (long long)size)
			return fd;
		close(fd);
	}
}

int __vm_attach(int vm_fd, uint32_t flags)
{
	struct kvmfork_attach args = { .vm_fd = vm_fd, .flags = flags };

	return xioctl(kvmfork_device(), KVMFORK_ATTACH, &args);
}

int vm_attach(int vm_fd)
{
	int fd = __vm_attach(vm_fd, 0);

	TEST_REQUIRE(fd >= 0, "KVMFORK_ATTACH: %m");
	return fd;
}

int __vm_trap(int attach_fd, uint64_t events)
{
	struct kvmfork_trap args = { .events = events };

	return xioctl(attach_fd, KVMFORK_TRAP, &args);
}

void spawn_call_init(struct fork_call *call)
{
	struct kvmfork_spawn *spawn = &call->args.spawn;

	memset(call, 0, sizeof(*call));
	spawn->vcpus = (unsigned long)call->vcpus;
	spawn->nr_vcpus = VM_MAX_VCPUS;
	spawn->mappings = (unsigned long)call->mappings;
	spawn->nr_mappings = FORK_MAX_MAPPINGS;
	spawn->kvm_fd = kvm_device();
	spawn->vm_fd = -1;
	spawn->attach_fd = -1;
}

void fork_call_init(struct fork_call *call, struct vm *vm)
{
	struct kvmfork_freeze *freeze = &call->args.freeze;

	spawn_call_init(call);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		call->vcpu_fds[i] = vm->vcpus[i].fd;
	freeze->vcpu_fds = (unsigned long)call->vcpu_fds;
	freeze->nr_vcpus = vm->nr_vcpus;
	freeze->message = (unsigned long)call->message;
	freeze->message_size = sizeof(call->message);
}

int fork_call_freeze(struct fork_call *call, int attach_fd)
{
	return xioctl(attach_fd, KVMFORK_FREEZE, &call->args.freeze);
}

int fork_call_fork(struct fork_call *call, int attach_fd)
{
	return xioctl(attach_fd, KVMFORK_FORK, &call->args);
}

int fork_call_spawn(struct fork_call *call, int template_fd)
{
	call->args.spawn.message = (unsigned long)call->message;
	call->args.spawn.message_size = sizeof(call->message);
	return xioctl(template_fd, KVMFORK_SPAWN, &call->args.spawn);
}

void reset_call_init(struct reset_call *call, struct vm *vm, int template_fd)
{
	memset(call, 0, sizeof(*call));
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		call->vcpu_fds[i] = vm->vcpus[i].fd;
	call->args = (struct kvmfork_reset) {
		.flags = RESET_ALL,
		.vcpu_fds = (unsigned long)call->vcpu_fds,
		.nr_vcpus = vm->nr_vcpus,
		.template_fd = template_fd,
		.message = (unsigned long)call->message,
		.message_size = sizeof(call->message),
	};
}

int reset_call_run(struct reset_call *call, int attach_fd)
{
	return xioctl(attach_fd, KVMFORK_RESET, &call->args);
}

static void fork_call_child_slot(struct fork_call *call, struct vm_slot *slot)
{
	for (unsigned int i = 0; i < call->args.spawn.nr_mappings; i++) {
		const struct kvmfork_mapping *mapping = &call->mappings[i];
		uint64_t offset = (unsigned long)slot->hva - mapping->parent_address;

		if (offset >= mapping->size)
			continue;
		TEST_REQUIRE(mapping->size - offset >= slot->size,
			     "a slot is mapped in pieces");
		slot->hva = (char *)(unsigned long)mapping->address + offset;
		slot->offset = mapping->offset + offset;
		slot->memory_fd = mapping->memory_fd;
		return;
	}
	test_fail(__FILE__, __LINE__, "no mapping for slot %u", slot->slot);
}

void fork_call_child(struct fork_call *call, const struct vm *parent, struct vm *child)
{
	const struct kvmfork_spawn *spawn = &call->args.spawn;

	TEST_REQUIRE(spawn->nr_vcpus == parent->nr_vcpus, "%u vCPUs instead of %u",
		     spawn->nr_vcpus, parent->nr_vcpus);
	*child = *parent;
	child->vm_fd = spawn->vm_fd;
	child->attach_fd = spawn->attach_fd;
	for (unsigned int i = 0; i < child->nr_vcpus; i++) {
		TEST_REQUIRE(call->vcpus[i].id == parent->vcpus[i].id,
			     "vCPU id %u instead of %u", call->vcpus[i].id,
			     parent->vcpus[i].id);
		vcpu_map(&child->vcpus[i], call->vcpus[i].id, call->vcpus[i].fd);
	}
	for (unsigned int i = 0; i < child->nr_slots; i++)
		fork_call_child_slot(call, &child->slots[i]);
}

static void report(const char *message, const char *what, int ret)
{
	if (ret < 0)
		fprintf(stderr, "# %s: %s: %s\n", what, strerror(-ret), message);
}

int __vm_freeze(struct vm *vm)
{
	struct fork_call call;
	int ret;

	fork_call_init(&call, vm);
	ret = fork_call_freeze(&call, vm->attach_fd);
	report(call.message, "freeze", ret);
	return ret;
}

int (*vm_fork_via)(struct vm *parent, struct vm *child);

int __vm_fork(struct vm *parent, struct vm *child)
{
	struct fork_call call;
	int ret;

	if (vm_fork_via)
		return vm_fork_via(parent, child);
	fork_call_init(&call, parent);
	ret = fork_call_fork(&call, parent->attach_fd);
	report(call.message, "fork", ret);
	if (!ret)
		fork_call_child(&call, parent, child);
	return ret;
}

int __vm_spawn(int template_fd, const struct vm *parent, struct vm *child)
{
	struct fork_call call;
	int ret;

	spawn_call_init(&call);
	ret = fork_call_spawn(&call, template_fd);
	report(call.message, "spawn", ret);
	if (!ret)
		fork_call_child(&call, parent, child);
	return ret;
}

int __vm_reset(struct vm *vm, int template_fd, uint64_t flags)
{
	struct reset_call call;
	int ret;

	reset_call_init(&call, vm, template_fd);
	call.args.flags = flags;
	/* KVMFORK_TEST_KEEP=1: all resets of memory keep the pages. */
	if (flags & KVMFORK_RESET_MEMORY && getenv("KVMFORK_TEST_KEEP"))
		call.args.flags |= KVMFORK_RESET_KEEP;
	ret = reset_call_run(&call, vm->attach_fd);
	report(call.message, "reset", ret);
	return ret;
}

int vm_freeze(struct vm *vm)
{
	int fd = __vm_freeze(vm);

	TEST_REQUIRE(fd >= 0, "KVMFORK_FREEZE failed");
	return fd;
}

void vm_fork(struct vm *parent, struct vm *child)
{
	TEST_REQUIRE(!__vm_fork(parent, child), "KVMFORK_FORK failed");
}

void vm_spawn(int template_fd, const struct vm *parent, struct vm *child)
{
	TEST_REQUIRE(!__vm_spawn(template_fd, parent, child), "KVMFORK_SPAWN failed");
}

void vm_reset(struct vm *vm, int template_fd)
{
	TEST_REQUIRE(!__vm_reset(vm, template_fd, RESET_ALL), "KVMFORK_RESET failed");
}
