// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fork.h"
#include "subject.h"

/* Below the devices' addresses; what is more begins at 4 GiB. */
#define LOW_MAX		(3UL << 30)
#define HIGH_GPA	(4UL << 30)

void __guest subject_hello(uint64_t arg)
{
	for (;;)
		guest_sync(++arg);
}

void __guest subject_write(uint64_t arg)
{
	uint64_t page = SUBJECT_PAGES, step = (arg >> 32) * 4096;
	uint32_t count = arg;

	for (uint32_t i = 0; i < count; i++, page += step)
		guest_write64(page, i);
	for (;;)
		guest_sync(count);
}

void __guest subject_read(uint64_t arg)
{
	uint64_t page = SUBJECT_PAGES, step = (arg >> 32) * 4096;
	uint32_t count = arg;

	for (uint32_t i = 0; i < count; i++, page += step)
		guest_read64(page);
	for (;;)
		guest_sync(count);
}

uint32_t subject_stride(unsigned int mib, uint32_t count)
{
	uint64_t pages = ((uint64_t)mib << 20) - SUBJECT_PAGES;

	return pages / PAGE_SIZE / count;
}

static int subject_memory_open(enum subject_memory memory, uint64_t size)
{
	int fd;

	if (memory == SUBJECT_KVMFORK)
		return memory_create(size);
	if (memory == SUBJECT_HUGE) {
		fd = __memory_create(size, KVMFORK_MEMORY_HUGE | KVMFORK_MEMORY_HUGE_COPY);
		TEST_REQUIRE(fd >= 0, "memory of huge pages: %s", strerror(-fd));
		return fd;
	}
	fd = memfd_create("subject", MFD_CLOEXEC);
	TEST_REQUIRE(fd >= 0 && !ftruncate(fd, size), "memfd: %m");
	return fd;
}

static char *subject_memory_map(enum subject_memory memory, uint64_t size, int *fd)
{
	char *hva;

	*fd = -1;
	if (memory != SUBJECT_ANONYMOUS) {
		*fd = subject_memory_open(memory, size);
		return memory_map(*fd, size);
	}
	hva = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_REQUIRE(hva != MAP_FAILED, "%lu bytes of memory: %m", (unsigned long)size);
	TEST_REQUIRE(!madvise(hva, size, MADV_NOHUGEPAGE), "MADV_NOHUGEPAGE: %m");
	return hva;
}

static void subject_populate(char *hva, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += PAGE_SIZE)
		*(volatile char *)(hva + at) = 1;
}

static void subject_add_slots(struct vm *vm, char *hva, uint64_t size, int fd)
{
	uint64_t low = size < LOW_MAX ? size : LOW_MAX;

	vm_slot_add(vm, 0, 0, low, hva, fd, 0);
	if (size > low)
		vm_slot_add(vm, 0, HIGH_GPA, size - low, hva + low, fd, low);
}

void subject_create(struct vm *vm, const struct subject_spec *spec)
{
	unsigned int nr_vcpus = spec->nr_vcpus ? spec->nr_vcpus : 1;
	uint64_t size = (uint64_t)spec->mib << 20;
	char *hva;
	int fd;

	hva = subject_memory_map(spec->memory, size, &fd);
	if (!spec->empty)
		subject_populate(hva, size);
	vm_create(vm, VM_IRQCHIP_KERNEL);
	subject_add_slots(vm, hva, size, fd);
	vm_load_guest(vm);
	for (unsigned int id = 0; id < nr_vcpus; id++)
		vcpu_add(vm, id);
	if (spec->memory == SUBJECT_KVMFORK || spec->memory == SUBJECT_HUGE)
		vm->attach_fd = vm_attach(vm->vm_fd);
	subject_start(vm, subject_hello, 0);
	subject_run(vm);
}

void subject_create_memory(struct vm *vm, const struct subject_spec *spec)
{
	struct vm_slot *slot = &vm->slots[0];

	memset(vm, 0, sizeof(*vm));
	vm->nr_slots = 1;
	slot->size = (uint64_t)spec->mib << 20;
	slot->hva = subject_memory_map(spec->memory, slot->size, &slot->memory_fd);
	subject_populate(slot->hva, slot->size);
}

void subject_create_beside(const struct vm *other, struct vm *vm)
{
	vm_create(vm, VM_IRQCHIP_KERNEL);
	for (unsigned int i = 0; i < other->nr_slots; i++) {
		const struct vm_slot *slot = &other->slots[i];

		vm_slot_add(vm, slot->flags, slot->gpa, slot->size, slot->hva, -1, slot->offset);
	}
	for (unsigned int i = 0; i < other->nr_vcpus; i++)
		vcpu_add(vm, other->vcpus[i].id);
}

void subject_start(struct vm *vm, void (*guest_fn)(uint64_t arg), uint64_t arg)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		/* Or it would take the old exit for unfinished. */
		__vcpu_complete_io(&vm->vcpus[i]);
		vcpu_start(&vm->vcpus[i], i, guest_fn, arg);
	}
}

void subject_run(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_run_to_port(&vm->vcpus[i], PORT_SYNC);
}
