// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers: all that KVM lists, each with a value that a new
 * vCPU does not have wherever KVM takes one.
 */
#include "fork.h"
#include "harness.h"
#include "msr.h"

#define HYPERV_GUEST_OS_ID	0x40000000

struct msr {
	uint32_t index;
	bool readable, changed;
	uint64_t fresh, parent;
};

FIXTURE(msrs) {
	struct vm vm, child;
	struct vcpu *vcpu;
	struct msr msrs[MSR_LIST_MAX];
	unsigned int nr, changed;
};

FIXTURE_VARIANT(msrs) {
	enum vm_irqchip irqchip;
};

FIXTURE_VARIANT_ADD(msrs, kernel_irqchip) { .irqchip = VM_IRQCHIP_KERNEL };
FIXTURE_VARIANT_ADD(msrs, no_irqchip) { .irqchip = VM_IRQCHIP_NONE };

static void read_list(FIXTURE_DATA(msrs) *self)
{
	uint32_t indices[MSR_LIST_MAX];

	self->nr = msr_list(indices);
	for (unsigned int i = 0; i < self->nr; i++) {
		struct msr *msr = &self->msrs[i];

		msr->index = indices[i];
		msr->readable = !__vcpu_get_msr(self->vcpu, msr->index, &msr->fresh);
	}
}

FIXTURE_SETUP(msrs)
{
	vm_create_default(&self->vm, variant->irqchip, 1);
	self->vcpu = &self->vm.vcpus[0];
	read_list(self);
	for (unsigned int i = 0; i < self->nr; i++)
		if (self->msrs[i].readable)
			msr_change(self->vcpu, self->msrs[i].index, self->msrs[i].fresh);
	/* One may have changed another: what counts is what there is now. */
	for (unsigned int i = 0; i < self->nr; i++) {
		struct msr *msr = &self->msrs[i];

		if (!msr->readable)
			continue;
		msr->readable = !__vcpu_get_msr(self->vcpu, msr->index, &msr->parent);
		msr->changed = msr->parent != msr->fresh;
		self->changed += msr->changed;
	}
}

FIXTURE_TEARDOWN(msrs)
{
	vm_close(&self->vm);
}

TEST_F(msrs, carried)
{
	unsigned int wrong = 0;

	TH_LOG("%u registers, %u with a value of their own", self->nr, self->changed);
	ASSERT_LT(20, self->changed);
	ASSERT_EQ(0, __vm_fork(&self->vm, &self->child));
	for (unsigned int i = 0; i < self->nr; i++) {
		struct msr *msr = &self->msrs[i];
		uint64_t child = 0, parent = 0;

		if (!msr->readable)
			continue;
		if (__vcpu_get_msr(&self->child.vcpus[0], msr->index, &child)) {
			TH_LOG("0x%x cannot be read in the child", msr->index);
			wrong++;
			continue;
		}
		__vcpu_get_msr(self->vcpu, msr->index, &parent);
		if (child != msr->parent || parent != msr->parent) {
			TH_LOG("0x%x was 0x%llx (new: 0x%llx); is 0x%llx in the child, 0x%llx in the parent",
			       msr->index, (unsigned long long)msr->parent,
			       (unsigned long long)msr->fresh, (unsigned long long)child,
			       (unsigned long long)parent);
			wrong++;
		}
	}
	EXPECT_EQ(0, wrong);
	vm_close(&self->child);
}

static void __guest guest_read_msrs(uint64_t arg)
{
	guest_wrmsr(0xc0000102, arg);		/* KERNEL_GS_BASE */
	guest_wrmsr(0xc0000082, arg + 1);	/* LSTAR */
	guest_wrmsr(0xc0000100, arg + 2);	/* FS_BASE */
	guest_sync(1);
	guest_sync(guest_rdmsr(0xc0000102) == arg && guest_rdmsr(0xc0000082) == arg + 1 &&
		   guest_rdmsr(0xc0000100) == arg + 2);
}

