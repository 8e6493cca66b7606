// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registers of a vCPU: each kind is set to what a new vCPU does not have,
 * and must be found in the child, while nothing else has changed.
 */
#include "fork.h"
#include "harness.h"
#include "state.h"

static struct state_image fresh, parent_before, parent_after, child_image;

FIXTURE(registers) {
	struct vm vm;
};

FIXTURE_VARIANT(registers) {
	enum state_id state;
	/* False: this machine has no such state. */
	bool (*set)(struct vm *vm, struct vcpu *vcpu);
	enum vm_irqchip irqchip;
};

static bool set_regs(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_regs regs;
	uint64_t *words = (uint64_t *)&regs;

	(void)vm;
	/* The general ones, rip among them, then the flags. */
	for (size_t i = 0; i < sizeof(regs) / 8; i++)
		words[i] = 0x0101010101010101 * (i + 1);
	regs.rip = 0x0000123456789abc;
	regs.rflags = 0x200cd7;
	return !xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}
FIXTURE_VARIANT_ADD(registers, regs) {
	.state = STATE_REGS, .set = set_regs, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_sregs(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	(void)vm;
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.es.base = 0x1000;
	sregs.es.selector = 0x33;
	sregs.ds.limit = 0x12fff;
	sregs.fs.base = 0x7fff12345000;
	sregs.gs.base = 0xffff888012345000;
	sregs.gs.selector = 0x2b;
	sregs.ldt = (struct kvm_segment) {
		.base = 0x5000, .limit = 0xfff, .selector = 0x48, .type = 2, .present = 1,
	};
	sregs.gdt.limit = 0x7f;
	sregs.idt.base = 0xffffffff81000000;
	sregs.cr2 = 0xdeadbeef000;
	sregs.cr3 |= 0x18;
	sregs.cr4 |= 0x80;
	sregs.cr8 = 9;
	sregs.efer |= 1;
	return !xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}
FIXTURE_VARIANT_ADD(registers, sregs) {
	.state = STATE_SREGS, .set = set_sregs, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_sregs_no_irqchip(struct vm *vm, struct vcpu *vcpu)
{
	return set_sregs(vm, vcpu);
}
FIXTURE_VARIANT_ADD(registers, sregs_no_irqchip) {
	.state = STATE_SREGS, .set = set_sregs_no_irqchip, .irqchip = VM_IRQCHIP_NONE,
};

/* The interrupt that user space has injected, in the old place. */
static bool set_interrupt_bitmap(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	(void)vm;
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.interrupt_bitmap[0x41 / 64] = 1ULL << (0x41 % 64);
	return !xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}
FIXTURE_VARIANT_ADD(registers, interrupt_bitmap) {
	.state = STATE_SREGS, .set = set_interrupt_bitmap, .irqchip = VM_IRQCHIP_NONE,
};

static bool set_real_mode(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	(void)vm;
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cr0 = 0x10;
	sregs.cr4 = 0;
	sregs.efer = 0;
	sregs.cs = (struct kvm_segment) {
		.base = 0x12340, .limit = 0xffff, .selector = 0x1234, .type = 11,
		.present = 1, .s = 1,
	};
	sregs.ss = sregs.cs;
	sregs.ss.type = 3;
	sregs.ds = sregs.ss;
	sregs.es = sregs.ss;
	sregs.fs = sregs.ss;
	sregs.gs = sregs.ss;
	return !xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}
FIXTURE_VARIANT_ADD(registers, real_mode) {
	.state = STATE_SREGS, .set = set_real_mode, .irqchip = VM_IRQCHIP_KERNEL,
};

/* PAE paging, with PDPTRs that are not what memory holds now. */
static bool set_sregs2(struct vm *vm, struct vcpu *vcpu)
{
	uint64_t *pdpt = vm_hva(vm, GUEST_DATA);
	struct kvm_sregs2 sregs;

	if (xioctl(vcpu->fd, KVM_GET_SREGS2, &sregs))
		return false;
	sregs.cs.l = 0;
	sregs.cs.db = 1;
	sregs.efer = 0;
	sregs.cr0 = 0x80000033;
	sregs.cr4 = 0x620;
	sregs.cr3 = GUEST_DATA;
	sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	for (int i = 0; i < 4; i++) {
		pdpt[i] = (GUEST_PD + i * PAGE_SIZE) | 1;
		sregs.pdptrs[i] = (GUEST_PD + (3 - i) * PAGE_SIZE) | 1;
	}
	return !xioctl(vcpu->fd, KVM_SET_SREGS2, &sregs);
}
FIXTURE_VARIANT_ADD(registers, sregs2) {
	.state = STATE_SREGS2, .set = set_sregs2, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_xcrs(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = 7 };

	(void)vm;
	if (!xioctl(vcpu->fd, KVM_SET_XCRS, &xcrs))
		return true;
	xcrs.xcrs[0].value = 3;
	return !xioctl(vcpu->fd, KVM_SET_XCRS, &xcrs);
}
FIXTURE_VARIANT_ADD(registers, xcrs) {
	.state = STATE_XCRS, .set = set_xcrs, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_xsave(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = 7 };
	bool avx = !xioctl(vcpu->fd, KVM_SET_XCRS, &xcrs);
	struct kvm_xsave xsave;
	char *area = (char *)xsave.region;

	(void)vm;
	if (xioctl(vcpu->fd, KVM_GET_XSAVE, &xsave))
		return false;
	*(uint16_t *)area = 0x27f;		/* FCW: double precision */
	area[4] = 0xff;				/* FTW: all registers in use */
	*(uint32_t *)(area + 24) = 0x3f80;	/* MXCSR: round down */
	for (int i = 0; i < 8; i++)
		memset(area + 32 + 16 * i, 0x30 + i, 10);
	for (int i = 0; i < 16; i++)
		memset(area + 160 + 16 * i, 0x50 + i, 16);
	for (int i = 0; i < 16 && avx; i++)
		memset(area + 576 + 16 * i, 0x70 + i, 16);
	*(uint64_t *)(area + 512) = avx ? 7 : 3;
	return !xioctl(vcpu->fd, KVM_SET_XSAVE, &xsave);
}
FIXTURE_VARIANT_ADD(registers, xsave) {
	.state = STATE_XSAVE, .set = set_xsave, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_debugregs(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_debugregs debug = {
		.db = { 0x1000, 0x2000, 0x7fff00003000, 0xffffffff80004000 },
		.dr6 = 0xffff0ff3,
		.dr7 = 0x30602,
	};

	(void)vm;
	debug.dr7 |= 0x400;
	return !xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug);
}
FIXTURE_VARIANT_ADD(registers, debugregs) {
	.state = STATE_DEBUGREGS, .set = set_debugregs, .irqchip = VM_IRQCHIP_KERNEL,
};

/* A leaf that the host does not have, and a name of our own. */
static bool set_cpuid(struct vm *vm, struct vcpu *vcpu)
{
	struct vcpu_cpuid cpuid;

	(void)vm;
	TEST_REQUIRE(!vcpu_get_cpuid(vcpu, &cpuid), "KVM_GET_CPUID2: %m");
	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 0x80000002)
			cpuid.entries[i].eax = 0x666d766b;
	cpuid.entries[cpuid.head.nent++] = (struct kvm_cpuid_entry2) {
		.function = 0x40000a00, .eax = 1, .ebx = 2, .ecx = 3, .edx = 4,
	};
	return !xioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid);
}
FIXTURE_VARIANT_ADD(registers, cpuid) {
	.state = STATE_CPUID, .set = set_cpuid, .irqchip = VM_IRQCHIP_KERNEL,
};

