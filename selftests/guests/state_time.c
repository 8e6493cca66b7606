// SPDX-License-Identifier: GPL-2.0-only
/* Clocks, and the devices that ukrun itself makes. */
#include "cpu.h"
#include "guest.h"
#include "state.h"
#include "x86.h"

static uint64_t tsc_before;

static void tsc_setup(void)
{
	tsc_before = rdtsc();
}

static void tsc_verify(const char *who)
{
	uint64_t now = rdtsc();

	if (state_broken(11))
		now = tsc_before - 1;
	check(now > tsc_before, "%s: TSC 0x%lx after 0x%lx", who, now, tsc_before);
	check(now - tsc_before < BOUND_MS * tsc_per_ms(),
	      "%s: TSC jumped by %lu ms", who, (now - tsc_before) / tsc_per_ms());
	say("%s: TSC %lu us after the fork", who,
	    (now - tsc_before) * 1000 / tsc_per_ms());
}

/* kHz over 10 ms of another clock. */
static uint64_t measure_tsc(void)
{
	uint64_t start, lapic;

	lapic_write(LAPIC_LVTT, LVT_MASKED);
	lapic_write(LAPIC_TDCR, TDCR_BY_1);
	lapic_write(LAPIC_TMICT, 0xffffffff);
	start = rdtsc();
	while ((lapic = 0xffffffff - lapic_read(LAPIC_TMCCT)) < 10000000)
		cpu_pause();
	start = rdtsc() - start;
	lapic_write(LAPIC_TMICT, 0);
	return start * 1000000 / lapic;
}

/*
 * The rate has not changed either. A vCPU that L1 puts aside between reading
 * one clock and the other measures nonsense: best of some.
 */
static void rate_verify(const char *who)
{
	uint64_t want = tsc_per_ms(), got = 0;

	for (unsigned int i = 0; i < 10; i++) {
		got = measure_tsc();
		if (got > want * 9 / 10 && got < want * 11 / 10)
			return;
	}
	check(false, "%s: TSC runs at %lu kHz, and should at %lu", who, got, want);
}

void state_tsc(void)
{
	state_chain("TSC", tsc_setup, tsc_verify);
	state_chain("TSC rate", tsc_setup, rate_verify);
}

/* KVM's clock pages, as KVM's documentation (msr.rst) has them. */

#define CPUID_KVM_FEATURES	0x40000001
#define KVM_FEATURE_CLOCKSOURCE2 3
#define KVM_FEATURE_STEAL_TIME	5
#define MSR_KVM_WALL_CLOCK	0x4b564d00
#define MSR_KVM_SYSTEM_TIME	0x4b564d01
#define MSR_KVM_STEAL_TIME	0x4b564d03
#define NSEC_PER_MSEC		1000000UL
/* In an emulated L1 a task may be put aside for that long at any point. */
#define CLOCK_SKEW_MAX		50000000L

struct pvclock {
	uint32_t version;
	uint32_t pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};

struct wall_clock {
	uint32_t version;
	uint32_t sec;
	uint32_t nsec;
};

static struct pvclock pvclock __aligned(64);
static struct wall_clock wall __aligned(64);
static uint64_t clock_before, wall_before;
static int64_t offset_before;

