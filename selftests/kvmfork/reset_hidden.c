// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET of what no plain getter shows: traps, routes, debugging, events
 * that wait for the next KVM_RUN, timers on the run.
 */
#include "fork.h"
#include "harness.h"

#define APIC_IRR	0x200

GUEST_HANDLER(ud_handler, 6, 0, 2);
GUEST_HANDLER(unexpected, 0xff, 0, 0);

FIXTURE(hidden) {
	struct vm vm, child;
	int template;
};

static void freeze_and_spawn(FIXTURE_DATA(hidden) *self)
{
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
}

FIXTURE_SETUP(hidden)
{
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 2);
	for (unsigned int vector = 0; vector < 256; vector++)
		vm_set_handler(&self->vm, vector, unexpected);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
	/* For the tests that are skipped before there is one. */
	self->child.vm_fd = -1;
	self->child.attach_fd = -1;
	self->template = -1;
}

FIXTURE_TEARDOWN(hidden)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

static struct vcpu *first(struct vm *vm)
{
	return &vm->vcpus[0];
}

static void __guest guest_ud(uint64_t arg)
{
	for (;;) {
		guest_sync(arg);
		__asm__ volatile("ud2");
	}
}

static bool exits_on_ud(struct vm *vm)
{
	vcpu_run_to_port(first(vm), PORT_SYNC);
	vcpu_run(first(vm));
	return first(vm)->run->exit_reason == KVM_EXIT_EXCEPTION;
}

TEST_F(hidden, traps)
{
	vm_set_handler(&self->vm, 6, ud_handler);
	vcpu_start(first(&self->vm), 0, guest_ud, 0);
	if (__vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD))
		SKIP(return, "this kernel lets nobody see #UD");
	for (int on = 0; on < 2; on++) {
		uint64_t traps = on ? KVMFORK_TRAP_UD : 0, others = traps ^ KVMFORK_TRAP_UD;

		ASSERT_EQ(0, __vm_trap(self->vm.attach_fd, traps));
		freeze_and_spawn(self);
		ASSERT_EQ(0, __vm_trap(self->child.attach_fd, others));
		EXPECT_EQ(!on, exits_on_ud(&self->child));
		/* With the state, and not without. */
		ASSERT_EQ(0, __vm_reset(&self->child, self->template, KVMFORK_RESET_MEMORY));
		EXPECT_EQ(others, fdinfo_value(self->child.attach_fd, "kvmfork-traps"));
		vm_reset(&self->child, self->template);
		EXPECT_EQ(traps, fdinfo_value(self->child.attach_fd, "kvmfork-traps"));
		EXPECT_EQ(on, exits_on_ud(&self->child));
		vm_close(&self->child);
		close(self->template);
	}
}

static bool irr_has(struct vm *vm, unsigned int vector)
{
	struct kvm_lapic_state lapic;

	TEST_REQUIRE(!xioctl(first(vm)->fd, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC: %m");
	return lapic.regs[APIC_IRR + vector / 32 * 0x10 + vector % 32 / 8] & 1 << vector % 8;
}

static void enable_lapic(struct vm *vm)
{
	struct kvm_lapic_state lapic;

	TEST_REQUIRE(!xioctl(first(vm)->fd, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC: %m");
	lapic.regs[0xf1] |= 1;
	TEST_REQUIRE(!xioctl(first(vm)->fd, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC: %m");
}

static void route(struct vm *vm, unsigned int gsi, unsigned int vector)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry = {
			.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = 0xfee00000, .data = 0x4000 | vector },
		},
	};

	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, &routing), "GSI routing: %m");
}

static bool line_raises(struct vm *vm, unsigned int gsi, unsigned int vector)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = 1 };

	xioctl(vm->vm_fd, KVM_IRQ_LINE, &irq);
	return irr_has(vm, vector);
}

TEST_F(hidden, routing)
{
	enable_lapic(&self->vm);
	route(&self->vm, 30, 0x71);
	freeze_and_spawn(self);
	route(&self->child, 30, 0x82);
	EXPECT_TRUE(line_raises(&self->child, 30, 0x82));
	ASSERT_EQ(0, __vm_reset(&self->child, self->template, KVMFORK_RESET_MEMORY));
	EXPECT_TRUE(line_raises(&self->child, 30, 0x82));
	vm_reset(&self->child, self->template);
	EXPECT_FALSE(irr_has(&self->child, 0x82));
	EXPECT_TRUE(line_raises(&self->child, 30, 0x71));
	EXPECT_FALSE(irr_has(&self->child, 0x82));
}

/* To the routes that KVM makes with the irqchip. */
TEST_F(hidden, default_routing)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	freeze_and_spawn(self);
	route(&self->child, 30, 0x82);
	vm_reset(&self->child, self->template);
	line_raises(&self->child, 4, 0);
	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(1 << 4, chip.chip.ioapic.irr & 1 << 4);
}

