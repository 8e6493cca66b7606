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
