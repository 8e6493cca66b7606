// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET of state: a guest that starts from the same point each time, and
 * nothing left of what was on its way to the guest that has been replaced.
 */
#include "fork.h"
#include "harness.h"
#include "scramble.h"
#include "state.h"

#define RAM_GPA		(16UL << 20)

static struct state_image image, other_image;

FIXTURE(state) {
	struct vm vm, child;
	int template;
};

FIXTURE_VARIANT(state) {
	enum vm_irqchip irqchip;
	unsigned int nr_vcpus;
};

FIXTURE_VARIANT_ADD(state, kernel_irqchip) { .irqchip = VM_IRQCHIP_KERNEL, .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(state, split_irqchip) { .irqchip = VM_IRQCHIP_SPLIT, .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(state, no_irqchip) { .irqchip = VM_IRQCHIP_NONE, .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(state, two_vcpus) { .irqchip = VM_IRQCHIP_KERNEL, .nr_vcpus = 2 };
FIXTURE_VARIANT_ADD(state, four_vcpus) { .irqchip = VM_IRQCHIP_NONE, .nr_vcpus = 4 };

/* Of arg: the number of the vCPU, and the number to begin with. */
static void __guest guest_count_own(uint64_t arg)
{
	uint64_t at = GUEST_DATA + (arg & 0xff) * 4096, count = arg >> 8;

	/* Interrupts are let in: there shall be none. */
	__asm__ volatile("sti");
	for (;;) {
		guest_write64(at, ++count);
		guest_sync(count);
	}
}

/* Whatever comes is said on PORT_TRAP, which no test here expects. */
GUEST_HANDLER(unexpected, 0xff, 0, 0);

#define FIRST(vcpu)	(1000 * ((vcpu) + 1) + 1)

FIXTURE_SETUP(state)
{
	vm_create_default(&self->vm, variant->irqchip, variant->nr_vcpus);
	vm_memory_add(&self->vm, 0, RAM_GPA, 64 * PAGE_SIZE);
	for (unsigned int vector = 0; vector < 256; vector++)
		vm_set_handler(&self->vm, vector, unexpected);
	for (unsigned int i = 0; i < variant->nr_vcpus; i++)
		vcpu_start(&self->vm.vcpus[i], i, guest_count_own, (FIRST(i) - 1) << 8 | i);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
}

FIXTURE_TEARDOWN(state)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

static uint64_t *count_of(struct vm *vm, unsigned int vcpu)
{
	return vm_hva(vm, GUEST_DATA + vcpu * PAGE_SIZE);
}

/* Run all vCPUs from where the template is: in registers and in memory. */
static bool starts_over(struct vm *vm, unsigned int rounds)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (*count_of(vm, i)) {
			fprintf(stderr, "# memory of vCPU %u was not reset\n", i);
			return false;
		}
	}
	for (unsigned int round = 0; round < rounds; round++) {
		for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
			uint32_t count = vcpu_run_to_port(&vm->vcpus[i], PORT_SYNC);

			if (count != FIRST(i) + round || count != *count_of(vm, i)) {
				fprintf(stderr, "# vCPU %u: %u instead of %u, %lu in memory\n", i,
					count, FIRST(i) + round, (long)*count_of(vm, i));
				return false;
			}
		}
	}
	return true;
}

TEST_F(state, same_exit_each_time)
{
	unsigned long loops = test_scaled(1000);

	for (unsigned long i = 0; i < loops; i++) {
		ASSERT_TRUE(starts_over(&self->child, i % 5))
			TH_LOG("loop %lu", i);
		vm_reset(&self->child, self->template);
	}
	EXPECT_EQ(0, fdinfo_value(self->child.slots[0].memory_fd, "kvmfork-private"));
	EXPECT_EQ(loops, fdinfo_value(self->child.attach_fd, "kvmfork-resets"));
	EXPECT_TRUE(starts_over(&self->child, 3));
	EXPECT_TRUE(starts_over(&self->vm, 3));
}

/*
 * Timers run, interrupts of all kinds are on their way, the vCPU is in SMM: none
 * of it shall reach the guest.
 */
TEST_F(state, same_exit_after_anything)
{
	unsigned long loops = test_scaled(50);

	for (unsigned long i = 0; i < loops; i++) {
		vm_scramble(&self->child);
		vm_reset(&self->child, self->template);
		ASSERT_TRUE(starts_over(&self->child, 4))
			TH_LOG("loop %lu", i);
	}
}

/* The same as bytes. The first look at a vCPU that has run is through its FPU. */
TEST_F(state, as_the_template)
{
	for (unsigned int i = 0; i < variant->nr_vcpus; i++) {
		for (int round = 0; round < 3; round++) {
			vm_scramble(&self->child);
			vm_reset(&self->child, self->template);
			state_image_get(&self->vm, i, &image);
			state_image_get(&self->child, i, &other_image);
			EXPECT_EQ(0, state_image_compare(&image, &other_image))
				TH_LOG("vCPU %u, round %d", i, round);
		}
	}
}

/* Of no use otherwise: what scrambling leaves as it was is not tested here. */
TEST_F(state, scrambling_spares_nothing)
{
	unsigned int last = variant->nr_vcpus - 1;

	state_image_get(&self->child, last, &image);
	vm_scramble_state(&self->child);
	state_image_get(&self->child, last, &other_image);
	for (int id = 0; id < STATES; id++) {
		/* The one is the same for all; no machine lets the other be changed so. */
		if (id == STATE_CPUID || id == STATE_TSC_KHZ || !image.states[id].size)
			continue;
		/* A vCPU that no LAPIC can start or halt. */
		if (id == STATE_MP_STATE && variant->irqchip == VM_IRQCHIP_NONE)
			continue;
		EXPECT_FALSE(state_equal(&image.states[id], &other_image.states[id]))
			TH_LOG("%s", state_name(id));
	}
}

TEST_F(state, state_alone)
{
	char *ram = vm_hva(&self->child, RAM_GPA);

	EXPECT_TRUE(starts_over(&self->child, 3));
	*ram = 'c';
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KVMFORK_RESET_STATE));
	EXPECT_EQ('c', *ram);
	for (unsigned int i = 0; i < variant->nr_vcpus; i++) {
		EXPECT_EQ(FIRST(i) + 2, *count_of(&self->child, i));
		EXPECT_EQ(FIRST(i), vcpu_run_to_port(&self->child.vcpus[i], PORT_SYNC));
	}
}

TEST_F(state, memory_alone)
{
	EXPECT_TRUE(starts_over(&self->child, 3));
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KVMFORK_RESET_MEMORY));
	for (unsigned int i = 0; i < variant->nr_vcpus; i++) {
		EXPECT_EQ(0, *count_of(&self->child, i));
		EXPECT_EQ(FIRST(i) + 3, vcpu_run_to_port(&self->child.vcpus[i], PORT_SYNC));
		EXPECT_EQ(FIRST(i) + 3, *count_of(&self->child, i));
	}
}

TEST_F(state, time_does_not_go_back)
{
	struct kvm_clock_data before, after, parent;

	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_CLOCK, &before));
	vm_reset(&self->child, self->template);
	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_CLOCK, &after));
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_CLOCK, &parent));
	EXPECT_LE(before.clock, after.clock + 5000000);
	EXPECT_LE(after.clock, parent.clock + 5000000);
}

TEST_HARNESS_MAIN
