// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "convert.h"

void convert_call_init(struct convert_call *call, struct vm *vm)
{
	memset(call, 0, sizeof(*call));
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		call->vcpu_fds[i] = vm->vcpus[i].fd;
	call->args = (struct kvmfork_convert) {
		.vcpu_fds = (unsigned long)call->vcpu_fds,
		.nr_vcpus = vm->nr_vcpus,
		.mappings = (unsigned long)call->mappings,
		.nr_mappings = ARRAY_LENGTH(call->mappings),
		.message = (unsigned long)call->message,
		.message_size = sizeof(call->message),
	};
}

int convert_call_run(struct convert_call *call, int attach_fd)
{
	return xioctl(attach_fd, KVMFORK_CONVERT, &call->args);
}

static void slot_take(struct convert_call *call, struct vm_slot *slot)
{
	for (unsigned int i = 0; i < call->args.nr_mappings; i++) {
		const struct kvmfork_mapping *mapping = &call->mappings[i];
		uint64_t offset = (unsigned long)slot->hva - mapping->address;

		if (offset >= mapping->size)
			continue;
		TEST_REQUIRE(mapping->address == mapping->parent_address &&
			     mapping->size - offset >= slot->size, "a wrong mapping");
		slot->offset = mapping->offset + offset;
		slot->memory_fd = mapping->memory_fd;
		return;
	}
	test_fail(__FILE__, __LINE__, "no mapping for slot %u", slot->slot);
}

static void close_memories(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		int fd = vm->slots[i].memory_fd;

		for (unsigned int j = i; fd >= 0 && j < vm->nr_slots; j++)
			if (vm->slots[j].memory_fd == fd)
				vm->slots[j].memory_fd = -1;
		if (fd >= 0)
			close(fd);
	}
}

long __vm_convert(struct vm *vm)
{
	struct convert_call call;
	int ret;

	convert_call_init(&call, vm);
	ret = convert_call_run(&call, vm->attach_fd);
	if (ret) {
		fprintf(stderr, "# convert: %s: %s\n", strerror(-ret), call.message);
		return ret;
	}
	close_memories(vm);
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		slot_take(&call, &vm->slots[i]);
	return call.args.nr_pages;
}

unsigned long vm_convert(struct vm *vm)
{
	long nr = __vm_convert(vm);

	TEST_REQUIRE(nr >= 0, "KVMFORK_CONVERT failed");
	return nr;
}

void vm_create_over(struct vm *vm, void *hva, uint64_t size, unsigned int nr_vcpus)
{
	vm_create(vm, VM_IRQCHIP_KERNEL);
	vm_slot_add(vm, 0, 0, size, hva, -1, 0);
	vm_load_guest(vm);
	for (unsigned int id = 0; id < nr_vcpus; id++)
		vcpu_add(vm, id);
	vm->attach_fd = vm_attach(vm->vm_fd);
}

int file_create(uint64_t size)
{
	static const char dir[] = "/tmp/kvmfork-test", path[] = "/tmp/kvmfork-test/file";
	int fd;

	mkdir(dir, 0700);
	TEST_REQUIRE(!mount("none", dir, "ramfs", 0, NULL), "ramfs: %m");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	TEST_REQUIRE(fd >= 0 && !ftruncate(fd, size), "%s: %m", path);
	TEST_REQUIRE(!umount2(dir, MNT_DETACH), "umount: %m");
	return fd;
}

void *memory_anonymous(uint64_t size)
{
	char *map = mmap(NULL, size + 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	TEST_REQUIRE(map != MAP_FAILED, "mmap of 0x%lx bytes: %m", (unsigned long)size);
	munmap(map, PAGE_SIZE);
	munmap(map + PAGE_SIZE + size, PAGE_SIZE);
	return map + PAGE_SIZE;
}

unsigned int count_mappings(const void *at, uint64_t size)
{
	unsigned long first = (unsigned long)at, last = first + size, start, end;
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned int nr = 0;
	char line[512];

	TEST_REQUIRE(file, "/proc/self/maps: %m");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start < last && end > first)
			nr++;
	fclose(file);
	return nr;
}
