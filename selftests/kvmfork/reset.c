// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_RESET of memory: what was written, punched, or in a hole goes back. */
#include <fcntl.h>
#include <sys/stat.h>

#include "access.h"
#include "fork.h"
#include "harness.h"
#include "scramble.h"

#define RAM_GPA		(16UL << 20)
#define RAM_PAGES	200
#define RAM_SIZE	(RAM_PAGES * PAGE_SIZE)

/* In the template: data in the first half, holes in the other. */
#define DATA_PAGES	(RAM_PAGES / 2)

FIXTURE(reset) {
	struct vm vm, child;
	int template;
};

FIXTURE_VARIANT(reset) {
	enum access write, read;
};

FIXTURE_VARIANT_ADD(reset, map_map) { .write = ACCESS_MAP, .read = ACCESS_MAP };
FIXTURE_VARIANT_ADD(reset, map_file) { .write = ACCESS_MAP, .read = ACCESS_FILE };
FIXTURE_VARIANT_ADD(reset, map_guest) { .write = ACCESS_MAP, .read = ACCESS_GUEST };
FIXTURE_VARIANT_ADD(reset, file_map) { .write = ACCESS_FILE, .read = ACCESS_MAP };
FIXTURE_VARIANT_ADD(reset, file_file) { .write = ACCESS_FILE, .read = ACCESS_FILE };
FIXTURE_VARIANT_ADD(reset, file_guest) { .write = ACCESS_FILE, .read = ACCESS_GUEST };
FIXTURE_VARIANT_ADD(reset, guest_map) { .write = ACCESS_GUEST, .read = ACCESS_MAP };
FIXTURE_VARIANT_ADD(reset, guest_file) { .write = ACCESS_GUEST, .read = ACCESS_FILE };
FIXTURE_VARIANT_ADD(reset, guest_guest) { .write = ACCESS_GUEST, .read = ACCESS_GUEST };

static uint64_t gpa_of(unsigned int page)
{
	return RAM_GPA + page * PAGE_SIZE + 123;
}

static uint8_t template_value(unsigned int page)
{
	return page < DATA_PAGES ? page + 1 : 0;
}

FIXTURE_SETUP(reset)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE);
	for (unsigned int page = 0; page < DATA_PAGES; page++)
		access_write(&self->vm, ACCESS_MAP, gpa_of(page), template_value(page));
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
}

FIXTURE_TEARDOWN(reset)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

static long long private_bytes(struct vm *vm, unsigned int slot)
{
	return fdinfo_value(vm->slots[slot].memory_fd, "kvmfork-private");
}

static blkcnt_t allocated(struct vm *vm, unsigned int slot)
{
	struct stat stat;

	TEST_REQUIRE(!fstat(vm->slots[slot].memory_fd, &stat), "fstat: %m");
	return stat.st_blocks;
}

/* How many pages do not read as in the template, seen in that way. */
static unsigned int count_wrong(struct vm *vm, enum access how)
{
	unsigned int wrong = 0;

	for (unsigned int page = 0; page < RAM_PAGES; page++) {
		uint8_t value = access_read(vm, how, gpa_of(page));

		if (value == template_value(page))
			continue;
		if (!wrong++)
			fprintf(stderr, "# page %u by %s: %u instead of %u\n", page,
				access_names[how], value, template_value(page));
	}
	return wrong;
}

TEST_F(reset, written_pages)
{
	for (unsigned int page = 0; page < RAM_PAGES; page += 3)
		access_write(&self->child, variant->write, gpa_of(page), 0xaa);
	EXPECT_LT(0, private_bytes(&self->child, 1));
	vm_reset(&self->child, self->template);
	EXPECT_EQ(0, private_bytes(&self->child, 0));
	EXPECT_EQ(0, private_bytes(&self->child, 1));
	EXPECT_EQ(allocated(&self->vm, 1), allocated(&self->child, 1));
	EXPECT_EQ(0, count_wrong(&self->child, variant->read));
	/* With nothing to do. */
	vm_reset(&self->child, self->template);
	EXPECT_EQ(0, count_wrong(&self->child, variant->read));
}