static uint64_t kvmclock(void)
{
	const volatile struct pvclock *p = &pvclock;
	uint64_t delta, mul, ns;
	uint32_t version;

	do {
		version = p->version & ~1U;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		delta = rdtsc() - p->tsc_timestamp;
		if (p->tsc_shift >= 0)
			delta <<= p->tsc_shift;
		else
			delta >>= -p->tsc_shift;
		/* delta * mul >> 32, whose product has up to 96 bits. */
		mul = p->tsc_to_system_mul;
		ns = p->system_time + (delta >> 32) * mul + ((uint32_t)delta * mul >> 32);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (version != p->version);
	return ns;
}

/* Wall-clock time at which kvmclock was zero. */
static uint64_t wall_clock(void)
{
	wrmsr(MSR_KVM_WALL_CLOCK, (uint64_t)&wall);
	return (uint64_t)wall.sec * 1000 * NSEC_PER_MSEC + wall.nsec;
}

static uint64_t tsc_to_ns(uint64_t cycles)
{
	return cycles / tsc_per_ms() * NSEC_PER_MSEC +
	       cycles % tsc_per_ms() * NSEC_PER_MSEC / tsc_per_ms();
}

/*
 * How far kvmclock is ahead of the TSC, in ns: the best of some, as L1 may put
 * this vCPU aside between reading one and the other.
 */
static int64_t clock_offset(void)
{
	uint64_t best = ~0UL, t0, t1, ns;
	int64_t offset = 0;

	for (unsigned int i = 0; i < 50; i++) {
		t0 = rdtsc();
		ns = kvmclock();
		t1 = rdtsc();
		if (t1 - t0 < best) {
			best = t1 - t0;
			offset = (int64_t)(ns - tsc_to_ns(t0 + best / 2));
		}
	}
	return offset;
}

static void clock_setup(void)
{
	wrmsr(MSR_KVM_SYSTEM_TIME, (uint64_t)&pvclock | 1);
	wall_before = wall_clock();
	offset_before = clock_offset();
	clock_before = kvmclock();
}

static void clock_verify(const char *who)
{
	uint64_t now = kvmclock(), ns = now - clock_before, msr;
	int64_t moved = clock_offset() - offset_before, wall_moved;

	if (state_broken(12))
		now = clock_before - 1;
	check(rdmsr_safe(MSR_KVM_SYSTEM_TIME, &msr) &&
	      msr == ((uint64_t)&pvclock | 1), "%s: kvmclock is at 0x%lx", who, msr);
	check(now > clock_before, "%s: kvmclock %lu after %lu", who, now,
	      clock_before);
	check(ns < BOUND_MS * NSEC_PER_MSEC, "%s: kvmclock jumped by %lu ms", who,
	      ns / NSEC_PER_MSEC);
	wall_moved = (int64_t)(wall_clock() - wall_before);
	say("%s: kvmclock moved by %ld ns against the TSC, wall clock by %ld us",
	    who, moved, wall_moved / 1000);
	/* Linux declares a TSC unstable for less. */
	check(moved < CLOCK_SKEW_MAX && moved > -CLOCK_SKEW_MAX,
	      "%s: kvmclock moved by %ld ns against the TSC", who, moved);
	check(wall_moved < 1000L * 1000000 && wall_moved > -1000L * 1000000,
	      "%s: the wall clock moved by %ld us", who, wall_moved / 1000);
	now = kvmclock();
	delay_ms(5);
	check(kvmclock() - now >= 4 * NSEC_PER_MSEC, "%s: kvmclock stands still",
	      who);
}

/* Steal time: KVM itself writes into the guest's memory, on both sides. */

static uint8_t steal[64] __aligned(64);

static void steal_setup(void)
{
	wrmsr(MSR_KVM_STEAL_TIME, (uint64_t)steal | 1);
}

static void steal_verify(const char *who)
{
	uint64_t msr;

	check(rdmsr_safe(MSR_KVM_STEAL_TIME, &msr) &&
	      msr == ((uint64_t)steal | 1), "%s: steal time is at 0x%lx", who, msr);
	/* Its version is even and goes up whenever KVM looks. */
	check(!(READ_ONCE(steal[8]) & 1), "%s: steal time is being written", who);
}

void state_kvmclock(void)
{
	uint32_t features = 0;

	if (cpuid(1, 0).c >> 31 && cpuid(0x40000000, 0).b == 0x4b4d564b)
		features = cpuid(CPUID_KVM_FEATURES, 0).a;
	if (!(features >> KVM_FEATURE_CLOCKSOURCE2 & 1)) {
		say("no kvmclock");
		return;
	}
	state_chain("kvmclock", clock_setup, clock_verify);
	if (features >> KVM_FEATURE_STEAL_TIME & 1)
		state_chain("steal time", steal_setup, steal_verify);
	else
		say("no steal time");
}

/* The strings are what L1's test looks for, twice the second. */
void state_string_io(void)
{
	static const char before[] = "rep before\n", after[] = "rep behind\n";
	uint64_t left;
	long id = -1;

	if (guest_uses_port())
		left = fork_in_string_io_port(before, after, sizeof(before) - 1,
					      &id);
	else
		left = fork_in_string_io(before, after, sizeof(before) - 1, &id);
	if (!id)
		guest_failures = 0;
	check(left == state_broken(13), "%s: rep outsb left 0x%lx",
	      id ? "parent" : "child", left);
	state_join(id);
}

/* COM1 and the RTC keep what was written to them. */

#define COM1	0x3f8

static uint8_t rtc(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static uint64_t rtc_seconds(void)
{
	uint8_t h, m, s;

	do {
		while (rtc(0x0a) & 0x80)
			cpu_pause();
		s = rtc(0);
		m = rtc(2);
		h = rtc(4);
	} while (s != rtc(0));
	if (!(rtc(0x0b) & 4)) {
		s = (uint8_t)(s / 16 * 10 + s % 16);
		m = (uint8_t)(m / 16 * 10 + m % 16);
		h = (uint8_t)(h / 16 * 10 + h % 16);
	}
	return h * 3600UL + m * 60UL + s;
}

static uint64_t rtc_before;
static uint8_t rtc_status_b;

static void devices_setup(void)
{
	outb(COM1 + 7, 0x5e);
	outb(COM1 + 1, 0x0d);
	outb(COM1 + 3, 0x80);
	outb(COM1, 0x0c);
	outb(COM1 + 1, 0x01);
	outb(COM1 + 3, 0x1b);
	outb(COM1 + 4, 0x0b);
	rtc_before = rtc_seconds();
	rtc_status_b = rtc(0x0b);
	/* The index stays at the register whose value is known. */
	outb(0x70, 0x0b);
}

static void devices_verify(const char *who)
{
	uint64_t now;

	check_eq("RTC at the index set before", inb(0x71), rtc_status_b);
	check_eq("UART scratch", inb(COM1 + 7), 0x5e + state_broken(14));
	check_eq("UART IER", inb(COM1 + 1), 0x0d);
	check_eq("UART LCR", inb(COM1 + 3), 0x1b);
	check_eq("UART MCR", inb(COM1 + 4) & 0x1f, 0x0b);
	check_eq("UART FIFO", inb(COM1 + 2) & 0xc0, 0xc0);
	outb(COM1 + 3, 0x9b);
	check_eq("UART divisor", inb(COM1) | inb(COM1 + 1) << 8, 0x010c);
	outb(COM1, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x03);
	outb(COM1 + 1, 0);
	now = rtc_seconds();
	check((now + 86400 - rtc_before) % 86400 <= BOUND_MS / 1000,
	      "%s: RTC at %lu s of the day, was at %lu", who, now, rtc_before);
}

void state_devices(void)
{
	state_chain("devices", devices_setup, devices_verify);
}
