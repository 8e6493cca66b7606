// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_TRAP_UD: the guest's invalid opcodes, seen by those who asked. */
#include "fork.h"
#include "harness.h"

#define UD_VECTOR	6

FIXTURE(trap) {
	struct vm vm, other;
};

GUEST_HANDLER(ud_handler, 6, 0, 2);

static void __guest guest_ud(uint64_t arg)
{
	for (;;) {
		guest_sync(arg++);
		__asm__ volatile("ud2");
	}
}

static void start(struct vm *vm)
{
	vm_set_handler(vm, UD_VECTOR, ud_handler);
	vcpu_start(&vm->vcpus[0], 0, guest_ud, 0);
}

FIXTURE_SETUP(trap)
{
	struct kvmfork_info info;

	TEST_REQUIRE(!xioctl(kvmfork_device(), KVMFORK_GET_INFO, &info), "KVMFORK_GET_INFO: %m");
	if (!(info.features & KVMFORK_FEATURE_TRAP_UD))
		SKIP(return, "this kernel lets nobody see #UD");
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	vm_create_default(&self->other, VM_IRQCHIP_KERNEL, 1);
	start(&self->vm);
	start(&self->other);
}

FIXTURE_TEARDOWN(trap)
{
	vm_close(&self->vm);
	vm_close(&self->other);
}

static uint64_t get_rip(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS: %m");
	return regs.rip;
}

static void step_over(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS: %m");
	regs.rip += 2;
	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_SET_REGS, &regs), "KVM_SET_REGS: %m");
}

/* One turn of the guest: its number, then #UD as the guest itself sees it. */
static bool guest_sees_ud(struct vm *vm, uint32_t nr)
{
	struct vcpu *vcpu = &vm->vcpus[0];

	return vcpu_run_to_port(vcpu, PORT_SYNC) == nr &&
	       vcpu_run_to_port(vcpu, PORT_TRAP) == UD_VECTOR;
}

/* One turn: its number, then an exit at the instruction, which is skipped. */
static bool user_sees_ud(struct vm *vm, uint32_t nr)
{
	struct vcpu *vcpu = &vm->vcpus[0];
	struct kvm_vcpu_events events;
	uint16_t *code;

	if (vcpu_run_to_port(vcpu, PORT_SYNC) != nr)
		return false;
	vcpu_run(vcpu);
	if (vcpu->run->exit_reason != KVM_EXIT_EXCEPTION ||
	    vcpu->run->ex.exception != UD_VECTOR)
		return false;
	code = vm_hva(vm, get_rip(vcpu));
	if (*code != 0x0b0f)
		return false;
	/* And nothing is on its way to the guest. */
	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events), "GET_VCPU_EVENTS: %m");
	if (events.exception.injected || events.exception.pending)
		return false;
	step_over(vcpu);
	return true;
}

TEST_F(trap, off_by_default)
{
	EXPECT_TRUE(guest_sees_ud(&self->vm, 0));
	EXPECT_TRUE(guest_sees_ud(&self->vm, 1));
}

TEST_F(trap, on)
{
	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	for (uint32_t i = 0; i < 10; i++) {
		EXPECT_TRUE(user_sees_ud(&self->vm, i))
			TH_LOG("turn %u", i);
	}
}

TEST_F(trap, other_vms_do_not_notice)
{
	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	for (uint32_t i = 0; i < 5; i++) {
		EXPECT_TRUE(user_sees_ud(&self->vm, i));
		EXPECT_TRUE(guest_sees_ud(&self->other, i));
	}
}

TEST_F(trap, on_and_off)
{
	for (uint32_t i = 0; i < 10; i++) {
		ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, i % 2 ? KVMFORK_TRAP_UD : 0));
		EXPECT_TRUE(i % 2 ? user_sees_ud(&self->vm, i) : guest_sees_ud(&self->vm, i));
	}
}

TEST_F(trap, off_with_the_attach_file)
{
	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	EXPECT_TRUE(user_sees_ud(&self->vm, 0));
	close(self->vm.attach_fd);
	EXPECT_TRUE(guest_sees_ud(&self->vm, 1));
	self->vm.attach_fd = vm_attach(self->vm.vm_fd);
	EXPECT_TRUE(guest_sees_ud(&self->vm, 2));
	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	EXPECT_TRUE(user_sees_ud(&self->vm, 3));
}

TEST_F(trap, not_stepped_over_it_comes_again)
{
	struct vcpu *vcpu = &self->vm.vcpus[0];
	uint64_t rip;

	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	vcpu_run_to_port(vcpu, PORT_SYNC);
	vcpu_run(vcpu);
	rip = get_rip(vcpu);
	for (int i = 0; i < 3; i++) {
		vcpu_run(vcpu);
		EXPECT_EQ(KVM_EXIT_EXCEPTION, vcpu->run->exit_reason);
		EXPECT_EQ(rip, get_rip(vcpu));
	}
}

