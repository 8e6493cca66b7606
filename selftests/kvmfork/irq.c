// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts across a fork: halted vCPUs wake up, timers that were armed in
 * the parent fire in both, what was pending is taken once by each.
 */
#include <signal.h>
#include <sys/time.h>

#include "fork.h"
#include "harness.h"

#define VECTOR		0x51
#define LAPIC(reg)	(GUEST_LAPIC + (reg))
#define APIC_EOI	0xb0
#define APIC_SPIV	0xf0
#define APIC_LVTT	0x320
#define APIC_TMICT	0x380
#define APIC_TDCR	0x3e0

#define MSR_TSC_DEADLINE	0x6e0

/* Counts at GUEST_DATA; says nothing itself. */
extern const char tick_handler[];
__asm__(".pushsection guest_text, \"ax\"\n"
	".balign 16\n"
	"tick_handler:\n"
	"	push %rax\n"
	"	incq 0x40000\n"
	"	mov $0xfee000b0, %eax\n"	/* EOI */
	"	movl $0, (%rax)\n"
	"	pop %rax\n"
	"	iretq\n"
	".popsection\n");

/* The same for the PIC: EOI at its own port. */
extern const char pic_handler[];
__asm__(".pushsection guest_text, \"ax\"\n"
	".balign 16\n"
	"pic_handler:\n"
	"	push %rax\n"
	"	incq 0x40000\n"
	"	mov $0x20, %al\n"
	"	out %al, $0x20\n"
	"	pop %rax\n"
	"	iretq\n"
	".popsection\n");

static void __guest guest_enable_lapic(uint32_t lvtt)
{
	guest_write32(LAPIC(APIC_SPIV), 0x1ff);
	guest_write32(LAPIC(APIC_TDCR), 0xb);
	guest_write32(LAPIC(APIC_LVTT), lvtt);
}

/* Says 1, then halts until the count has risen, and says it; again and again. */
static void __guest guest_wait_for_ticks(void)
{
	uint64_t seen = 0;

	guest_sync(1);
	for (;;) {
		__asm__ volatile("cli");
		while (guest_read64(GUEST_DATA) == seen)
			__asm__ volatile("sti; hlt; cli" : : : "memory");
		seen = guest_read64(GUEST_DATA);
		guest_sync(100 + seen);
	}
}

static void __guest guest_no_timer(uint64_t arg)
{
	(void)arg;
	guest_enable_lapic(0x10000);
	guest_wait_for_ticks();
}

static void __guest guest_one_shot(uint64_t arg)
{
	guest_enable_lapic(VECTOR);
	guest_write32(LAPIC(APIC_TMICT), arg);
	guest_wait_for_ticks();
}

static void __guest guest_periodic(uint64_t arg)
{
	guest_enable_lapic(0x20000 | VECTOR);
	guest_write32(LAPIC(APIC_TMICT), arg);
	guest_wait_for_ticks();
}

static void __guest guest_deadline(uint64_t arg)
{
	guest_enable_lapic(0x40000 | VECTOR);
	guest_wrmsr(MSR_TSC_DEADLINE, guest_rdtsc() + arg);
	guest_wait_for_ticks();
}

static inline __guest_inline void guest_outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* The PIT's channel 0, through the PIC and LVT0 as ExtINT. */
static void __guest guest_pit(uint64_t arg)
{
	guest_enable_lapic(0x10000);
	guest_write32(LAPIC(0x350), 0x700);
	guest_outb(0x20, 0x11);
	guest_outb(0x21, VECTOR & ~7);
	guest_outb(0x21, 4);
	guest_outb(0x21, 1);
	guest_outb(0x21, 0xfe);
	guest_outb(0x43, 0x34);
	guest_outb(0x40, arg);
	guest_outb(0x40, arg >> 8);
	guest_wait_for_ticks();
}

