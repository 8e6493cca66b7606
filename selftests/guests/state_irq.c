// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts in every stage of their life, and the timers that make them. */
#include "cpu.h"
#include "guest.h"
#include "state.h"
#include "x86.h"

#define VECTOR_LOW	0x51
#define VECTOR_MID	0x62
#define VECTOR_HIGH	0x93
#define VECTOR_TIMER	0x45
#define VECTOR_PIC	0x20
#define SELF		0x40000

#define TIMER_MS	30
#define TICK_MS		10
#define PIT_HZ		1193182

static uint64_t irqs, timer_irqs, pit_irqs;
static uint8_t order[8];
static uint64_t started, expired;

static void handle_irq(struct trap_frame *frame)
{
	if (irqs < ARRAY_SIZE(order))
		order[irqs] = (uint8_t)frame->vector;
	irqs++;
	lapic_eoi();
}

static void send_self(unsigned int vector)
{
	lapic_write(LAPIC_ICR, SELF | IPI_ASSERT | vector);
}

/* Requested, not accepted: interrupts are off. */

static void pending_setup(void)
{
	irqs = 0;
	trap_set(VECTOR_LOW, handle_irq);
	trap_set(VECTOR_MID, handle_irq);
	trap_set(VECTOR_HIGH, handle_irq);
	send_self(VECTOR_LOW);
	send_self(VECTOR_HIGH);
	send_self(VECTOR_MID);
}

static void pending_verify(const char *who)
{
	check(lapic_bit(LAPIC_IRR, VECTOR_LOW) &&
	      lapic_bit(LAPIC_IRR, VECTOR_MID) &&
	      lapic_bit(LAPIC_IRR, VECTOR_HIGH), "%s: IRR lost a bit", who);
	check(!lapic_bit(LAPIC_ISR, VECTOR_LOW), "%s: in service already", who);
	check_eq("interrupts before sti", irqs, 0);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	check(READ_ONCE(irqs) == 3 + state_broken(5),
	      "%s: %lu interrupts, expected 3", who, irqs);
	check(order[0] == VECTOR_HIGH && order[1] == VECTOR_MID &&
	      order[2] == VECTOR_LOW, "%s: order 0x%x 0x%x 0x%x", who, order[0],
	      order[1], order[2]);
	check(!lapic_bit(LAPIC_IRR, VECTOR_LOW), "%s: still requested", who);
}

void state_pending_irqs(void)
{
	state_chain("pending", pending_setup, pending_verify);
}

/* Forks inside a handler, before its EOI, with a lower one waiting. */

static long service_id;

static void handle_and_fork(struct trap_frame *frame)
{
	(void)frame;
	send_self(VECTOR_LOW);
	service_id = guest_fork();
	check(lapic_bit(LAPIC_ISR, VECTOR_MID), "not in service after the fork");
	check(lapic_bit(LAPIC_IRR, VECTOR_LOW) && !irqs,
	      "lower interrupt: IRR %u, delivered %lu",
	      lapic_bit(LAPIC_IRR, VECTOR_LOW), irqs);
	irq_enable();
	asm volatile("nop; nop");
	irq_disable();
	check(!READ_ONCE(irqs), "lower interrupt came before the EOI");
	lapic_eoi();
	check(!lapic_bit(LAPIC_ISR, VECTOR_MID), "in service after the EOI");
}

void state_in_service(void)
{
	irqs = 0;
	trap_set(VECTOR_LOW, handle_irq);
	trap_set(VECTOR_MID, handle_and_fork);
	send_self(VECTOR_MID);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	check(READ_ONCE(irqs) == 1 + state_broken(6), "%lu interrupts, expected 1",
	      irqs);
	state_join(service_id);
}

/* Forks inside an NMI handler, with the next NMI held back by it. */

static uint64_t nmis;
static long nmi_id;

static void handle_nmi(struct trap_frame *frame)
{
	(void)frame;
	if (nmis++)
		return;
	lapic_ipi(smp_id(), IPI_NMI | IPI_ASSERT);
	nmi_id = guest_fork();
	check(READ_ONCE(nmis) == 1, "the second NMI came inside the first");
}