/* Those that KVM keeps and, on some kernels, does not list. */
TEST(unlisted)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} unlisted[] = {
		{ 0x2ff, 0xc06 }, { 0x250, 0x0606060606060606 }, { 0x258, 0x0505050505050505 },
		{ 0x259, 0x0404040404040404 }, { 0x268, 0x0606060606060606 },
		{ 0x26f, 0x0505050505050505 }, { 0x200, 0x10000006 }, { 0x201, 0xff0000800 },
		{ 0x20e, 0x20000006 }, { 0x20f, 0xffff00800 }, { 0x277, 0x0007010600070106 },
		{ 0xc0010114, 0x10 },
	};
	unsigned int changed = 0;
	struct vm vm, child;
	uint64_t value;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	for (size_t i = 0; i < ARRAY_LENGTH(unlisted); i++)
		changed += !__vcpu_set_msr(&vm.vcpus[0], unlisted[i].index, unlisted[i].value);
	EXPECT_LE(ARRAY_LENGTH(unlisted) - 1, changed);
	vm_fork(&vm, &child);
	for (size_t i = 0; i < ARRAY_LENGTH(unlisted); i++) {
		if (__vcpu_get_msr(&vm.vcpus[0], unlisted[i].index, &value))
			continue;
		EXPECT_EQ(unlisted[i].value, value) TH_LOG("MSR 0x%x", unlisted[i].index);
		EXPECT_EQ(value, vcpu_get_msr(&child.vcpus[0], unlisted[i].index))
			TH_LOG("MSR 0x%x", unlisted[i].index);
	}
	vm_close(&child);
	vm_close(&vm);
}

/* Intel SDM volume 3, 12.11: MTRRs. */
static const uint32_t fixed_mtrrs[] = {
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
};

#define NR_VARIABLE	8
#define NR_MTRRS	(ARRAY_LENGTH(fixed_mtrrs) + 2 * NR_VARIABLE)

static uint32_t mtrr_index(unsigned int i)
{
	return i < ARRAY_LENGTH(fixed_mtrrs) ? fixed_mtrrs[i] :
	       0x200 + i - ARRAY_LENGTH(fixed_mtrrs);
}

/* Another value for each, and for each @salt, up to 4. */
static uint64_t mtrr_value(unsigned int i, unsigned int salt)
{
	static const uint8_t types[] = { 0, 1, 4, 5, 6 };
	unsigned int digits = i + 1 + 32 * salt;
	uint64_t value = 0;

	if (i >= ARRAY_LENGTH(fixed_mtrrs))
		return (uint64_t)digits << 24 | (i % 2 ? 6 : 0x800);
	for (unsigned int byte = 0; byte < 8; byte++, digits /= 5)
		value |= (uint64_t)types[digits % 5] << 8 * byte;
	return value;
}

static void set_mtrrs(struct vm *vm, unsigned int salt)
{
	for (unsigned int i = 0; i < NR_MTRRS; i++)
		TEST_REQUIRE(!__vcpu_set_msr(&vm->vcpus[0], mtrr_index(i), mtrr_value(i, salt)),
			     "MSR 0x%x cannot be set", mtrr_index(i));
}

static unsigned int count_wrong_mtrrs(struct vm *vm, unsigned int salt)
{
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < NR_MTRRS; i++) {
		uint64_t value = vcpu_get_msr(&vm->vcpus[0], mtrr_index(i));

		if (value == mtrr_value(i, salt))
			continue;
		printf("# MSR 0x%x is 0x%lx\n", mtrr_index(i), value);
		wrong++;
	}
	return wrong;
}

/* They are read elsewhere than all others: none may be taken for another. */
TEST(each_mtrr)
{
	struct vm vm, child;
	int template;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	set_mtrrs(&vm, 1);
	vm_fork(&vm, &child);
	EXPECT_EQ(0, count_wrong_mtrrs(&vm, 1));
	EXPECT_EQ(0, count_wrong_mtrrs(&child, 1));
	set_mtrrs(&child, 2);
	template = vm_freeze(&vm);
	vm_reset(&child, template);
	EXPECT_EQ(0, count_wrong_mtrrs(&child, 1));
	/* One alone that differs. */
	for (unsigned int i = 0; i < NR_MTRRS; i++) {
		ASSERT_EQ(0, __vcpu_set_msr(&child.vcpus[0], mtrr_index(i), mtrr_value(i, 3)));
		vm_reset(&child, template);
		EXPECT_EQ(0, count_wrong_mtrrs(&child, 1));
	}
	close(template);
	vm_close(&child);
	vm_close(&vm);
}

/*
 * KVM takes any number of address bits, and reads what lies beyond them as zero. Fewer
 * than for the APIC, and it does not let registers be set.
 */