TEST_F(hidden, guest_debug)
{
	struct kvm_guest_debug on = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	}, off = {};
	struct kvm_regs regs;

	freeze_and_spawn(self);
	ASSERT_EQ(0, xioctl(first(&self->child)->fd, KVM_SET_GUEST_DEBUG, &on));
	vcpu_run(first(&self->child));
	ASSERT_EQ(KVM_EXIT_DEBUG, first(&self->child)->run->exit_reason);
	vm_reset(&self->child, self->template);
	EXPECT_EQ(1, vcpu_run_to_port(first(&self->child), PORT_SYNC));
	ASSERT_EQ(0, xioctl(first(&self->child)->fd, KVM_GET_REGS, &regs));
	EXPECT_EQ(0, regs.rflags & 0x100)
		TH_LOG("the trap flag of single-stepping is still there");
	vm_close(&self->child);
	close(self->template);

	ASSERT_EQ(0, xioctl(first(&self->vm)->fd, KVM_SET_GUEST_DEBUG, &on));
	freeze_and_spawn(self);
	ASSERT_EQ(0, xioctl(first(&self->child)->fd, KVM_SET_GUEST_DEBUG, &off));
	EXPECT_EQ(1, vcpu_run_to_port(first(&self->child), PORT_SYNC));
	vm_reset(&self->child, self->template);
	vcpu_run(first(&self->child));
	EXPECT_EQ(KVM_EXIT_DEBUG, first(&self->child)->run->exit_reason);
}

/* Queued by an ioctl, and taken no sooner than KVM looks at the vCPU again. */
TEST_F(hidden, nmi_and_smi_on_their_way)
{
	struct kvm_vcpu_events events;

	freeze_and_spawn(self);
	for (int smi = 0; smi < 2; smi++) {
		ASSERT_EQ(0, xioctl(first(&self->child)->fd, KVM_NMI, NULL));
		if (smi && xioctl(first(&self->child)->fd, KVM_SMI, NULL))
			break;
		vm_reset(&self->child, self->template);
		EXPECT_EQ(1, vcpu_run_to_port(first(&self->child), PORT_SYNC));
		ASSERT_EQ(0, xioctl(first(&self->child)->fd, KVM_GET_VCPU_EVENTS, &events));
		EXPECT_EQ(0, events.nmi.pending + events.nmi.injected + events.nmi.masked);
		EXPECT_EQ(0, events.smi.pending + events.smi.smm);
	}
}

/* vCPU 1 waits for its start in the template, and is told to in the child. */
TEST_F(hidden, init_and_sipi_on_their_way)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	struct kvm_msi init = { .address_lo = 0xfee01000, .data = 0x4500 };
	struct kvm_msi sipi = { .address_lo = 0xfee01000, .data = 0x4610 };

	ASSERT_EQ(0, xioctl(self->vm.vcpus[1].fd, KVM_SET_MP_STATE, &state));
	freeze_and_spawn(self);
	ASSERT_LE(0, xioctl(self->child.vm_fd, KVM_SIGNAL_MSI, &init));
	ASSERT_LE(0, xioctl(self->child.vm_fd, KVM_SIGNAL_MSI, &sipi));
	vm_reset(&self->child, self->template);
	ASSERT_EQ(0, xioctl(self->child.vcpus[1].fd, KVM_GET_MP_STATE, &state));
	EXPECT_EQ(KVM_MP_STATE_INIT_RECEIVED, state.mp_state);
	/* It is not deaf now, either. */
	ASSERT_LE(0, xioctl(self->child.vm_fd, KVM_SIGNAL_MSI, &sipi));
	ASSERT_EQ(0, xioctl(self->child.vcpus[1].fd, KVM_GET_MP_STATE, &state));
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, state.mp_state);
}

/* A machine check that the guest does not take ends it, at its next entry. */
TEST_F(hidden, shutdown_on_its_way)
{
	struct kvm_x86_mce mce = { .status = 1ULL << 63 | 1ULL << 61 | 1ULL << 57, .bank = 1 };
	uint64_t mcg_cap = 1ULL << 24 | 10;

	ASSERT_EQ(0, xioctl(first(&self->vm)->fd, KVM_X86_SETUP_MCE, &mcg_cap));
	freeze_and_spawn(self);
	ASSERT_EQ(0, xioctl(first(&self->child)->fd, KVM_X86_SET_MCE, &mce));
	vm_reset(&self->child, self->template);
	vcpu_run(first(&self->child));
	EXPECT_EQ(KVM_EXIT_IO, first(&self->child)->run->exit_reason)
		TH_LOG("shut down");
}