/* User space hands it back to the guest. */
TEST_F(trap, injected_by_user_space)
{
	struct vcpu *vcpu = &self->vm.vcpus[0];
	struct kvm_vcpu_events events;

	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	vcpu_run_to_port(vcpu, PORT_SYNC);
	vcpu_run(vcpu);
	ASSERT_EQ(KVM_EXIT_EXCEPTION, vcpu->run->exit_reason);
	ASSERT_EQ(0, xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events));
	events.exception.injected = 1;
	events.exception.nr = UD_VECTOR;
	events.exception.has_error_code = 0;
	ASSERT_EQ(0, xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(UD_VECTOR, vcpu_run_to_port(vcpu, PORT_TRAP));
	EXPECT_TRUE(user_sees_ud(&self->vm, 1));
}

TEST_F(trap, inherited)
{
	struct vm child, grandchild;

	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	vm_fork(&self->vm, &child);
	vm_fork(&child, &grandchild);
	EXPECT_TRUE(user_sees_ud(&child, 0));
	EXPECT_TRUE(user_sees_ud(&grandchild, 0));
	/* Each may change it for itself. */
	ASSERT_EQ(0, __vm_trap(child.attach_fd, 0));
	EXPECT_TRUE(guest_sees_ud(&child, 1));
	EXPECT_TRUE(user_sees_ud(&grandchild, 1));
	EXPECT_TRUE(user_sees_ud(&self->vm, 0));
	vm_close(&child);
	EXPECT_TRUE(user_sees_ud(&grandchild, 2));
	vm_close(&grandchild);
}

TEST_F(trap, off_is_inherited_too)
{
	struct vm child;

	vm_fork(&self->vm, &child);
	EXPECT_TRUE(guest_sees_ud(&child, 0));
	vm_close(&child);
}

/* Those of the parent when it was frozen, not when it was spawned. */
TEST_F(trap, as_when_frozen)
{
	struct vm child;
	int fds[2];

	fds[0] = vm_freeze(&self->vm);
	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	fds[1] = vm_freeze(&self->vm);
	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, 0));
	vm_spawn(fds[0], &self->vm, &child);
	EXPECT_TRUE(guest_sees_ud(&child, 0));
	vm_close(&child);
	vm_spawn(fds[1], &self->vm, &child);
	EXPECT_TRUE(user_sees_ud(&child, 0));
	vm_close(&child);
	close(fds[0]);
	close(fds[1]);
}

/* The use that it is made for: fork at the instruction, both go on behind. */
TEST_F(trap, fork_at_the_instruction)
{
	struct vcpu *vcpu = &self->vm.vcpus[0];
	struct vm child;

	ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	EXPECT_EQ(0, vcpu_run_to_port(vcpu, PORT_SYNC));
	vcpu_run(vcpu);
	ASSERT_EQ(KVM_EXIT_EXCEPTION, vcpu->run->exit_reason);
	vm_fork(&self->vm, &child);
	EXPECT_EQ(get_rip(vcpu), get_rip(&child.vcpus[0]));
	step_over(vcpu);
	step_over(&child.vcpus[0]);
	EXPECT_TRUE(user_sees_ud(&child, 1));
	EXPECT_TRUE(user_sees_ud(&self->vm, 1));
	vm_close(&child);
}

/* Many VMs, every other one with the trap. */
TEST_F(trap, many_vms)
{
	struct vm vms[8];

	for (size_t i = 0; i < ARRAY_LENGTH(vms); i++) {
		vm_create_default(&vms[i], VM_IRQCHIP_NONE, 1);
		start(&vms[i]);
		ASSERT_EQ(0, __vm_trap(vms[i].attach_fd, i % 2 ? KVMFORK_TRAP_UD : 0));
	}
	for (size_t i = 0; i < ARRAY_LENGTH(vms); i++) {
		EXPECT_TRUE(i % 2 ? user_sees_ud(&vms[i], 0) : guest_sees_ud(&vms[i], 0))
			TH_LOG("VM %zu", i);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(vms); i += 3)
		vm_close(&vms[i]);
	for (size_t i = 0; i < ARRAY_LENGTH(vms); i++) {
		if (i % 3 == 0)
			continue;
		EXPECT_TRUE(i % 2 ? user_sees_ud(&vms[i], 1) : guest_sees_ud(&vms[i], 1));
		vm_close(&vms[i]);
	}
}

TEST_HARNESS_MAIN