void state_nmi(void)
{
	uint64_t end;

	nmis = 0;
	trap_set(VECTOR_NMI, handle_nmi);
	lapic_ipi(smp_id(), IPI_NMI | IPI_ASSERT);
	end = rdtsc() + BOUND_MS * tsc_per_ms();
	while (READ_ONCE(nmis) < 2 && rdtsc() < end)
		cpu_pause();
	check(READ_ONCE(nmis) == 2 + state_broken(7), "%lu NMIs, expected 2", nmis);
	state_join(nmi_id);
}

/* The instruction behind `sti` and `mov ss` is the fork. */

static void shadow_once(long (*fork)(void), const char *what)
{
	long id;

	irqs = 0;
	trap_set(VECTOR_LOW, handle_irq);
	send_self(VECTOR_LOW);
	id = fork();
	check(READ_ONCE(irqs) == 1 + state_broken(8),
	      "%s, %s: %lu interrupts, expected 1", what,
	      id ? "parent" : "child", irqs);
	state_join(id);
}

void state_shadow(void)
{
	bool port = guest_uses_port();

	shadow_once(port ? fork_after_sti_port : fork_after_sti, "sti");
	shadow_once(port ? fork_after_mov_ss_port : fork_after_mov_ss, "mov ss");
}

/* Local APIC timer. KVM's counts nanoseconds. */

static void handle_timer(struct trap_frame *frame)
{
	(void)frame;
	expired = rdtsc();
	timer_irqs++;
	lapic_eoi();
}

static void timer_start(uint32_t mode, uint32_t ms)
{
	timer_irqs = 0;
	trap_set(VECTOR_TIMER, handle_timer);
	lapic_write(LAPIC_TDCR, TDCR_BY_1);
	lapic_write(LAPIC_LVTT, mode | VECTOR_TIMER);
	started = rdtsc();
	if (mode != LVTT_DEADLINE)
		lapic_write(LAPIC_TMICT, ms * 1000000);
	else
		wrmsr(MSR_TSC_DEADLINE, started + ms * tsc_per_ms());
}

static void check_one_shot(const char *who, uint32_t ms)
{
	uint64_t took;

	check(state_wait_count(&timer_irqs, 1 + state_broken(9)),
	      "%s: %lu timer interrupts, expected 1", who, timer_irqs);
	took = (expired - started) / tsc_per_ms();
	/* Half a per cent: the two clocks have different units. */
	check(took + 1 + ms / 200 >= ms, "%s: the timer of %u ms came after %lu", who,
	      ms, took);
	check(took < BOUND_MS, "%s: the timer of %u ms came after %lu", who, ms,
	      took);
	irq_enable();
	delay_ms(2 * ms);
	irq_disable();
	check(READ_ONCE(timer_irqs) == 1, "%s: the timer came %lu times", who,
	      timer_irqs);
}

static void one_shot_setup(void)
{
	timer_start(0, TIMER_MS);
}

static void one_shot_verify(const char *who)
{
	check_eq("TMICT", lapic_read(LAPIC_TMICT), TIMER_MS * 1000000);
	check_one_shot(who, TIMER_MS);
}

/* Expires while the fork is made, or has expired before and is pending. */
static void expiring_setup(void)
{
	timer_start(0, 1);
}

static void expiring_verify(const char *who)
{
	check_one_shot(who, 1);
}

static void expired_setup(void)
{
	timer_start(0, 1);
	while (!lapic_bit(LAPIC_IRR, VECTOR_TIMER))
		cpu_pause();
}

static void periodic_setup(void)
{
	timer_start(LVTT_PERIODIC, TICK_MS);
	state_wait_count(&timer_irqs, 2);
}

static void check_ticks(const char *who, const uint64_t *counter, uint64_t ticks)
{
	uint64_t start = rdtsc(), end = start + BOUND_MS * tsc_per_ms(), took;
	uint64_t before = READ_ONCE(*counter);

	irq_enable();
	while (READ_ONCE(*counter) < before + ticks && rdtsc() < end)
		cpu_pause();
	irq_disable();
	took = (rdtsc() - start) / tsc_per_ms();
	check(READ_ONCE(*counter) >= before + ticks,
	      "%s: %lu ticks in %lu ms, expected %lu", who,
	      READ_ONCE(*counter) - before, took, ticks);
	/*
	 * Late is the machine's affair; too early is not, but ticks missed
	 * during the fork may be made up for.
	 */
	check(took + BOUND_MS >= ticks * TICK_MS, "%s: %lu ticks in %lu ms", who,
	      ticks, took);
}

