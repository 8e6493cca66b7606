// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forks in the middle of port and memory-mapped I/O: each side finishes the
 * instruction once, with the data that user space gave.
 */
#include "fork.h"
#include "harness.h"

FIXTURE(io) {
	struct vm vm, child;
};

FIXTURE_SETUP(io)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
}

FIXTURE_TEARDOWN(io)
{
	vm_close(&self->vm);
}

#define VCPU(vm)	(&(vm)->vcpus[0])

static void __guest guest_out_twice(uint64_t arg)
{
	guest_outl(PORT_DATA, arg);
	guest_sync(arg + 1);
}

TEST_F(io, out)
{
	vcpu_start(VCPU(&self->vm), 0, guest_out_twice, 7);
	EXPECT_EQ(7, vcpu_run_to_port(VCPU(&self->vm), PORT_DATA));
	vm_fork(&self->vm, &self->child);
	/* Done already: not said again. */
	EXPECT_EQ(8, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(8, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

static void __guest guest_in_and_say(uint64_t arg)
{
	guest_sync(guest_inl(PORT_DATA) + arg);
}

TEST_F(io, in)
{
	vcpu_start(VCPU(&self->vm), 0, guest_in_and_say, 1000);
	vcpu_run(VCPU(&self->vm));
	ASSERT_EQ(KVM_EXIT_IO, VCPU(&self->vm)->run->exit_reason);
	ASSERT_EQ(KVM_EXIT_IO_IN, VCPU(&self->vm)->run->io.direction);
	*(uint32_t *)vcpu_pio_data(VCPU(&self->vm)) = 42;
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(1042, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(1042, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

/* Completed by the caller before: that must not hurt either. */
TEST_F(io, in_completed)
{
	vcpu_start(VCPU(&self->vm), 0, guest_in_and_say, 1000);
	vcpu_run(VCPU(&self->vm));
	*(uint32_t *)vcpu_pio_data(VCPU(&self->vm)) = 42;
	EXPECT_EQ(-EINTR, __vcpu_complete_io(VCPU(&self->vm)));
	*(uint32_t *)vcpu_pio_data(VCPU(&self->vm)) = 43;
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(1042, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(1042, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

static void __guest guest_load_and_say(uint64_t arg)
{
	guest_sync(guest_read32(arg) + 5);
}

TEST_F(io, mmio_read)
{
	struct kvm_run *run = VCPU(&self->vm)->run;

	vcpu_start(VCPU(&self->vm), 0, guest_load_and_say, GUEST_MMIO + 0x10);
	vcpu_run(VCPU(&self->vm));
	ASSERT_EQ(KVM_EXIT_MMIO, run->exit_reason);
	ASSERT_EQ(GUEST_MMIO + 0x10, run->mmio.phys_addr);
	ASSERT_EQ(0, run->mmio.is_write);
	*(uint32_t *)run->mmio.data = 100;
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(105, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(105, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

static void __guest guest_store_and_say(uint64_t arg)
{
	guest_write32(arg, 9);
	guest_sync(10);
}

TEST_F(io, mmio_write)
{
	vcpu_start(VCPU(&self->vm), 0, guest_store_and_say, GUEST_MMIO);
	vcpu_run(VCPU(&self->vm));
	ASSERT_EQ(KVM_EXIT_MMIO, VCPU(&self->vm)->run->exit_reason);
	ASSERT_EQ(1, VCPU(&self->vm)->run->mmio.is_write);
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(10, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(10, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

static void __guest guest_string_out(uint64_t arg)
{
	uint64_t count = 64;

	__asm__ volatile("rep outsb" : "+S"(arg), "+c"(count) : "d"((uint16_t)PORT_DATA)
			 : "memory");
	guest_sync(count + 1);
}

static void __guest guest_string_in(uint64_t arg)
{
	uint64_t count = 3000, end = arg;
	uint32_t sum = 0;

	__asm__ volatile("rep insb" : "+D"(end), "+c"(count) : "d"((uint16_t)PORT_DATA)
			 : "memory");
	for (uint64_t i = arg; i < end; i++)
		sum += *(volatile uint8_t *)i;
	guest_sync(sum);
}

/* Bytes of the string are numbered by this, in each VM on its own. */
struct string_io {
	unsigned int next, wrong;
};

static void string_io_handle(struct vcpu *vcpu, struct string_io *io)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = vcpu_pio_data(vcpu);

	for (unsigned int i = 0; i < run->io.count * run->io.size; i++, io->next++) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			data[i] = io->next * 3;
		else
			io->wrong += data[i] != (uint8_t)(io->next * 3);
	}
}

/* To the end of the string; what the guest says then. */
static uint32_t string_io_finish(struct vcpu *vcpu, struct string_io *io)
{
	struct kvm_run *run = vcpu->run;

	for (;;) {
		vcpu_run(vcpu);
		TEST_REQUIRE(run->exit_reason == KVM_EXIT_IO, "exit %u", run->exit_reason);
		if (run->io.port == PORT_SYNC)
			return *(uint32_t *)vcpu_pio_data(vcpu);
		string_io_handle(vcpu, io);
	}
}

/* Fork, handling exits that must be finished first. */
static unsigned int fork_with_string_io(struct vm *vm, struct vm *child, struct string_io *io)
{
	unsigned int in_progress = 0;
	struct fork_call call;
	int ret;

	for (;;) {
		fork_call_init(&call, vm);
		ret = fork_call_fork(&call, vm->attach_fd);
		if (ret != -EINPROGRESS)
			break;
		TEST_REQUIRE(call.message[0], "no message");
		TEST_REQUIRE(VCPU(vm)->run->exit_reason == KVM_EXIT_IO, "no exit to handle");
		string_io_handle(VCPU(vm), io);
		in_progress++;
	}
	TEST_REQUIRE(!ret, "fork: %s: %s", strerror(-ret), call.message);
	fork_call_child(&call, vm, child);
	return in_progress;
}

TEST_F(io, string_out)
{
	struct string_io parent = {}, child;
	uint8_t *text = vm_hva(&self->vm, GUEST_DATA);

	for (int i = 0; i < 64; i++)
		text[i] = i * 3;
	vcpu_start(VCPU(&self->vm), 0, guest_string_out, GUEST_DATA);
	vcpu_run(VCPU(&self->vm));
	string_io_handle(VCPU(&self->vm), &parent);
	fork_with_string_io(&self->vm, &self->child, &parent);
	child = parent;
	EXPECT_EQ(1, string_io_finish(VCPU(&self->child), &child));
	EXPECT_EQ(1, string_io_finish(VCPU(&self->vm), &parent));
	EXPECT_EQ(64, child.next);
	EXPECT_EQ(64, parent.next);
	EXPECT_EQ(0, child.wrong + parent.wrong);
	vm_close(&self->child);
}

TEST_F(io, string_in)
{
	struct string_io parent = {}, child;
	uint32_t sum = 0;

	for (unsigned int i = 0; i < 3000; i++)
		sum += (uint8_t)(i * 3);
	vcpu_start(VCPU(&self->vm), 0, guest_string_in, GUEST_DATA);
	vcpu_run(VCPU(&self->vm));
	string_io_handle(VCPU(&self->vm), &parent);
	TH_LOG("%u times in progress",
	       fork_with_string_io(&self->vm, &self->child, &parent));
	child = parent;
	EXPECT_EQ(sum, string_io_finish(VCPU(&self->child), &child));
	EXPECT_EQ(sum, string_io_finish(VCPU(&self->vm), &parent));
	EXPECT_EQ(3000, child.next);
	EXPECT_EQ(3000, parent.next);
	vm_close(&self->child);
}

static void __guest guest_wide_load(uint64_t arg)
{
	uint64_t low, high;

	__asm__ volatile("movdqu (%2), %%xmm0\n\tmovq %%xmm0, %0\n\t"
			 "psrldq $8, %%xmm0\n\tmovq %%xmm0, %1"
			 : "=r"(low), "=r"(high) : "r"(arg) : "memory", "xmm0");
	guest_sync(low + high);
}

/* 16 bytes come in two exits: the fork falls between them. */
TEST_F(io, mmio_in_two_parts)
{
	struct kvm_run *run = VCPU(&self->vm)->run;
	struct fork_call call;

	vcpu_start(VCPU(&self->vm), 0, guest_wide_load, GUEST_MMIO);
	vcpu_run(VCPU(&self->vm));
	ASSERT_EQ(KVM_EXIT_MMIO, run->exit_reason);
	ASSERT_EQ(8, run->mmio.len);
	*(uint64_t *)run->mmio.data = 1000;
	fork_call_init(&call, &self->vm);
	EXPECT_EQ(-EINPROGRESS, fork_call_fork(&call, self->vm.attach_fd));
	EXPECT_NE(0, call.message[0]);
	/* The second exit is there for user space to finish. */
	ASSERT_EQ(KVM_EXIT_MMIO, run->exit_reason);
	ASSERT_EQ(GUEST_MMIO + 8, run->mmio.phys_addr);
	*(uint64_t *)run->mmio.data = 234;
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(1234, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(1234, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

static void __guest guest_halt(uint64_t arg)
{
	guest_sync(arg);
	__asm__ volatile("hlt");
	guest_sync(arg + 1);
}

/* Without an irqchip HLT is user space's; both go on behind it. */
TEST_F(io, halt)
{
	vcpu_start(VCPU(&self->vm), 0, guest_halt, 70);
	EXPECT_EQ(70, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vcpu_run(VCPU(&self->vm));
	ASSERT_EQ(KVM_EXIT_HLT, VCPU(&self->vm)->run->exit_reason);
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(71, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(71, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

static void __guest guest_task_priority(uint64_t arg)
{
	uint64_t now;

	__asm__ volatile("mov %0, %%cr8" : : "r"(arg));
	guest_sync(1);
	__asm__ volatile("mov %%cr8, %0" : "=r"(now));
	guest_sync(now);
}

/* Without an irqchip CR8 is taken from kvm_run at each entry. */
TEST_F(io, task_priority_in_kvm_run)
{
	vcpu_start(VCPU(&self->vm), 0, guest_task_priority, 6);
	/* CR8 writes may exit first. */
	do {
		vcpu_run(VCPU(&self->vm));
	} while (VCPU(&self->vm)->run->exit_reason == KVM_EXIT_SET_TPR);
	ASSERT_EQ(KVM_EXIT_IO, VCPU(&self->vm)->run->exit_reason);
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(6, vcpu_run_to_port(VCPU(&self->child), PORT_SYNC));
	EXPECT_EQ(6, vcpu_run_to_port(VCPU(&self->vm), PORT_SYNC));
	vm_close(&self->child);
}

/* Single-stepping, which has no getter. */
TEST_F(io, guest_debug)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct fork_call call;
	int ret;

	vcpu_start(VCPU(&self->vm), 0, guest_count, 0);
	ASSERT_EQ(0, xioctl(VCPU(&self->vm)->fd, KVM_SET_GUEST_DEBUG, &debug));
	vcpu_run(VCPU(&self->vm));
	ASSERT_EQ(KVM_EXIT_DEBUG, VCPU(&self->vm)->run->exit_reason);
	fork_call_init(&call, &self->vm);
	ret = fork_call_fork(&call, self->vm.attach_fd);
	/* Carried, or an error that names it. */
	if (ret == -EOPNOTSUPP) {
		EXPECT_NE(0, call.message[0]);
		return;
	}
	ASSERT_EQ(0, ret);
	fork_call_child(&call, &self->vm, &self->child);
	vcpu_run(VCPU(&self->child));
	EXPECT_EQ(KVM_EXIT_DEBUG, VCPU(&self->child)->run->exit_reason);
	vm_close(&self->child);
}

TEST_HARNESS_MAIN
