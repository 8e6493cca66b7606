// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers: all that KVM lists, each with a value that a new
 * vCPU does not have wherever KVM takes one.
 */
#include "fork.h"
#include "harness.h"

#define MAX_MSRS	1024

#define MSR_TSC			0x10
#define MSR_EFER		0xc0000080

#define HYPERV_FIRST		0x40000000
#define HYPERV_LAST		0x4000ffff
#define HYPERV_GUEST_OS_ID	0x40000000

struct msr {
	uint32_t index;
	bool readable, changed;
	uint64_t fresh, parent;
};

FIXTURE(msrs) {
	struct vm vm, child;
	struct vcpu *vcpu;
	struct msr msrs[MAX_MSRS];
	unsigned int nr, changed;
};

FIXTURE_VARIANT(msrs) {
	enum vm_irqchip irqchip;
};

FIXTURE_VARIANT_ADD(msrs, kernel_irqchip) { .irqchip = VM_IRQCHIP_KERNEL };
FIXTURE_VARIANT_ADD(msrs, no_irqchip) { .irqchip = VM_IRQCHIP_NONE };

/*
 * What runs on by itself, what belongs to the control registers, and what is
 * Hyper-V's: reading those alone makes KVM set up state for them.
 */
static bool msr_is_left_alone(uint32_t index)
{
	return index == MSR_TSC || index == MSR_EFER ||
	       (index >= HYPERV_FIRST && index <= HYPERV_LAST);
}

static void read_list(FIXTURE_DATA(msrs) *self)
{
	struct {
		struct kvm_msr_list head;
		uint32_t indices[MAX_MSRS];
	} list = { .head.nmsrs = MAX_MSRS };

	TEST_REQUIRE(!xioctl(kvm_device(), KVM_GET_MSR_INDEX_LIST, &list),
		     "KVM_GET_MSR_INDEX_LIST: %m");
	for (unsigned int i = 0; i < list.head.nmsrs; i++) {
		struct msr *msr = &self->msrs[self->nr];

		if (msr_is_left_alone(list.indices[i]))
			continue;
		self->nr++;
		msr->index = list.indices[i];
		msr->readable = !__vcpu_get_msr(self->vcpu, msr->index, &msr->fresh);
	}
}

/* Something that this register accepts and keeps, if there is such a thing. */
static void msr_change(struct vcpu *vcpu, struct msr *msr)
{
	const uint64_t values[] = {
		/* An address, with enable bits as kvmclock and others want. */
		GUEST_DATA | 1, GUEST_DATA | 0x41, GUEST_DATA, 0xffff888012345678, 0x12345678,
		msr->fresh ^ 1, msr->fresh ^ 2, msr->fresh ^ 4, msr->fresh ^ 0x100,
		msr->fresh ^ 0x800, msr->fresh ^ (1ULL << 40), msr->fresh + 1, 0x0606060606060606,
		0x30, 0x10001, 0,
	};
	uint64_t now;

	if (!msr->readable)
		return;
	for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
		if (values[i] == msr->fresh || __vcpu_set_msr(vcpu, msr->index, values[i]))
			continue;
		if (!__vcpu_get_msr(vcpu, msr->index, &now) && now != msr->fresh)
			return;
	}
}

FIXTURE_SETUP(msrs)
{
	vm_create_default(&self->vm, variant->irqchip, 1);
	self->vcpu = &self->vm.vcpus[0];
	read_list(self);
	for (unsigned int i = 0; i < self->nr; i++)
		msr_change(self->vcpu, &self->msrs[i]);
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
