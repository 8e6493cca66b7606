// SPDX-License-Identifier: GPL-2.0-only
/* Events on their way to a vCPU, and its local APIC with its timer. */
#include "fork.h"
#include "harness.h"
#include "state.h"

#define APIC_TASKPRI	0x80
#define APIC_LDR	0xd0
#define APIC_DFR	0xe0
#define APIC_SPIV	0xf0
#define APIC_ISR	0x100
#define APIC_TMR	0x180
#define APIC_IRR	0x200
#define APIC_ICR	0x300
#define APIC_ICR2	0x310
#define APIC_LVTT	0x320
#define APIC_LVTPC	0x340
#define APIC_LVT0	0x350
#define APIC_LVT1	0x360
#define APIC_TMICT	0x380
#define APIC_TMCCT	0x390
#define APIC_TDCR	0x3e0

#define MSR_TSC			0x10
#define MSR_TSC_DEADLINE	0x6e0

static struct state_image fresh, parent_before, parent_after, child_image;

FIXTURE(events) {
	struct vm vm, child;
	struct vcpu *vcpu;
	bool forked;
};

FIXTURE_VARIANT(events) {
	enum vm_irqchip irqchip;
};

FIXTURE_VARIANT_ADD(events, kernel_irqchip) { .irqchip = VM_IRQCHIP_KERNEL };
FIXTURE_VARIANT_ADD(events, split_irqchip) { .irqchip = VM_IRQCHIP_SPLIT };
FIXTURE_VARIANT_ADD(events, no_irqchip) { .irqchip = VM_IRQCHIP_NONE };

static bool enable_cap(int fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap args = { .cap = cap, .args = { arg } };

	return kvm_check_cap(cap) > 0 && !xioctl(fd, KVM_ENABLE_CAP, &args);
}

FIXTURE_SETUP(events)
{
	vm_create_default(&self->vm, variant->irqchip, 1);
	self->vcpu = &self->vm.vcpus[0];
	vcpu_start(self->vcpu, 0, guest_count, 0);
	state_image_get(&self->vm, 0, &fresh);
}

FIXTURE_TEARDOWN(events)
{
	if (self->forked)
		vm_close(&self->child);
	vm_close(&self->vm);
}

/* Fork; how many states are not as in the parent, or changed there. */
static unsigned int fork_and_compare(FIXTURE_DATA(events) *self, enum state_id distinct)
{
	state_image_get(&self->vm, 0, &parent_before);
	if (state_equal(&fresh.states[distinct], &parent_before.states[distinct])) {
		fprintf(stderr, "# %s was not changed by the test\n", state_name(distinct));
		return 1000;
	}
	if (__vm_fork(&self->vm, &self->child))
		return 2000;
	self->forked = true;
	state_image_get(&self->child, 0, &child_image);
	state_image_get(&self->vm, 0, &parent_after);
	return state_image_compare(&parent_before, &child_image) +
	       100 * state_image_compare(&parent_before, &parent_after);
}

static struct kvm_vcpu_events get_events(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events = {};

	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events), "GET_VCPU_EVENTS: %m");
	return events;
}

TEST_F(events, exception_injected)
{
	struct kvm_vcpu_events events = get_events(self->vcpu);

	events.exception.injected = 1;
	events.exception.nr = 13;
	events.exception.has_error_code = 1;
	events.exception.error_code = 0x1234;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

/* With the payload capability a pending exception is told from an injected. */
TEST_F(events, exception_pending_with_payload)
{
	struct kvm_vcpu_events events;

	if (!enable_cap(self->vm.vm_fd, KVM_CAP_EXCEPTION_PAYLOAD, 1))
		SKIP(return, "no KVM_CAP_EXCEPTION_PAYLOAD");
	events = get_events(self->vcpu);
	events.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	events.exception.pending = 1;
	events.exception.nr = 14;
	events.exception.has_error_code = 1;
	events.exception.error_code = 2;
	events.exception_has_payload = 1;
	events.exception_payload = 0x7fff12345678;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, nmi_pending)
{
	struct kvm_vcpu_events events = get_events(self->vcpu);

	events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	events.nmi.pending = 1;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, nmi_by_ioctl)
{
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_NMI, NULL));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, nmi_masked_and_pending)
{
	struct kvm_vcpu_events events = get_events(self->vcpu);

	events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	events.nmi.masked = 1;
	events.nmi.pending = 1;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, interrupt_injected)
{
	struct kvm_vcpu_events events = get_events(self->vcpu);

	events.interrupt.injected = 1;
	events.interrupt.nr = 0x33;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, interrupt_shadow)
{
	struct kvm_vcpu_events events = get_events(self->vcpu);

	events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
	events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, smi_pending)
{
	struct kvm_vcpu_events events = get_events(self->vcpu);

	if (kvm_check_cap(KVM_CAP_X86_SMM) <= 0)
		SKIP(return, "no SMM");
	if (variant->irqchip == VM_IRQCHIP_NONE)
		SKIP(return, "SMIs need a local APIC");
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	events.smi.pending = 1;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, in_smm)
{
	struct kvm_vcpu_events events = get_events(self->vcpu);

	if (kvm_check_cap(KVM_CAP_X86_SMM) <= 0)
		SKIP(return, "no SMM");
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	events.smi.smm = 1;
	events.smi.smm_inside_nmi = 1;
	if (xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events))
		SKIP(return, "SMM cannot be set so");
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

TEST_F(events, triple_fault)
{
	struct kvm_vcpu_events events;

	if (!enable_cap(self->vm.vm_fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1))
		SKIP(return, "no KVM_CAP_X86_TRIPLE_FAULT_EVENT");
	events = get_events(self->vcpu);
	events.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	events.triple_fault.pending = 1;
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_SET_VCPU_EVENTS, &events));
	EXPECT_EQ(0, fork_and_compare(self, STATE_EVENTS));
}

