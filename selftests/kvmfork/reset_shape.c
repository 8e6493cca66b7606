// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET of VMs that are not of the template's shape: -ESTALE, nothing has
 * changed, and it works once the shape is right again.
 */
#include "fork.h"
#include "harness.h"

#define RAM_GPA		(16UL << 20)
#define RAM_SIZE	(16 * PAGE_SIZE)

FIXTURE(shape) {
	struct vm vm, child;
	int template;
	struct reset_call call;
	struct __test_metadata *metadata;
};

FIXTURE_SETUP(shape)
{
	self->metadata = _metadata;
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	memset(vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE), 't', RAM_SIZE);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 100);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	memset(vm_hva(&self->child, RAM_GPA), 'c', RAM_SIZE);
	vcpu_start(&self->child.vcpus[0], 0, guest_count, 200);
}

FIXTURE_TEARDOWN(shape)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

static char ram_value(struct vm *vm)
{
	return *(volatile char *)vm_hva(vm, RAM_GPA + 5 * PAGE_SIZE);
}

/* Refused, each part of a reset alone as well, with a message that names @what. */
static void expect_refused(FIXTURE_DATA(shape) *self, struct vm *vm, int error, const char *what)
{
	static const uint64_t flags[] = {
		RESET_ALL, KVMFORK_RESET_MEMORY, KVMFORK_RESET_STATE,
	};
	struct __test_metadata *_metadata = self->metadata;
	struct proc_state before, after;
	struct kvm_regs regs[2];

	for (size_t i = 0; i < ARRAY_LENGTH(flags); i++) {
		reset_call_init(&self->call, vm, self->template);
		self->call.args.flags = flags[i];
		proc_state_get(&before);
		xioctl(vm->vcpus[0].fd, KVM_GET_REGS, &regs[0]);
		EXPECT_EQ(error, reset_call_run(&self->call, vm->attach_fd))
			TH_LOG("%s", what);
		EXPECT_NE(NULL, strstr(self->call.message, what))
			TH_LOG("\"%s\" does not name %s", self->call.message, what);
		xioctl(vm->vcpus[0].fd, KVM_GET_REGS, &regs[1]);
		EXPECT_EQ(0, memcmp(&regs[0], &regs[1], sizeof(regs[0])));
		proc_state_get(&after);
		EXPECT_TRUE(proc_state_equal(&before, &after));
	}
}

static void expect_works(FIXTURE_DATA(shape) *self)
{
	struct __test_metadata *_metadata = self->metadata;

	EXPECT_EQ('c', ram_value(&self->child));
	EXPECT_EQ(201, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, RESET_ALL));
	EXPECT_EQ('t', ram_value(&self->child));
	EXPECT_EQ(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
}

TEST_F(shape, slot_added)
{
	int fd = memory_create(RAM_SIZE);

	ASSERT_EQ(0, __vm_slot_set(&self->child, 5, 0, 2 * RAM_GPA, RAM_SIZE,
				   memory_map(fd, RAM_SIZE)));
	expect_refused(self, &self->child, -ESTALE, "slots");
	ASSERT_EQ(0, __vm_slot_set(&self->child, 5, 0, 2 * RAM_GPA, 0, NULL));
	expect_works(self);
}

/* Over the same memory, which is put back in the end. */
TEST_F(shape, slot_that_is_another)
{
	static const struct {
		const char *what;
		uint32_t slot, flags;
		uint64_t gpa, size;
	} slots[] = {
		{ "moved", 1, 0, 2 * RAM_GPA, RAM_SIZE },
		{ "smaller", 1, 0, RAM_GPA, RAM_SIZE / 2 },
		{ "read-only", 1, KVM_MEM_READONLY, RAM_GPA, RAM_SIZE },
		{ "with a dirty log", 1, KVM_MEM_LOG_DIRTY_PAGES, RAM_GPA, RAM_SIZE },
		{ "another number", 2, 0, RAM_GPA, RAM_SIZE },
	};
	struct vm *child = &self->child;
	void *hva = child->slots[1].hva;

	ASSERT_EQ(0, __vm_slot_set(child, 1, 0, RAM_GPA, 0, NULL));
	expect_refused(self, child, -ESTALE, "slots");
	for (size_t i = 0; i < ARRAY_LENGTH(slots); i++) {
		TH_LOG("%s", slots[i].what);
		ASSERT_EQ(0, __vm_slot_set(child, slots[i].slot, slots[i].flags, slots[i].gpa,
					   slots[i].size, hva));
		expect_refused(self, child, -ESTALE, "slots");
		ASSERT_EQ(0, __vm_slot_set(child, slots[i].slot, 0, slots[i].gpa, 0, NULL));
	}
	/* The same slot, but over another part of the memory. */
	ASSERT_EQ(0, __vm_slot_set(child, 0, 0, 0, 0, NULL));
	ASSERT_EQ(0, __vm_slot_set(child, 1, 0, RAM_GPA, RAM_SIZE, child->slots[0].hva));
	ASSERT_EQ(0, __vm_slot_set(child, 0, 0, 0, GUEST_MEMORY, child->slots[0].hva));
	expect_refused(self, child, -ESTALE, "memory");

	ASSERT_EQ(0, __vm_slot_set(child, 1, 0, RAM_GPA, 0, NULL));
	ASSERT_EQ(0, __vm_slot_set(child, 1, 0, RAM_GPA, RAM_SIZE, hva));
	expect_works(self);
}