FIXTURE(irq) {
	struct vm vm, child;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(irq)
{
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	self->vcpu = &self->vm.vcpus[0];
	vm_set_handler(&self->vm, VECTOR, tick_handler);
}

FIXTURE_TEARDOWN(irq)
{
	vm_close(&self->vm);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* Run for at most a moment: false when the guest still sleeps then. */
static bool run_for_a_moment(struct vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval moment = { .it_value.tv_usec = 300000 }, off = {};
	int ret;

	sigaction(SIGVTALRM, &action, NULL);
	sigaction(SIGPROF, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &moment, NULL);
	ret = __vcpu_run(vcpu);
	setitimer(ITIMER_REAL, &off, NULL);
	TEST_REQUIRE(!ret || ret == -EINTR, "KVM_RUN: %s", strerror(-ret));
	return !ret;
}

static int send_msi(struct vm *vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR };

	return xioctl(vm->vm_fd, KVM_SIGNAL_MSI, &msi);
}

TEST_F(irq, halted_vcpu_wakes_up)
{
	struct kvm_mp_state state;

	vcpu_start(self->vcpu, 0, guest_no_timer, 0);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	ASSERT_FALSE(run_for_a_moment(self->vcpu));
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_GET_MP_STATE, &state));
	EXPECT_EQ(KVM_MP_STATE_HALTED, state.mp_state);
	vm_fork(&self->vm, &self->child);
	/* Both sleep on; the child alone is woken. */
	EXPECT_FALSE(run_for_a_moment(&self->child.vcpus[0]));
	EXPECT_EQ(1, send_msi(&self->child));
	EXPECT_EQ(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	EXPECT_FALSE(run_for_a_moment(self->vcpu));
	EXPECT_EQ(1, send_msi(&self->vm));
	EXPECT_EQ(101, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	vm_close(&self->child);
}

TEST_F(irq, pending_interrupt_is_taken_by_both)
{
	vcpu_start(self->vcpu, 0, guest_no_timer, 0);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	EXPECT_EQ(1, send_msi(&self->vm));
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	EXPECT_EQ(101, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	/* And once only. */
	EXPECT_FALSE(run_for_a_moment(&self->child.vcpus[0]));
	EXPECT_FALSE(run_for_a_moment(self->vcpu));
	vm_close(&self->child);
}

/* Half a second in units of 1 ns. */
#define HALF_SECOND	500000000

TEST_F(irq, one_shot_timer_fires_in_both)
{
	vcpu_start(self->vcpu, 0, guest_one_shot, HALF_SECOND);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	EXPECT_EQ(101, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	EXPECT_FALSE(run_for_a_moment(&self->child.vcpus[0]));
	vm_close(&self->child);
}

TEST_F(irq, periodic_timer_runs_in_both)
{
	vcpu_start(self->vcpu, 0, guest_periodic, HALF_SECOND / 10);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	vcpu_run_to_port(self->vcpu, PORT_SYNC);
	vm_fork(&self->vm, &self->child);
	for (int i = 0; i < 3; i++) {
		EXPECT_LT(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
		EXPECT_LT(101, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	}
	vm_close(&self->child);
}

TEST_F(irq, deadline_timer_fires_in_both)
{
	int khz = xioctl(self->vcpu->fd, KVM_GET_TSC_KHZ, NULL);

	if (kvm_check_cap(KVM_CAP_TSC_DEADLINE_TIMER) <= 0)
		SKIP(return, "no TSC deadline timer");
	vcpu_start(self->vcpu, 0, guest_deadline, 500ULL * khz);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	EXPECT_EQ(101, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	EXPECT_FALSE(run_for_a_moment(&self->child.vcpus[0]));
	vm_close(&self->child);
}

TEST_F(irq, pit_runs_in_both)
{
	vm_set_handler(&self->vm, VECTOR & ~7, pic_handler);
	vcpu_start(self->vcpu, 0, guest_pit, 0xffff);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	vcpu_run_to_port(self->vcpu, PORT_SYNC);
	vm_fork(&self->vm, &self->child);
	for (int i = 0; i < 3; i++) {
		EXPECT_LT(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
		EXPECT_LT(101, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	}
	vm_close(&self->child);
}

/* Armed at the freeze, due long before the spawn: it fires all the same. */
TEST_F(irq, timer_due_while_in_a_template)
{
	int fd;

	vcpu_start(self->vcpu, 0, guest_one_shot, HALF_SECOND);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	fd = vm_freeze(&self->vm);
	sleep(1);
	vm_spawn(fd, &self->vm, &self->child);
	EXPECT_EQ(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	vm_close(&self->child);
	close(fd);
}

/* An NMI on its way is taken by both, once. */
GUEST_HANDLER(nmi_handler, 2, 0, 0);

TEST_F(irq, pending_nmi)
{
	vm_set_handler(&self->vm, 2, nmi_handler);
	vcpu_start(self->vcpu, 0, guest_count, 0);
	EXPECT_EQ(1, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	ASSERT_EQ(0, xioctl(self->vcpu->fd, KVM_NMI, NULL));
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(2, vcpu_run_to_port(&self->child.vcpus[0], PORT_TRAP));
	EXPECT_EQ(2, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	EXPECT_EQ(2, vcpu_run_to_port(self->vcpu, PORT_TRAP));
	EXPECT_EQ(2, vcpu_run_to_port(self->vcpu, PORT_SYNC));
	vm_close(&self->child);
}

TEST_HARNESS_MAIN