TEST(mtrr_and_address_bits)
{
	static const uint8_t bits[] = { 33, 36, 63, 64, 255 };

	for (size_t i = 0; i < ARRAY_LENGTH(bits); i++) {
		struct vcpu_cpuid cpuid;
		struct vm vm, child;

		vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
		ASSERT_EQ(0, vcpu_get_cpuid(&vm.vcpus[0], &cpuid));
		for (unsigned int j = 0; j < cpuid.head.nent; j++)
			if (cpuid.entries[j].function == 0x80000008)
				cpuid.entries[j].eax = bits[i];
		ASSERT_EQ(0, xioctl(vm.vcpus[0].fd, KVM_SET_CPUID2, &cpuid));
		ASSERT_EQ(0, __vcpu_set_msr(&vm.vcpus[0], 0x201, 0));
		vm_fork(&vm, &child);
		EXPECT_EQ(0, vcpu_get_msr(&child.vcpus[0], 0x201)) TH_LOG("%u bits", bits[i]);
		vm_close(&child);
		vm_close(&vm);
	}
}

#define MCG_CAP		0x179
#define MCG_STATUS	0x17a
#define MCG_CTL		0x17b
#define MCX_CTL(i)	(0x400 + 4 * (i))
#define MCX_CTL2(i)	(0x280 + (i))

/* As few banks as the guest was given, and an error that KVM has put into one. */
TEST(machine_check)
{
	/* Three banks, MCG_CTL, and CMCI where KVM lets guests have that. */
	uint64_t supported = 0, cap = 3 | 1 << 8;
	struct kvm_x86_mce mce = {
		.status = 0xbd00000000000134, .addr = 0x12345000, .misc = 0x86,
		.mcg_status = 5, .bank = 2,
	};
	struct vm vm, child;
	uint64_t value;

	ASSERT_EQ(0, xioctl(kvm_device(), KVM_X86_GET_MCE_CAP_SUPPORTED, &supported));
	cap |= supported & 1 << 10;
	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_read_msrs, 0);
	ASSERT_EQ(0, xioctl(vm.vcpus[0].fd, KVM_X86_SETUP_MCE, &cap));
	ASSERT_EQ(0, __vcpu_set_msr(&vm.vcpus[0], MCX_CTL(1), 0));
	if (cap & 1 << 10)
		ASSERT_EQ(0, __vcpu_set_msr(&vm.vcpus[0], MCX_CTL2(1), 0x40000001));
	/* One that only has to be written down; CR4.MCE is off. */
	mce.status &= ~(1ULL << 61);
	ASSERT_EQ(0, xioctl(vm.vcpus[0].fd, KVM_X86_SET_MCE, &mce));
	vm_fork(&vm, &child);
	EXPECT_EQ(cap, vcpu_get_msr(&child.vcpus[0], MCG_CAP));
	EXPECT_EQ(0, vcpu_get_msr(&child.vcpus[0], MCX_CTL(1)));
	EXPECT_EQ(mce.status, vcpu_get_msr(&child.vcpus[0], MCX_CTL(2) + 1));
	EXPECT_EQ(mce.addr, vcpu_get_msr(&child.vcpus[0], MCX_CTL(2) + 2));
	EXPECT_EQ(mce.misc, vcpu_get_msr(&child.vcpus[0], MCX_CTL(2) + 3));
	EXPECT_EQ(vcpu_get_msr(&vm.vcpus[0], MCG_STATUS),
		  vcpu_get_msr(&child.vcpus[0], MCG_STATUS));
	EXPECT_NE(0, __vcpu_get_msr(&child.vcpus[0], MCX_CTL(3), &value));
	if (cap & 1 << 10)
		EXPECT_EQ(0x40000001, vcpu_get_msr(&child.vcpus[0], MCX_CTL2(1)));
	vm_close(&child);
	vm_close(&vm);
}

/* What the guest itself has written, and reads. */
TEST(seen_by_the_guest)
{
	struct vm vm, child;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_read_msrs, 0x7fff12345678);
	EXPECT_EQ(1, vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC));
	vm_fork(&vm, &child);
	EXPECT_EQ(1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	EXPECT_EQ(1, vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC));
	vm_close(&child);
	vm_close(&vm);
}

/* Carried, or an error that names it. */
TEST(hyperv)
{
	struct fork_call call;
	struct vm vm, child;
	uint64_t value = 0;
	int ret;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	if (__vcpu_set_msr(&vm.vcpus[0], HYPERV_GUEST_OS_ID, 0x8100000000001))
		SKIP(return, "no Hyper-V");
	fork_call_init(&call, &vm);
	ret = fork_call_fork(&call, vm.attach_fd);
	if (ret == -EOPNOTSUPP) {
		EXPECT_NE(0, call.message[0]);
		vm_close(&vm);
		return;
	}
	ASSERT_EQ(0, ret);
	fork_call_child(&call, &vm, &child);
	EXPECT_EQ(0, __vcpu_get_msr(&child.vcpus[0], HYPERV_GUEST_OS_ID, &value));
	EXPECT_EQ(0x8100000000001, value);
	vm_close(&child);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
