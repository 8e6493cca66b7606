// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET of vCPUs in the middle of an instruction: its second half is the
 * old guest's, and not done to the new one.
 */
#include "fork.h"
#include "harness.h"

#define SPOILT		0x5a

/* What the guest is in the middle of. */
enum exit_kind { IN, OUT, STRING_IN, STRING_OUT, MMIO_READ, MMIO_WRITE, MMIO_WIDE, HALT };

FIXTURE(pending) {
	struct vm vm, child;
	int template;
};

FIXTURE_VARIANT(pending) {
	enum exit_kind kind;
	uint32_t exit_reason;
};

FIXTURE_VARIANT_ADD(pending, in) { .kind = IN, .exit_reason = KVM_EXIT_IO };
FIXTURE_VARIANT_ADD(pending, out) { .kind = OUT, .exit_reason = KVM_EXIT_IO };
FIXTURE_VARIANT_ADD(pending, string_in) { .kind = STRING_IN, .exit_reason = KVM_EXIT_IO };
FIXTURE_VARIANT_ADD(pending, string_out) { .kind = STRING_OUT, .exit_reason = KVM_EXIT_IO };
FIXTURE_VARIANT_ADD(pending, mmio_read) { .kind = MMIO_READ, .exit_reason = KVM_EXIT_MMIO };
FIXTURE_VARIANT_ADD(pending, mmio_write) { .kind = MMIO_WRITE, .exit_reason = KVM_EXIT_MMIO };
FIXTURE_VARIANT_ADD(pending, mmio_wide) { .kind = MMIO_WIDE, .exit_reason = KVM_EXIT_MMIO };
FIXTURE_VARIANT_ADD(pending, halt) { .kind = HALT, .exit_reason = KVM_EXIT_HLT };

static __guest_inline inline void guest_string(bool in)
{
	uint64_t at = GUEST_DATA, count = 3000;

	if (in)
		__asm__ volatile("rep insb" : "+D"(at), "+c"(count) : "d"((uint16_t)PORT_DATA)
				 : "memory");
	else
		__asm__ volatile("rep outsb" : "+S"(at), "+c"(count) : "d"((uint16_t)PORT_DATA)
				 : "memory");
}

/* First a number, then the exit that is left half-way, then a sum of it all. */
static void __guest guest_exits(uint64_t kind)
{
	uint64_t low = 0, high = 0;

	guest_sync(100 + kind);
	if (kind == IN)
		low = guest_inl(PORT_DATA);
	else if (kind == OUT)
		guest_outl(PORT_DATA, 7);
	else if (kind == STRING_IN)
		guest_string(true);
	else if (kind == STRING_OUT)
		guest_string(false);
	else if (kind == MMIO_READ)
		low = guest_read32(GUEST_MMIO);
	else if (kind == MMIO_WRITE)
		guest_write32(GUEST_MMIO, 7);
	else if (kind == MMIO_WIDE)
		__asm__ volatile("movdqu (%2), %%xmm0\n\tmovq %%xmm0, %0\n\t"
				 "psrldq $8, %%xmm0\n\tmovq %%xmm0, %1"
				 : "=r"(low), "=r"(high) : "r"(GUEST_MMIO) : "memory", "xmm0");
	else
		__asm__ volatile("hlt");
	guest_sync(1000 + low + high);
}

FIXTURE_SETUP(pending)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	vcpu_start(&self->vm.vcpus[0], 0, guest_exits, variant->kind);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
}

FIXTURE_TEARDOWN(pending)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

static struct vcpu *vcpu_of(struct vm *vm)
{
	return &vm->vcpus[0];
}

/* Each exit's data is @byte all over. */
static void answer(struct vcpu *vcpu, uint8_t byte)
{
	struct kvm_run *run = vcpu->run;

	if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN)
		memset(vcpu_pio_data(vcpu), byte, run->io.count * run->io.size);
	if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write)
		memset(run->mmio.data, byte, sizeof(run->mmio.data));
}

/* To the exit in question, which is there for user space to answer. */
static void run_to_exit(struct vm *vm, enum exit_kind kind, uint32_t reason)
{
	uint32_t said = vcpu_run_to_port(vcpu_of(vm), PORT_SYNC);

	TEST_REQUIRE(said == 100 + kind, "the guest says %u", said);
	vcpu_run(vcpu_of(vm));
	TEST_REQUIRE(vcpu_of(vm)->run->exit_reason == reason, "exit %u",
		     vcpu_of(vm)->run->exit_reason);
}

/* From the beginning to the end, all answered by zeroes. */
static bool runs_right(struct vm *vm, enum exit_kind kind, uint32_t reason)
{
	struct vcpu *vcpu = vcpu_of(vm);
	unsigned int exits = 1;

	run_to_exit(vm, kind, reason);
	for (;;) {
		answer(vcpu, 0);
		vcpu_run(vcpu);
		if (vcpu->run->exit_reason == KVM_EXIT_IO && vcpu->run->io.port == PORT_SYNC)
			break;
		if (vcpu->run->exit_reason != reason || exits++ > 3000)
			return false;
	}
	return *(uint32_t *)vcpu_pio_data(vcpu) == 1000;
}

static bool memory_is_as_in_the_template(struct vm *vm)
{
	return !fdinfo_value(vm->slots[0].memory_fd, "kvmfork-private") &&
	       !*(char *)vm_hva(vm, GUEST_DATA) && !*(char *)vm_hva(vm, GUEST_DATA + 1);
}