static void periodic_verify(const char *who)
{
	check_ticks(who, &timer_irqs, 5);
	lapic_write(LAPIC_LVTT, LVT_MASKED);
	lapic_write(LAPIC_TMICT, 0);
	asm volatile("sti; nop; cli" : : : "memory");
}

static void deadline_setup(void)
{
	timer_start(LVTT_DEADLINE, TIMER_MS);
}

static void deadline_verify(const char *who)
{
	uint64_t armed = rdmsr(MSR_TSC_DEADLINE);

	check(armed == started + TIMER_MS * tsc_per_ms() || armed == 0,
	      "%s: deadline 0x%lx", who, armed);
	check_one_shot(who, TIMER_MS);
	check_eq("deadline after it passed", rdmsr(MSR_TSC_DEADLINE), 0);
}

void state_lapic_timer(void)
{
	state_chain("one-shot", one_shot_setup, one_shot_verify);
	state_chain("expiring", expiring_setup, expiring_verify);
	state_chain("expired", expired_setup, expiring_verify);
	state_chain("periodic", periodic_setup, periodic_verify);
	if (cpuid(1, 0).c >> 24 & 1)
		state_chain("deadline", deadline_setup, deadline_verify);
	else
		say("no TSC deadline timer");
	lapic_write(LAPIC_LVTT, LVT_MASKED);
}

/* PIT channel 0 through the 8259 and ExtINT. */

static void handle_pit(struct trap_frame *frame)
{
	(void)frame;
	pit_irqs++;
	pic_eoi(0);
}

static void pit_program(uint8_t mode, uint32_t count)
{
	outb(0x43, mode);
	outb(0x40, (uint8_t)count);
	outb(0x40, (uint8_t)(count >> 8));
}

static void pit_setup(void)
{
	pit_irqs = 0;
	trap_set(VECTOR_PIC, handle_pit);
	pic_init(VECTOR_PIC);
	lapic_write(LAPIC_LVT0, 0x700);
	pit_program(0x34, PIT_HZ * TICK_MS / 1000);
	pic_mask(0xfffe);
	state_wait_count(&pit_irqs, 2);
}

static void pit_verify(const char *who)
{
	check_eq("PIC mask", pic_get_mask(), 0xfffe + state_broken(10));
	check_ticks(who, &pit_irqs, 5);
	pic_mask(0xffff);
}

/* Requested at the 8259, not taken by the CPU yet. */
static void pit_pending_setup(void)
{
	uint64_t end = rdtsc() + BOUND_MS * tsc_per_ms();

	pit_setup();
	do {
		outb(0x20, 0x0a);
	} while (!(inb(0x20) & 1) && rdtsc() < end);
	check(rdtsc() < end, "no request at the PIC");
}

static void pit_pending_verify(const char *who)
{
	uint64_t before = pit_irqs;

	outb(0x20, 0x0a);
	check(inb(0x20) & 1, "%s: no request at the PIC", who);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	check(READ_ONCE(pit_irqs) > before, "%s: no interrupt from the PIC", who);
	pic_mask(0xffff);
}

/* Channel 0 in mode 0, as long as it gets: 55 ms, one interrupt. */
static void pit_counter_setup(void)
{
	pit_irqs = 0;
	pic_mask(0xfffe);
	pit_program(0x30, 0xffff);
	started = rdtsc();
}

static void pit_counter_verify(const char *who)
{
	uint64_t took;

	check(state_wait_count(&pit_irqs, 1),
	      "%s: %lu interrupts of a PIT in mode 0, expected 1", who, pit_irqs);
	took = (rdtsc() - started) / tsc_per_ms();
	check(took >= 50 && took < BOUND_MS, "%s: 55 ms of the PIT took %lu", who,
	      took);
	pic_mask(0xffff);
}

void state_pit(void)
{
	state_chain("PIT", pit_setup, pit_verify);
	state_chain("PIT pending", pit_pending_setup, pit_pending_verify);
	/*
	 * Stop what still ticks, and take what is still to come: KVM makes up
	 * for ticks that were missed, one after each EOI.
	 */
	pit_program(0x30, 1);
	pic_mask(0xfffe);
	irq_enable();
	delay_ms(2 * TICK_MS);
	irq_disable();
	state_chain("PIT mode 0", pit_counter_setup, pit_counter_verify);
}
