// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest (L1) that has a guest of its own (L2), by SVM or VMX: forked while L2 runs,
 * and reset out of and into that.
 */
#include "fork.h"
#include "harness.h"
#include "state.h"
#include "vmx.h"

#define VMCB		(GUEST_DATA + 0x1000)
#define HSAVE		(GUEST_DATA + 0x2000)
#define L2_STACK	(GUEST_DATA + 0x4000)
#define REAL_MODE_CODE	(GUEST_DATA + 0x5000)

#define MSR_EFER	0xc0000080
#define MSR_VM_HSAVE_PA	0xc0010117
#define EFER_SVME	0x1000
#define EXIT_VMMCALL	0x81

/* What the two say. */
#define L1_STARTS	1
#define L2_COUNTS	100
#define L2_ROUNDS	4
#define L1_GOES_ON	1000

static struct state_image image, other_image;

FIXTURE(nested) {
	struct vm vm, child;
	int template, nested_template;
};

FIXTURE_VARIANT(nested) {
	bool real_mode;
};

/* Of L2. */
FIXTURE_VARIANT_ADD(nested, long_mode) { .real_mode = false };
FIXTURE_VARIANT_ADD(nested, real_mode) { .real_mode = true };

static void __guest guest_l2(uint64_t arg)
{
	(void)arg;
	for (uint32_t i = 1; i <= L2_ROUNDS; i++) {
		guest_write64(GUEST_DATA, i);
		guest_sync(L2_COUNTS + i);
	}
	__asm__ volatile("vmmcall");
}

static void __guest guest_l2_vmx(uint64_t arg)
{
	(void)arg;
	for (uint32_t i = 1; i <= L2_ROUNDS; i++) {
		guest_write64(GUEST_DATA, i);
		guest_sync(L2_COUNTS + i);
	}
	__asm__ volatile("vmcall");
}

static void __guest guest_l1_vmx(uint64_t l2)
{
	guest_vmx_prepare(l2);
	guest_sync(L1_STARTS);
	guest_sync(L1_GOES_ON + guest_vmx_launch());
}

static void __guest guest_l1_svm(uint64_t vmcb)
{
	guest_wrmsr(MSR_EFER, guest_rdmsr(MSR_EFER) | EFER_SVME);
	guest_wrmsr(MSR_VM_HSAVE_PA, HSAVE);
	guest_sync(L1_STARTS);
	/* What L2 leaves in the registers is not saved by anyone. */
	__asm__ volatile("vmrun %%rax"
			 : "+a"(vmcb) : : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10",
			 "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	guest_sync(L1_GOES_ON + guest_read32(VMCB + 0x70));
}

static void put16(char *vmcb, unsigned int at, uint16_t value)
{
	memcpy(vmcb + at, &value, sizeof(value));
}

static void put32(char *vmcb, unsigned int at, uint32_t value)
{
	memcpy(vmcb + at, &value, sizeof(value));
}

static void put64(char *vmcb, unsigned int at, uint64_t value)
{
	memcpy(vmcb + at, &value, sizeof(value));
}

static void put_segment(char *vmcb, unsigned int at, uint16_t selector, uint16_t attributes)
{
	put16(vmcb, at, selector);
	put16(vmcb, at + 2, attributes);
	put32(vmcb, at + 4, 0xffffffff);
}

/* What guest_l2() says, said in real mode. */
static void load_real_mode(struct vm *vm)
{
	static const char say[] = "\x66\xb8....\xba\x10\x0f\x66\xef", vmmcall[] = "\x0f\x01\xd9";
	char *vmcb = vm_hva(vm, VMCB), *code = vm_hva(vm, REAL_MODE_CODE);

	for (uint32_t i = 1; i <= L2_ROUNDS; i++) {
		memcpy(code, say, sizeof(say) - 1);
		put32(code, 2, L2_COUNTS + i);
		code += sizeof(say) - 1;
	}
	memcpy(code, vmmcall, sizeof(vmmcall) - 1);
	for (unsigned int at = 0x400; at <= 0x430; at += 0x10) {
		put_segment(vmcb, at, REAL_MODE_CODE >> 4, at == 0x410 ? 0x9b : 0x93);
		put32(vmcb, at + 4, 0xffff);
		put64(vmcb, at + 8, REAL_MODE_CODE);
	}
	put64(vmcb, 0x4d0, EFER_SVME);
	put64(vmcb, 0x548, 0);		/* CR4 */
	put64(vmcb, 0x558, 0x10);	/* CR0 */
	put64(vmcb, 0x578, 0);		/* RIP */
}

/* L2 is in the same mode and has the same tables as L1. */
static void load_vmcb(char *vmcb)
{
	put32(vmcb, 0x0c, 1 << 3);		/* intercept INIT */
	put32(vmcb, 0x10, 1 << 0 | 1 << 1);	/* VMRUN, VMMCALL */
	put32(vmcb, 0x58, 1);			/* ASID */
	put_segment(vmcb, 0x400, GUEST_DS, 0xc93);
	put_segment(vmcb, 0x410, GUEST_CS, 0xa9b);
	put_segment(vmcb, 0x420, GUEST_DS, 0xc93);
	put_segment(vmcb, 0x430, GUEST_DS, 0xc93);
	put_segment(vmcb, 0x490, 0, 0x8b);
	put32(vmcb, 0x464, 0x17);		/* GDT */
	put64(vmcb, 0x468, GUEST_GDT);
	put32(vmcb, 0x484, 0xfff);		/* IDT */
	put64(vmcb, 0x488, GUEST_IDT);
	put64(vmcb, 0x4d0, 0x500 | EFER_SVME);
	put64(vmcb, 0x548, 0x620);		/* CR4 */
	put64(vmcb, 0x550, GUEST_PML4);
	put64(vmcb, 0x558, 0x80000033);		/* CR0 */
	put64(vmcb, 0x560, 0x400);		/* DR7 */
	put64(vmcb, 0x568, 0xffff0ff0);		/* DR6 */
	put64(vmcb, 0x570, 2);
	put64(vmcb, 0x578, guest_address(guest_l2));
	put64(vmcb, 0x5d8, L2_STACK - 8);
	put64(vmcb, 0x668, 0x0007040600070406);	/* PAT */
}

static uint32_t next(struct vm *vm)
{
	return vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);
}