/* Without scaling only a rate near the host's is taken. */
static bool set_tsc_khz(struct vm *vm, struct vcpu *vcpu)
{
	long khz = xioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);

	(void)vm;
	if (khz > 0 && kvm_check_cap(KVM_CAP_TSC_CONTROL) > 0)
		return !xioctl(vcpu->fd, KVM_SET_TSC_KHZ, (void *)(khz / 2));
	return khz > 0 && !xioctl(vcpu->fd, KVM_SET_TSC_KHZ, (void *)(khz - 1));
}
FIXTURE_VARIANT_ADD(registers, tsc_khz) {
	.state = STATE_TSC_KHZ, .set = set_tsc_khz, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_tsc_offset(struct vm *vm, struct vcpu *vcpu)
{
	uint64_t offset = 0x123456789abc;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (unsigned long)&offset,
	};

	(void)vm;
	return !xioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr);
}
FIXTURE_VARIANT_ADD(registers, tsc_offset) {
	.state = STATE_TSC_OFFSET, .set = set_tsc_offset, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_mp_state(struct vcpu *vcpu, uint32_t value)
{
	struct kvm_mp_state state = { .mp_state = value };

	return !xioctl(vcpu->fd, KVM_SET_MP_STATE, &state);
}

static bool set_halted(struct vm *vm, struct vcpu *vcpu)
{
	(void)vm;
	return set_mp_state(vcpu, KVM_MP_STATE_HALTED);
}
FIXTURE_VARIANT_ADD(registers, halted) {
	.state = STATE_MP_STATE, .set = set_halted, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_uninitialized(struct vm *vm, struct vcpu *vcpu)
{
	(void)vm;
	return set_mp_state(vcpu, KVM_MP_STATE_UNINITIALIZED);
}
FIXTURE_VARIANT_ADD(registers, uninitialized) {
	.state = STATE_MP_STATE, .set = set_uninitialized, .irqchip = VM_IRQCHIP_KERNEL,
};

static bool set_init_received(struct vm *vm, struct vcpu *vcpu)
{
	(void)vm;
	return set_mp_state(vcpu, KVM_MP_STATE_INIT_RECEIVED);
}
FIXTURE_VARIANT_ADD(registers, init_received) {
	.state = STATE_MP_STATE, .set = set_init_received, .irqchip = VM_IRQCHIP_KERNEL,
};

FIXTURE_SETUP(registers)
{
	vm_create_default(&self->vm, variant->irqchip, 1);
	state_image_get(&self->vm, 0, &fresh);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
}

FIXTURE_TEARDOWN(registers)
{
	vm_close(&self->vm);
}

TEST_F(registers, carried)
{
	struct vm child, grandchild;

	if (!variant->set(&self->vm, &self->vm.vcpus[0]))
		SKIP(return, "%s cannot be set so here", state_name(variant->state));
	state_image_get(&self->vm, 0, &parent_before);
	ASSERT_FALSE(state_equal(&fresh.states[variant->state],
				 &parent_before.states[variant->state]))
		TH_LOG("%s is no different from a new one", state_name(variant->state));
	ASSERT_EQ(0, __vm_fork(&self->vm, &child));
	state_image_get(&child, 0, &child_image);
	EXPECT_EQ(0, state_image_compare(&parent_before, &child_image));
	state_image_get(&self->vm, 0, &parent_after);
	EXPECT_EQ(0, state_image_compare(&parent_before, &parent_after))
		TH_LOG("the fork changed its parent");
	ASSERT_EQ(0, __vm_fork(&child, &grandchild));
	state_image_get(&grandchild, 0, &child_image);
	EXPECT_EQ(0, state_image_compare(&parent_before, &child_image));
	vm_close(&grandchild);
	vm_close(&child);
}

/* Registers that KVM is to take from kvm_run have not been set by any call yet. */
TEST(sync_regs)
{
	struct kvm_regs regs;
	struct vm vm, child;
	struct kvm_run *run;

	if (!(kvm_check_cap(KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS))
		SKIP(return, "no KVM_SYNC_X86_REGS");
	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_count, 0);
	run = vm.vcpus[0].run;
	ASSERT_EQ(0, xioctl(vm.vcpus[0].fd, KVM_GET_REGS, &run->s.regs.regs));
	run->s.regs.regs.r15 = 0x1234567;
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	vm_fork(&vm, &child);
	ASSERT_EQ(0, xioctl(child.vcpus[0].fd, KVM_GET_REGS, &regs));
	EXPECT_EQ(0x1234567, regs.r15);
	ASSERT_EQ(0, xioctl(vm.vcpus[0].fd, KVM_GET_REGS, &regs));
	EXPECT_EQ(0x1234567, regs.r15);
	vm_close(&child);
	vm_close(&vm);
}

/* What user space tells KVM in kvm_run, which no call tells back. */
TEST(run_inputs)
{
	struct vm vm, child;
	struct kvm_run *run;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_count, 0);
	run = vm.vcpus[0].run;
	run->request_interrupt_window = 1;
	run->cr8 = 5;
	run->apic_base = 0xfee01800;
	run->kvm_valid_regs = kvm_check_cap(KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_SREGS;
	vm_fork(&vm, &child);
	run = child.vcpus[0].run;
	EXPECT_EQ(1, run->request_interrupt_window);
	EXPECT_EQ(5, run->cr8);
	EXPECT_EQ(0xfee01800, run->apic_base);
	EXPECT_EQ(vm.vcpus[0].run->kvm_valid_regs, run->kvm_valid_regs);
	vm_close(&child);
	vm_close(&vm);
}

/* Breakpoints in debug registers, by which the host watches the guest. */
TEST(guest_debug)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		/* Writes of 8 bytes. */
		.arch.debugreg = { [0] = GUEST_DATA, [7] = 0x00090402 },
	};
	struct vm vm, child;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_count, 0);
	ASSERT_EQ(0, xioctl(vm.vcpus[0].fd, KVM_SET_GUEST_DEBUG, &debug));
	vm_fork(&vm, &child);
	for (int i = 0; i < 2; i++) {
		struct kvm_run *run = child.vcpus[0].run;

		vcpu_run(&child.vcpus[0]);
		ASSERT_EQ(KVM_EXIT_DEBUG, run->exit_reason);
		EXPECT_EQ(1, run->debug.arch.dr6 & 15);
		EXPECT_EQ(i + 1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	}
	vm_close(&child);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