/* As fast as KVM lets it tick, until it is replaced by one that stands still. */
TEST_F(hidden, pit_on_the_run)
{
	unsigned long loops = test_scaled(200), wrong = 0;
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_pit_state2 pit;

	enable_lapic(&self->vm);
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_IRQCHIP, &chip));
	for (int i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		chip.chip.ioapic.redirtbl[i].bits = 0x71;
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_SET_IRQCHIP, &chip));
	freeze_and_spawn(self);
	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_PIT2, &pit));
	for (unsigned long i = 0; i < loops; i++) {
		pit.channels[0].count = 240;	/* 200 us */
		pit.channels[0].mode = 2;
		ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_SET_PIT2, &pit));
		usleep(300 + i % 7 * 100);
		vm_reset(&self->child, self->template);
		wrong += irr_has(&self->child, 0x71);
	}
	EXPECT_EQ(0, wrong)
		TH_LOG("%lu of %lu times the old timer interrupted the new guest", wrong, loops);
}

static void __guest guest_rounding(uint64_t arg)
{
	uint32_t mxcsr;

	for (;;) {
		__asm__ volatile("stmxcsr (%0)" : : "r"(arg) : "memory");
		guest_sync(guest_read32(arg));
		mxcsr = 0x7f80;
		guest_write32(arg, mxcsr);
		__asm__ volatile("ldmxcsr (%0)" : : "r"(arg) : "memory");
	}
}

/* Of a vCPU that has not touched its FPU: all in there is in its initial state. */
TEST_F(hidden, initial_fpu)
{
	struct kvm_fpu fpu[2];

	vcpu_start(first(&self->vm), 0, guest_rounding, GUEST_DATA);
	freeze_and_spawn(self);
	ASSERT_EQ(0, xioctl(first(&self->vm)->fd, KVM_GET_FPU, &fpu[0]));
	EXPECT_EQ(0x1f80, vcpu_run_to_port(first(&self->child), PORT_SYNC));
	EXPECT_EQ(0x7f80, vcpu_run_to_port(first(&self->child), PORT_SYNC));
	vm_reset(&self->child, self->template);
	ASSERT_EQ(0, xioctl(first(&self->child)->fd, KVM_GET_FPU, &fpu[1]));
	EXPECT_EQ(0, memcmp(&fpu[0], &fpu[1], sizeof(fpu[0])));
	EXPECT_EQ(0x1f80, vcpu_run_to_port(first(&self->child), PORT_SYNC));
}

#define MSR_VM_CR	0xc0010114
#define VM_CR_SVM_DIS	0x10

/* KVM lets nobody take that back, and does not say so. */
TEST_F(hidden, register_that_locks)
{
	struct reset_call call;
	uint64_t value;
	int ret;

	freeze_and_spawn(self);
	if (__vcpu_set_msr(first(&self->child), MSR_VM_CR, VM_CR_SVM_DIS) ||
	    vcpu_get_msr(first(&self->child), MSR_VM_CR) != VM_CR_SVM_DIS)
		SKIP(return, "no VM_CR");
	reset_call_init(&call, &self->child, self->template);
	ret = reset_call_run(&call, self->child.attach_fd);
	value = vcpu_get_msr(first(&self->child), MSR_VM_CR);
	/* Done, or an error that names it. */
	EXPECT_TRUE(ret ? ret == -EOPNOTSUPP && strstr(call.message, "0xc0010114") : !value)
		TH_LOG("%s, \"%s\", VM_CR 0x%llx", ret ? strerror(-ret) : "success", call.message,
		       (unsigned long long)value);
}

#define MSR_KVM_WALL_CLOCK_NEW	0x4b564d00

/* It is a capability of a vCPU, which has no getter. */
TEST_F(hidden, enforced_cpuid)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };
	struct vcpu *vcpu = first(&self->vm);
	struct vcpu_cpuid cpuid;

	ASSERT_EQ(0, vcpu_get_cpuid(vcpu, &cpuid));
	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 0x40000001)
			cpuid.entries[i].eax = 0;
	ASSERT_EQ(0, xioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid));
	freeze_and_spawn(self);
	vcpu = first(&self->child);
	ASSERT_EQ(0, __vcpu_set_msr(vcpu, MSR_KVM_WALL_CLOCK_NEW, GUEST_DATA));
	if (xioctl(vcpu->fd, KVM_ENABLE_CAP, &cap))
		SKIP(return, "no KVM_CAP_ENFORCE_PV_FEATURE_CPUID");
	ASSERT_NE(0, __vcpu_set_msr(vcpu, MSR_KVM_WALL_CLOCK_NEW, GUEST_DATA));
	vm_reset(&self->child, self->template);
	EXPECT_EQ(0, __vcpu_set_msr(vcpu, MSR_KVM_WALL_CLOCK_NEW, GUEST_DATA));
}

TEST_HARNESS_MAIN