static bool has_svm(struct vm *vm)
{
	struct vcpu_cpuid cpuid;

	TEST_REQUIRE(!vcpu_get_cpuid(&vm->vcpus[0], &cpuid), "KVM_GET_CPUID2: %m");
	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 0x80000001)
			return cpuid.entries[i].ecx & 4;
	return false;
}

/* False: L1 cannot have such an L2 here. */
static bool start_l1(struct vm *vm, bool real_mode)
{
	struct vcpu *vcpu = &vm->vcpus[0];

	if (has_svm(vm)) {
		load_vmcb(vm_hva(vm, VMCB));
		if (real_mode)
			load_real_mode(vm);
		vcpu_start(vcpu, 0, guest_l1_svm, VMCB);
		return true;
	}
	/* L1's VMX has no real mode without EPT of its own. */
	if (real_mode || !vcpu_allow_vmx(vcpu))
		return false;
	vcpu_start(vcpu, 0, guest_l1_vmx, guest_address(guest_l2_vmx));
	return true;
}

/* One template before L2 is entered, and one from its midst. */
FIXTURE_SETUP(nested)
{
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	if (!start_l1(&self->vm, variant->real_mode)) {
		vm_close(&self->vm);
		SKIP(return, "the guest cannot have such a guest here");
	}
	ASSERT_EQ(L1_STARTS, next(&self->vm));
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	ASSERT_EQ(L2_COUNTS + 1, next(&self->vm));
	ASSERT_EQ(L2_COUNTS + 2, next(&self->vm));
	self->nested_template = vm_freeze(&self->vm);
}

FIXTURE_TEARDOWN(nested)
{
	vm_close(&self->child);
	close(self->nested_template);
	close(self->template);
	vm_close(&self->vm);
}

/*
 * What KVM shows of before L2 runs: L1's DR6, which is not kept there meanwhile, and
 * the address of the last exit to KVM itself.
 */
static void forget_exits(struct state_image *image)
{
	struct kvm_nested_state *nested = (void *)image->states[STATE_NESTED].data;

	if (!(nested->flags & KVM_STATE_NESTED_GUEST_MODE))
		return;
	if (nested->format == KVM_STATE_NESTED_FORMAT_SVM)
		memset(nested->data.svm[0].vmcb12 + 0x568, 0, 8);
	else
		memset(nested->data.vmx[0].vmcs12 + 0x1a0, 0, 8);
}