/* Read and with it mapped before, so that there is something to be stale. */
TEST_F(reset, punched_pages)
{
	for (unsigned int page = 0; page < RAM_PAGES; page += 2) {
		access_write(&self->child, variant->write, gpa_of(page), 0xaa);
		access_punch(&self->child, gpa_of(page));
		EXPECT_EQ(0, access_read(&self->child, variant->read, gpa_of(page)));
	}
	vm_reset(&self->child, self->template);
	EXPECT_EQ(0, private_bytes(&self->child, 1));
	EXPECT_EQ(allocated(&self->vm, 1), allocated(&self->child, 1));
	EXPECT_EQ(0, count_wrong(&self->child, variant->read));
}

/* Written again afterwards: copied again, and back again. */
TEST_F(reset, again_and_again)
{
	for (uint8_t round = 1; round < 20; round++) {
		for (unsigned int page = round; page < RAM_PAGES; page += 7)
			access_write(&self->child, variant->write, gpa_of(page), 0x80 + round);
		for (unsigned int page = round; page < RAM_PAGES; page += 7) {
			EXPECT_EQ(0x80 + round,
				  access_read(&self->child, variant->read, gpa_of(page)));
		}
		vm_reset(&self->child, self->template);
		ASSERT_EQ(0, count_wrong(&self->child, variant->read));
	}
	EXPECT_EQ(0, count_wrong(&self->vm, variant->read));
}

TEST_F(reset, others_do_not_notice)
{
	struct vm sibling;

	vm_spawn(self->template, &self->vm, &sibling);
	for (unsigned int page = 0; page < RAM_PAGES; page += 3) {
		access_write(&self->child, variant->write, gpa_of(page), 0xcc);
		access_write(&sibling, variant->write, gpa_of(page + 1) % RAM_SIZE + RAM_GPA, 0xdd);
		access_write(&self->vm, variant->write, gpa_of(page), 0xee);
	}
	vm_reset(&self->child, self->template);
	EXPECT_EQ(0, count_wrong(&self->child, variant->read));
	for (unsigned int page = 0; page < RAM_PAGES; page += 3) {
		EXPECT_EQ(0xdd, access_read(&sibling, variant->read,
					    gpa_of(page + 1) % RAM_SIZE + RAM_GPA));
		EXPECT_EQ(0xee, access_read(&self->vm, variant->read, gpa_of(page)));
	}
	vm_reset(&sibling, self->template);
	EXPECT_EQ(0, count_wrong(&sibling, variant->read));
	vm_close(&sibling);
	vm_spawn(self->template, &self->vm, &sibling);
	EXPECT_EQ(0, count_wrong(&sibling, variant->read));
	vm_close(&sibling);
	/* The parent has written since: it can be its own child. */
	vm_reset(&self->vm, self->template);
	EXPECT_EQ(0, count_wrong(&self->vm, variant->read));
	EXPECT_EQ(0, private_bytes(&self->vm, 1));
}

static void __guest guest_watch(uint64_t arg)
{
	for (;;)
		guest_sync(*(volatile uint8_t *)arg);
}

static bool guest_sees(struct vm *vm, uint8_t value)
{
	uint32_t seen = vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);

	if (seen == value)
		return true;
	fprintf(stderr, "# the guest sees %u instead of %u\n", seen, value);
	return false;
}