TEST_F(shape, vcpu_added)
{
	vcpu_add(&self->child, 7);
	expect_refused(self, &self->child, -ESTALE, "number of vCPUs");
	EXPECT_EQ('c', ram_value(&self->child));
}

static void enable_cap(struct vm *vm, uint32_t cap, uint64_t value)
{
	struct kvm_enable_cap args = { .cap = cap, .args = { value } };

	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_ENABLE_CAP, &args), "KVM_ENABLE_CAP: %m");
}

TEST_F(shape, capability)
{
	enable_cap(&self->child, KVM_CAP_EXCEPTION_PAYLOAD, 1);
	expect_refused(self, &self->child, -ESTALE, "KVM_CAP_EXCEPTION_PAYLOAD");
	enable_cap(&self->child, KVM_CAP_EXCEPTION_PAYLOAD, 0);
	expect_works(self);
}

/* Neither a template nor a VM may have that. */
TEST_F(shape, msr_filter)
{
	uint8_t bitmap = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_READ, .nmsrs = 1, .base = 0x174,
			.bitmap = &bitmap,
		},
	};

	if (xioctl(self->child.vm_fd, KVM_X86_SET_MSR_FILTER, &filter))
		SKIP(return, "no MSR filters");
	expect_refused(self, &self->child, -EOPNOTSUPP, "KVM_X86_SET_MSR_FILTER");
	EXPECT_EQ('c', ram_value(&self->child));
}

/* VMs that have never been near the template. */
static void create_other(struct vm *vm, enum vm_irqchip irqchip, uint32_t vcpu_id)
{
	vm_create(vm, irqchip);
	vm_memory_add(vm, 0, 0, GUEST_MEMORY);
	vm_memory_add(vm, 0, RAM_GPA, RAM_SIZE);
	vcpu_add(vm, vcpu_id);
	vm->attach_fd = vm_attach(vm->vm_fd);
}

TEST_F(shape, interrupt_controller)
{
	static const enum vm_irqchip others[] = { VM_IRQCHIP_NONE, VM_IRQCHIP_SPLIT };
	struct vm other;

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		create_other(&other, others[i], 0);
		expect_refused(self, &other, -ESTALE, "interrupt controller");
		vm_close(&other);
	}
}

TEST_F(shape, pit)
{
	struct kvm_pit_config config = {};
	struct vm other;

	/* Without one; with one, but without the speaker. */
	for (int with = 0; with < 2; with++) {
		vm_create(&other, VM_IRQCHIP_NONE);
		ASSERT_EQ(0, xioctl(other.vm_fd, KVM_CREATE_IRQCHIP, NULL));
		if (with)
			ASSERT_EQ(0, xioctl(other.vm_fd, KVM_CREATE_PIT2, &config));
		vm_memory_add(&other, 0, 0, GUEST_MEMORY);
		vm_memory_add(&other, 0, RAM_GPA, RAM_SIZE);
		vcpu_add(&other, 0);
		other.attach_fd = vm_attach(other.vm_fd);
		expect_refused(self, &other, -ESTALE, "PIT");
		vm_close(&other);
	}
}

TEST_F(shape, vcpu_id)
{
	struct vm other;

	create_other(&other, VM_IRQCHIP_KERNEL, 3);
	expect_refused(self, &other, -ESTALE, "ids of vCPUs");
	vm_close(&other);
}

TEST_F(shape, boot_cpu)
{
	struct vm other;

	vm_create(&other, VM_IRQCHIP_KERNEL);
	ASSERT_EQ(0, xioctl(other.vm_fd, KVM_SET_BOOT_CPU_ID, (void *)1L));
	vm_memory_add(&other, 0, 0, GUEST_MEMORY);
	vm_memory_add(&other, 0, RAM_GPA, RAM_SIZE);
	vcpu_add(&other, 0);
	other.attach_fd = vm_attach(other.vm_fd);
	expect_refused(self, &other, -ESTALE, "boot CPU");
	vm_close(&other);
}

/* As many slots and files, but crosswise: nothing could be put where it belongs. */
TEST_F(shape, memory_shared_by_slots)
{
	int fd = memory_create(GUEST_MEMORY);
	char *hva = memory_map(fd, GUEST_MEMORY);
	struct vm other;

	vm_create(&other, VM_IRQCHIP_KERNEL);
	vm_slot_add(&other, 0, 0, GUEST_MEMORY, hva, fd, 0);
	vm_slot_add(&other, 0, RAM_GPA, RAM_SIZE, hva + RAM_SIZE, fd, RAM_SIZE);
	vcpu_add(&other, 0);
	other.attach_fd = vm_attach(other.vm_fd);
	expect_refused(self, &other, -ESTALE, "number of memory files");
	/* One mapping, which is unmapped once. */
	other.nr_slots = 1;
	vm_close(&other);
}

TEST_F(shape, without_anything)
{
	struct vm other;

	vm_create(&other, VM_IRQCHIP_KERNEL);
	vcpu_add(&other, 0);
	other.attach_fd = vm_attach(other.vm_fd);
	expect_refused(self, &other, -ESTALE, "slots");
	vm_close(&other);
}

/* The opposite: nothing to reset, and that works. */
TEST(empty)
{
	struct vm vm;
	int fd;

	vm_create(&vm, VM_IRQCHIP_NONE);
	vm.attach_fd = vm_attach(vm.vm_fd);
	fd = vm_freeze(&vm);
	EXPECT_EQ(0, __vm_reset(&vm, fd, RESET_ALL));
	close(fd);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
