// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "access.h"
#include "util.h"

const char *const access_names[] = { "mapping", "file", "guest" };

static void __guest guest_store(uint64_t arg)
{
	*(volatile uint8_t *)(arg >> 8) = arg;
	guest_sync(0);
}

static void __guest guest_load(uint64_t arg)
{
	guest_sync(*(volatile uint8_t *)arg);
}

static struct vm_slot *slot_of(struct vm *vm, uint64_t gpa)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		if (gpa - vm->slots[i].gpa < vm->slots[i].size)
			return &vm->slots[i];
	test_fail(__FILE__, __LINE__, "no slot at 0x%lx", (unsigned long)gpa);
}

static off_t file_offset(struct vm *vm, uint64_t gpa)
{
	struct vm_slot *slot = slot_of(vm, gpa);

	return slot->offset + (gpa - slot->gpa);
}

void access_write(struct vm *vm, enum access how, uint64_t gpa, uint8_t value)
{
	switch (how) {
	case ACCESS_MAP:
		*(volatile uint8_t *)vm_hva(vm, gpa) = value;
		break;
	case ACCESS_FILE:
		TEST_REQUIRE(pwrite(slot_of(vm, gpa)->memory_fd, &value, 1,
				    file_offset(vm, gpa)) == 1, "pwrite: %m");
		break;
	default:
		vcpu_start(&vm->vcpus[0], 0, guest_store, gpa << 8 | value);
		vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);
		break;
	}
}

uint8_t access_read(struct vm *vm, enum access how, uint64_t gpa)
{
	uint8_t value;

	switch (how) {
	case ACCESS_MAP:
		return *(volatile uint8_t *)vm_hva(vm, gpa);
	case ACCESS_FILE:
		TEST_REQUIRE(pread(slot_of(vm, gpa)->memory_fd, &value, 1,
				   file_offset(vm, gpa)) == 1, "pread: %m");
		return value;
	default:
		vcpu_start(&vm->vcpus[0], 0, guest_load, gpa);
		return vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);
	}
}

void access_punch(struct vm *vm, uint64_t gpa)
{
	TEST_REQUIRE(!fallocate(slot_of(vm, gpa)->memory_fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				file_offset(vm, gpa), PAGE_SIZE), "fallocate: %m");
}
