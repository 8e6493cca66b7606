// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET of guests that change their page tables. KVM's shadows of them,
 * which it has without NPT or EPT, follow the guest's writes; a reset is none. With
 * NPT or EPT only the TLB is at stake:
 *
 *	selftests/vm/run --append kvm_amd.npt=0 -- /kvmfork/selftests/reset_paging
 */
#include <fcntl.h>

#include "fork.h"
#include "harness.h"

/* What the guest looks at, and the two things it may see there. */
#define WINDOW		(10UL << 20)
#define WINDOW_ENTRY	(GUEST_PD + WINDOW / (2UL << 20) * 8)
#define SMALL_WINDOW	(12UL << 20)
#define SMALL_ENTRY	(GUEST_PD + SMALL_WINDOW / (2UL << 20) * 8)
#define SMALL_TABLE	0x80000UL
#define ONE_GPA		(16UL << 20)
#define OTHER_GPA	(18UL << 20)
#define RAM_SIZE	(2UL << 20)

#define LARGE_PAGE	0xe3UL
#define SMALL_PAGE	0x63UL
#define TABLE		0x23UL

FIXTURE(paging) {
	struct vm vm, child;
	int template;
};

static bool has_two_stages(void)
{
	static const char *const files[] = {
		"/sys/module/kvm_amd/parameters/npt", "/sys/module/kvm_intel/parameters/ept",
	};
	char value = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
		int fd = open(files[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (read(fd, &value, 1) == 1 && (value == '0' || value == 'N')) {
			close(fd);
			return false;
		}
		close(fd);
	}
	return true;
}

FIXTURE_SETUP(paging)
{
	uint64_t *table;

	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	vm_memory_add(&self->vm, 0, ONE_GPA, RAM_SIZE);
	vm_memory_add(&self->vm, 0, OTHER_GPA, RAM_SIZE);
	*(uint32_t *)vm_hva(&self->vm, ONE_GPA) = 1;
	*(uint32_t *)vm_hva(&self->vm, OTHER_GPA) = 2;
	*(uint64_t *)vm_hva(&self->vm, WINDOW_ENTRY) = ONE_GPA | LARGE_PAGE;
	*(uint64_t *)vm_hva(&self->vm, SMALL_ENTRY) = SMALL_TABLE | TABLE;
	table = vm_hva(&self->vm, SMALL_TABLE);
	for (unsigned long i = 0; i < 512; i++)
		table[i] = (ONE_GPA + i * PAGE_SIZE) | SMALL_PAGE;
	TH_LOG("with %s", has_two_stages() ? "NPT or EPT" : "shadow paging");
}

FIXTURE_TEARDOWN(paging)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

FIXTURE_VARIANT(paging) {
	/* Which entry is changed, to what, and where the guest sees it. */
	uint64_t entry, value, window;
};

FIXTURE_VARIANT_ADD(paging, large_page) {
	.entry = WINDOW_ENTRY, .value = OTHER_GPA | LARGE_PAGE, .window = WINDOW,
};
FIXTURE_VARIANT_ADD(paging, small_page) {
	.entry = SMALL_TABLE, .value = OTHER_GPA | SMALL_PAGE, .window = SMALL_WINDOW,
};
FIXTURE_VARIANT_ADD(paging, table) {
	.entry = SMALL_ENTRY, .value = OTHER_GPA | LARGE_PAGE, .window = SMALL_WINDOW,
};

struct remap {
	uint64_t entry, value, window;
};

#define REMAP	GUEST_DATA

/* Look; look again, which is where the template is; change the entry, and look. */
static void __guest guest_remap(uint64_t arg)
{
	const volatile struct remap *remap = (const struct remap *)arg;
	uint64_t window = remap->window;

	guest_sync(guest_read32(window));
	for (;;) {
		guest_sync(guest_read32(window));
		guest_write64(remap->entry, remap->value);
		__asm__ volatile("invlpg (%0)" : : "r"(window) : "memory");
		guest_sync(guest_read32(window));
	}
}

static uint32_t next(struct vm *vm)
{
	return vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);
}

TEST_F(paging, changed_by_the_guest)
{
	unsigned long loops = test_scaled(50);

	*(struct remap *)vm_hva(&self->vm, REMAP) = (struct remap) {
		variant->entry, variant->value, variant->window,
	};
	vcpu_start(&self->vm.vcpus[0], 0, guest_remap, REMAP);
	EXPECT_EQ(1, next(&self->vm));
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	for (unsigned long i = 0; i < loops; i++) {
		ASSERT_EQ(1, next(&self->child))
			TH_LOG("after %lu resets: what was there before them", i);
		ASSERT_EQ(2, next(&self->child));
		if (i & 1)
			ASSERT_EQ(2, next(&self->child));
		vm_reset(&self->child, self->template);
	}
	EXPECT_EQ(1, next(&self->vm));
	EXPECT_EQ(2, next(&self->vm));
}

static void __guest guest_look(uint64_t arg)
{
	for (;;)
		guest_sync(guest_read32(arg));
}

/* The tables go back, and the guest goes on: it has to see that at once. */
TEST_F(paging, memory_alone)
{
	vcpu_start(&self->vm.vcpus[0], 0, guest_look, variant->window);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	*(uint64_t *)vm_hva(&self->child, variant->entry) = variant->value;
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(2, next(&self->child));
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KVMFORK_RESET_MEMORY));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(1, next(&self->child));
}

/* What the window shows, and not how it gets there. */
TEST_F(paging, page_behind_the_tables)
{
	vcpu_start(&self->vm.vcpus[0], 0, guest_look, variant->window);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	for (uint32_t i = 0; i < 10; i++) {
		EXPECT_EQ(1, next(&self->child));
		*(uint32_t *)vm_hva(&self->child, ONE_GPA) = 100 + i;
		EXPECT_EQ(100 + i, next(&self->child));
		vm_reset(&self->child, self->template);
	}
}

/* Slots are taken away for it, and must all be there again, dirty logs included. */
TEST_F(paging, slots_are_as_before)
{
	uint64_t bitmap[RAM_SIZE / PAGE_SIZE / 64];
	struct kvm_dirty_log log = { .slot = 5, .dirty_bitmap = bitmap };
	int fd = memory_create(RAM_SIZE);

	ASSERT_EQ(0, __vm_slot_set(&self->vm, 5, KVM_MEM_LOG_DIRTY_PAGES, 64UL << 20, RAM_SIZE,
				   memory_map(fd, RAM_SIZE)));
	vcpu_start(&self->vm.vcpus[0], 0, guest_look, variant->window);
	self->template = vm_freeze(&self->vm);
	/* The fifth slot is not in the library's list: not spawned but reset. */
	EXPECT_EQ(1, next(&self->vm));
	*(uint64_t *)vm_hva(&self->vm, variant->entry) = variant->value;
	vm_reset(&self->vm, self->template);
	EXPECT_EQ(1, next(&self->vm));
	EXPECT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(-EEXIST, __vm_slot_set(&self->vm, 6, 0, 64UL << 20, RAM_SIZE,
					 memory_map(fd, RAM_SIZE)));
	close(fd);
	vm_spawn(self->template, &self->vm, &self->child);
}

TEST_HARNESS_MAIN