TEST_F(pending, is_given_up)
{
	run_to_exit(&self->child, variant->kind, variant->exit_reason);
	answer(vcpu_of(&self->child), SPOILT);
	vm_reset(&self->child, self->template);
	EXPECT_TRUE(memory_is_as_in_the_template(&self->child));
	EXPECT_TRUE(runs_right(&self->child, variant->kind, variant->exit_reason));
}

/* What is in kvm_run by then must not matter. */
TEST_F(pending, is_given_up_without_an_answer)
{
	struct kvm_run *run = vcpu_of(&self->child)->run;

	run_to_exit(&self->child, variant->kind, variant->exit_reason);
	run->exit_reason = 0xffffffff;
	memset(&run->mmio, 0xff, sizeof(run->mmio));
	vm_reset(&self->child, self->template);
	EXPECT_TRUE(memory_is_as_in_the_template(&self->child));
	EXPECT_TRUE(runs_right(&self->child, variant->kind, variant->exit_reason));
}

/* In the middle of a string, or of what comes in two parts. */
TEST_F(pending, is_given_up_later)
{
	for (unsigned int parts = 0; parts < 3; parts++) {
		run_to_exit(&self->child, variant->kind, variant->exit_reason);
		for (unsigned int i = 0; i < parts; i++) {
			answer(vcpu_of(&self->child), SPOILT);
			vcpu_run(vcpu_of(&self->child));
		}
		vm_reset(&self->child, self->template);
		ASSERT_TRUE(memory_is_as_in_the_template(&self->child));
	}
	EXPECT_TRUE(runs_right(&self->child, variant->kind, variant->exit_reason));
}

/* A kick that the monitor has sent is not lost. */
TEST_F(pending, kicked)
{
	run_to_exit(&self->child, variant->kind, variant->exit_reason);
	vcpu_of(&self->child)->run->immediate_exit = 1;
	vm_reset(&self->child, self->template);
	EXPECT_EQ(1, vcpu_of(&self->child)->run->immediate_exit);
	EXPECT_EQ(-EINTR, __vcpu_run(vcpu_of(&self->child)));
	vcpu_of(&self->child)->run->immediate_exit = 0;
	EXPECT_TRUE(runs_right(&self->child, variant->kind, variant->exit_reason));
}

/* Taken back together with the state: alone, memory has no business with it. */
TEST_F(pending, memory_alone)
{
	struct vcpu *vcpu = vcpu_of(&self->child);

	if (variant->kind == STRING_IN || variant->kind == STRING_OUT)
		SKIP(return, "there is more to come");
	run_to_exit(&self->child, variant->kind, variant->exit_reason);
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KVMFORK_RESET_MEMORY));
	do {
		answer(vcpu, 0);
		vcpu_run(vcpu);
	} while (vcpu->run->exit_reason == KVM_EXIT_MMIO);
	ASSERT_EQ(KVM_EXIT_IO, vcpu->run->exit_reason);
	EXPECT_EQ(1000, *(uint32_t *)vcpu_pio_data(vcpu));
}

/* And the same of a template which was frozen there. */
TEST_F(pending, in_the_template)
{
	int fd;

	run_to_exit(&self->vm, variant->kind, variant->exit_reason);
	answer(vcpu_of(&self->vm), 0);
	fd = __vm_freeze(&self->vm);
	if (fd == -EINPROGRESS)
		SKIP(return, "more of it has to be answered before the freeze");
	ASSERT_LE(0, fd);
	run_to_exit(&self->child, variant->kind, variant->exit_reason);
	answer(vcpu_of(&self->child), SPOILT);
	vm_reset(&self->child, fd);
	if (variant->kind != STRING_IN && variant->kind != STRING_OUT)
		EXPECT_EQ(1000, vcpu_run_to_port(vcpu_of(&self->child), PORT_SYNC));
	close(fd);
}

/* Registers that KVM was to take from kvm_run, of a vCPU that will not run. */
TEST(registers_in_kvm_run)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_UNINITIALIZED };
	struct vm vm, child;
	struct kvm_run *run;
	int fd;

	if (!(kvm_check_cap(KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS))
		SKIP(return, "no KVM_SYNC_X86_REGS");
	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_count, 0);
	fd = vm_freeze(&vm);
	vm_spawn(fd, &vm, &child);
	run = child.vcpus[0].run;
	for (int stopped = 0; stopped < 2; stopped++) {
		memset(&run->s.regs.regs, 0xff, sizeof(run->s.regs.regs));
		run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
		if (stopped)
			ASSERT_EQ(0, xioctl(child.vcpus[0].fd, KVM_SET_MP_STATE, &state));
		vm_reset(&child, fd);
		EXPECT_EQ(0, run->kvm_dirty_regs);
		EXPECT_EQ(1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	}
	close(fd);
	vm_close(&child);
	vm_close(&vm);
}

/* KVM does not finish an instruction of a vCPU that waits for its start. */
TEST(vcpu_that_does_not_run)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_UNINITIALIZED };
	struct vm vm, child;
	int fd;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_exits, IN);
	fd = vm_freeze(&vm);
	vm_spawn(fd, &vm, &child);
	run_to_exit(&child, IN, KVM_EXIT_IO);
	ASSERT_EQ(0, xioctl(child.vcpus[0].fd, KVM_SET_MP_STATE, &state));
	ASSERT_EQ(0, __vm_reset(&child, fd, RESET_ALL));
	EXPECT_TRUE(runs_right(&child, IN, KVM_EXIT_IO));
	close(fd);
	vm_close(&child);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