/* A guest that looks at one page all the time, and is not touched itself. */
TEST(memory_alone_under_a_running_guest)
{
	static const uint64_t pages[] = { GUEST_DATA, GUEST_DATA + 5 * PAGE_SIZE };
	struct vm vm, child;
	int fd;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	*(char *)vm_hva(&vm, pages[0]) = 1;
	fd = vm_freeze(&vm);
	vm_spawn(fd, &vm, &child);
	for (size_t i = 0; i < ARRAY_LENGTH(pages); i++) {
		uint8_t value = i ? 0 : 1;

		vcpu_start(&child.vcpus[0], 0, guest_watch, pages[i]);
		EXPECT_TRUE(guest_sees(&child, value));
		access_write(&child, ACCESS_MAP, pages[i], 0xab);
		EXPECT_TRUE(guest_sees(&child, 0xab));
		ASSERT_EQ(0, __vm_reset(&child, fd, KVMFORK_RESET_MEMORY));
		EXPECT_TRUE(guest_sees(&child, value));
		access_punch(&child, pages[i]);
		EXPECT_TRUE(guest_sees(&child, 0));
		ASSERT_EQ(0, __vm_reset(&child, fd, KVMFORK_RESET_MEMORY));
		EXPECT_TRUE(guest_sees(&child, value));
	}
	close(fd);
	vm_close(&child);
	vm_close(&vm);
}

/* What a huge memory costs is what was written into it. */
TEST(sparse)
{
	const uint64_t gpa = 4UL << 30, size = 8UL << 30;
	struct vm vm, child;
	uint64_t start;
	char *ram;
	int fd;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	vm_memory_add(&vm, 0, gpa, size);
	*(volatile char *)vm_hva(&vm, gpa + size - 1) = 't';
	fd = vm_freeze(&vm);
	vm_spawn(fd, &vm, &child);
	ram = vm_hva(&child, gpa);
	for (uint64_t at = 1; at < size; at *= 4)
		ram[at] = 'c';
	ram[size - 1] = 'c';
	start = test_now_ns();
	vm_reset(&child, fd);
	EXPECT_GT(2000000000, test_now_ns() - start);
	for (uint64_t at = 1; at < size; at *= 4)
		EXPECT_EQ(0, ((volatile char *)ram)[at]);
	EXPECT_EQ('t', ((volatile char *)ram)[size - 1]);
	EXPECT_EQ(0, private_bytes(&child, 1));
	close(fd);
	vm_close(&child);
	vm_close(&vm);
}

/* Everywhere at once, as unlike as it gets. */
TEST(scrambled)
{
	struct vm vm, child;
	int fd;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	vm_memory_add(&vm, 0, RAM_GPA, RAM_SIZE);
	for (uint64_t at = 0; at < RAM_SIZE; at += 3 * PAGE_SIZE)
		memset(vm_hva(&vm, RAM_GPA + at), 't', PAGE_SIZE);
	fd = vm_freeze(&vm);
	vm_spawn(fd, &vm, &child);
	for (int round = 0; round < 3; round++) {
		vm_scramble_memory(&child);
		vm_reset(&child, fd);
		for (unsigned int slot = 0; slot < vm.nr_slots; slot++) {
			EXPECT_EQ(0, memcmp(vm.slots[slot].hva, child.slots[slot].hva,
					    vm.slots[slot].size));
			EXPECT_EQ(0, private_bytes(&child, slot));
			EXPECT_EQ(allocated(&vm, slot), allocated(&child, slot));
		}
	}
	close(fd);
	vm_close(&child);
	vm_close(&vm);
}

/* The template is the last one to hold its pages besides the VM. */
TEST(pages_outlive_the_template)
{
	struct vm vm, child;
	int fd;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	*(char *)vm_hva(&vm, GUEST_DATA) = 't';
	fd = vm_freeze(&vm);
	vm_spawn(fd, &vm, &child);
	vm_close(&vm);
	vm_scramble_memory(&child);
	vm_reset(&child, fd);
	close(fd);
	EXPECT_EQ('t', *(volatile char *)vm_hva(&child, GUEST_DATA));
	/* All of it is the child's own by now, and written in place. */
	EXPECT_LT(0, private_bytes(&child, 0));
	*(volatile char *)vm_hva(&child, GUEST_DATA) = 'c';
	EXPECT_EQ('c', access_read(&child, ACCESS_FILE, GUEST_DATA));
	vm_close(&child);
}

TEST_HARNESS_MAIN