/* All of it is as in a new child. */
static unsigned int differences(FIXTURE_DATA(nested) *self, int template)
{
	struct vm fresh;
	unsigned int different;

	vm_spawn(template, &self->vm, &fresh);
	state_image_get(&fresh, 0, &image);
	state_image_get(&self->child, 0, &other_image);
	forget_exits(&image);
	forget_exits(&other_image);
	different = state_image_compare(&image, &other_image);
	if (memcmp(fresh.slots[0].hva, self->child.slots[0].hva, GUEST_MEMORY)) {
		fprintf(stderr, "# memory is another\n");
		different += 1000;
	}
	vm_close(&fresh);
	return different;
}

static bool runs_to_the_end(struct vm *vm, uint32_t from)
{
	for (uint32_t i = from; i <= L2_ROUNDS; i++)
		if (next(vm) != L2_COUNTS + i)
			return false;
	return next(vm) == L1_GOES_ON + (has_svm(vm) ? EXIT_VMMCALL : VMX_EXIT_VMCALL);
}

/* Both go on in L2, and come back to L1 from there. */
TEST_F(nested, fork_in_l2)
{
	struct vm child, grandchild;

	state_image_get(&self->vm, 0, &image);
	vm_fork(&self->vm, &child);
	state_image_get(&child, 0, &other_image);
	forget_exits(&image);
	forget_exits(&other_image);
	EXPECT_EQ(0, state_image_compare(&image, &other_image));
	EXPECT_EQ(L2_COUNTS + 3, next(&child));
	vm_fork(&child, &grandchild);
	EXPECT_TRUE(runs_to_the_end(&grandchild, 4));
	EXPECT_TRUE(runs_to_the_end(&child, 4));
	EXPECT_TRUE(runs_to_the_end(&self->vm, 3));
	vm_close(&grandchild);
	vm_close(&child);
}

TEST_F(nested, out_of_l2)
{
	for (uint32_t rounds = 1; rounds <= L2_ROUNDS; rounds++) {
		for (uint32_t i = 1; i <= rounds; i++)
			ASSERT_EQ(L2_COUNTS + i, next(&self->child));
		vm_reset(&self->child, self->template);
		EXPECT_EQ(0, fdinfo_value(self->child.slots[0].memory_fd, "kvmfork-private"));
		EXPECT_EQ(0, differences(self, self->template));
	}
	EXPECT_TRUE(runs_to_the_end(&self->child, 1));
}

TEST_F(nested, back_into_l2)
{
	for (int round = 0; round < 4; round++) {
		/* From L1 that has left L2, from L1 before it, from L2. */
		vm_reset(&self->child, self->nested_template);
		EXPECT_EQ(0, differences(self, self->nested_template));
		EXPECT_TRUE(runs_to_the_end(&self->child, 3));
		if (round == 1)
			vm_reset(&self->child, self->template);
		if (round == 2) {
			vm_reset(&self->child, self->nested_template);
			EXPECT_EQ(L2_COUNTS + 3, next(&self->child));
		}
	}
	EXPECT_TRUE(runs_to_the_end(&self->vm, 3));
}

/* INIT would end L2, which KVM writes down in the guest's memory. */
TEST_F(nested, init_on_its_way_to_l1)
{
	struct kvm_msi init = { .address_lo = 0xfee00000, .data = 0x4500 };
	const int templates[] = { self->template, self->nested_template };

	for (size_t i = 0; i < ARRAY_LENGTH(templates); i++) {
		vm_reset(&self->child, self->nested_template);
		EXPECT_EQ(L2_COUNTS + 3, next(&self->child));
		ASSERT_LE(0, xioctl(self->child.vm_fd, KVM_SIGNAL_MSI, &init));
		vm_reset(&self->child, templates[i]);
		EXPECT_EQ(0, fdinfo_value(self->child.slots[0].memory_fd, "kvmfork-private"));
		EXPECT_EQ(0, differences(self, templates[i]));
		EXPECT_TRUE(runs_to_the_end(&self->child, i ? 3 : 1));
	}
}

TEST_HARNESS_MAIN