static void lapic_set(struct kvm_lapic_state *lapic, unsigned int reg, uint32_t value)
{
	memcpy(lapic->regs + reg, &value, 4);
}

static uint32_t lapic_get(struct vcpu *vcpu, unsigned int reg)
{
	struct kvm_lapic_state lapic;
	uint32_t value;

	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC: %m");
	memcpy(&value, lapic.regs + reg, 4);
	return value;
}

/* The registers of a guest that uses its APIC; the timer as asked for. */
static bool lapic_load(struct vcpu *vcpu, uint32_t lvtt, uint32_t count)
{
	struct kvm_lapic_state lapic;

	if (xioctl(vcpu->fd, KVM_GET_LAPIC, &lapic))
		return false;
	lapic_set(&lapic, APIC_SPIV, 0x1a5);
	lapic_set(&lapic, APIC_TASKPRI, 0xe0);
	lapic_set(&lapic, APIC_DFR, 0x0fffffff);
	lapic_set(&lapic, APIC_LDR, 0x12000000);
	lapic_set(&lapic, APIC_ISR + 0x10 * 4, 1 << 5);
	lapic_set(&lapic, APIC_IRR + 0x10 * 2, 1 << 9);
	lapic_set(&lapic, APIC_TMR + 0x10 * 2, 1 << 9);
	lapic_set(&lapic, APIC_ICR, 0x40fd);
	lapic_set(&lapic, APIC_ICR2, 0x03000000);
	lapic_set(&lapic, APIC_LVT0, 0x700);
	lapic_set(&lapic, APIC_LVT1, 0x400);
	lapic_set(&lapic, APIC_LVTPC, 0x400);
	lapic_set(&lapic, APIC_LVTT, lvtt);
	lapic_set(&lapic, APIC_TDCR, 0xa);
	lapic_set(&lapic, APIC_TMICT, count);
	/* What is left of it, hence what KVM starts with. */
	lapic_set(&lapic, APIC_TMCCT, count / 2);
	return !xioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
}

TEST_F(events, lapic_registers)
{
	if (!lapic_load(self->vcpu, 0x10000, 0))
		SKIP(return, "no local APIC in the kernel");
	EXPECT_EQ(0, fork_and_compare(self, STATE_LAPIC));
}

/* The count goes on from where it was: no earlier, not from the start. */
static bool timer_continues(FIXTURE_DATA(events) *self, struct __test_metadata *_metadata)
{
	uint32_t before = lapic_get(self->vcpu, APIC_TMCCT), child, parent;
	unsigned int different = fork_and_compare(self, STATE_LAPIC);

	EXPECT_EQ(0, different);
	if (!self->forked)
		return false;
	child = lapic_get(&self->child.vcpus[0], APIC_TMCCT);
	parent = lapic_get(self->vcpu, APIC_TMCCT);
	/* Counting down for minutes; the parent was read last. */
	if (child > before || parent > child || !parent) {
		fprintf(stderr, "# counts: before %u, child %u, parent %u\n", before, child,
			parent);
		return false;
	}
	return true;
}

TEST_F(events, lapic_timer_one_shot)
{
	if (!lapic_load(self->vcpu, 0x41, 0xfffffff0))
		SKIP(return, "no local APIC in the kernel");
	usleep(300000);
	EXPECT_TRUE(timer_continues(self, _metadata));
}

TEST_F(events, lapic_timer_periodic)
{
	if (!lapic_load(self->vcpu, 0x20041, 0xfffffff0))
		SKIP(return, "no local APIC in the kernel");
	usleep(300000);
	EXPECT_TRUE(timer_continues(self, _metadata));
}

TEST_F(events, lapic_timer_tsc_deadline)
{
	uint64_t deadline, child;

	if (!lapic_load(self->vcpu, 0x40041, 0))
		SKIP(return, "no local APIC in the kernel");
	deadline = vcpu_get_msr(self->vcpu, MSR_TSC) + (1ULL << 42);
	if (__vcpu_set_msr(self->vcpu, MSR_TSC_DEADLINE, deadline) ||
	    vcpu_get_msr(self->vcpu, MSR_TSC_DEADLINE) != deadline)
		SKIP(return, "no TSC deadline timer");
	EXPECT_EQ(0, fork_and_compare(self, STATE_LAPIC));
	child = vcpu_get_msr(&self->child.vcpus[0], MSR_TSC_DEADLINE);
	EXPECT_EQ(deadline, child);
	EXPECT_EQ(deadline, vcpu_get_msr(self->vcpu, MSR_TSC_DEADLINE));
}

TEST_F(events, x2apic)
{
	struct kvm_sregs sregs;

	if (variant->irqchip == VM_IRQCHIP_NONE)
		SKIP(return, "no local APIC in the kernel");
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_GET_SREGS, &sregs));
	sregs.apic_base |= 0xc00;
	if (xioctl(self->vcpu->fd, KVM_SET_SREGS, &sregs))
		SKIP(return, "no x2APIC");
	EXPECT_EQ(0, fork_and_compare(self, STATE_SREGS));
}

TEST_F(events, apic_disabled_and_moved)
{
	struct kvm_sregs sregs;

	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_GET_SREGS, &sregs));
	sregs.apic_base = 0xfee01000;
	if (xioctl(self->vcpu->fd, KVM_SET_SREGS, &sregs))
		SKIP(return, "the APIC base cannot be set so");
	EXPECT_EQ(0, fork_and_compare(self, STATE_SREGS));
}

TEST_HARNESS_MAIN
