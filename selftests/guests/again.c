// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs again and again under --reset-on-exit: each run must find everything as
 * it was at the call FREEZE, spoils it all, and ends.
 *
 *	runs=N		no run has a greater number than N, the first is 0
 *	number=N	--template too: what the call returns is 1 to N
 *	fail=K		run K ends with status 9
 *	reset=K		runs before K ask for the reset instead of ending
 *	spin		the last run never ends
 *	quiet		says nothing of runs
 *	fork		a run but the last leaves a child behind
 *	late		an x from the serial line ends a run before the call
 *	start		makes no call FREEZE: the start is what is gone back to
 *	bare		a run does nothing but end: to be timed
 *	break		expects a run that there is not
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define PAGES		32
#define FAILED		9

#define SERIAL_DATA	0x3f8
#define SERIAL_STATUS	0x3fd
#define SERIAL_SCRATCH	0x3ff
#define SERIAL_IER	0x3f9
#define RTC_INDEX	0x70
#define RTC_DATA	0x71
#define RTC_FREE	0x40
#define PM_ENABLE	0x602

const char guest_name[] = "again";

static uint64_t pages[PAGES][PAGE_SIZE / sizeof(uint64_t)] __aligned(4096);
static uint64_t ticks;
static uint64_t starts;
static uint32_t spurious;

static void tick(unsigned int cpu)
{
	(void)cpu;
	for (;;) {
		WRITE_ONCE(ticks, ticks + 1);
		cpu_pause();
	}
}

static uint8_t rtc_get(void)
{
	outb(RTC_INDEX, RTC_FREE);
	return inb(RTC_DATA);
}

static void rtc_set(uint8_t value)
{
	outb(RTC_INDEX, RTC_FREE);
	outb(RTC_DATA, value);
}

static void set_up(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		pages[i][i] = i + 1;
	outb(SERIAL_SCRATCH, 0x5a);
	outb(PM_ENABLE, 0x21);
	rtc_set(0x77);
	wrmsr(MSR_FS_BASE, 0x1234000);
	lapic_enable();
	write_cr8(3);
	spurious = lapic_read(LAPIC_SVR);
	for (i = 1; i < boot_state.cpus; i++)
		check(smp_start(i, tick), "vCPU %u does not start", i);
}

static void check_state(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		check_eq("a page", pages[i][i], i + 1);
		check_eq("what a run wrote", pages[i][PAGES], 0);
	}
	check_eq("the UART's scratch register", inb(SERIAL_SCRATCH), 0x5a);
	check_eq("the UART's IER", inb(SERIAL_IER), 0);
	check_eq("PM1 enable", inb(PM_ENABLE), 0x21);
	check_eq("memory of the RTC", rtc_get(), 0x77);
	check_eq("FS base", rdmsr(MSR_FS_BASE), 0x1234000);
	check_eq("CR8", read_cr8(), 3);
	check_eq("the LAPIC's SVR", lapic_read(LAPIC_SVR), spurious);
}

static void check_vcpus(void)
{
	uint64_t before = READ_ONCE(ticks);
	unsigned int tries;

	if (boot_state.cpus < 2)
		return;
	for (tries = 1000; tries && READ_ONCE(ticks) == before; tries--)
		delay_ms(1);
	check(tries, "the other vCPU stands still");
}

static void spoil(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		pages[i][PAGES] = 1;
	outb(SERIAL_SCRATCH, 0xa5);
	outb(SERIAL_IER, 1);
	outb(PM_ENABLE, 0);
	rtc_set(0);
	wrmsr(MSR_FS_BASE, 0x4321000);
	write_cr8(9);
	lapic_write(LAPIC_SVR, spurious ^ 1);
}

/* What a run leaves behind is not the next one's. */
static void leave_child(void)
{
	long status;

	check_eq("children of another run", guest_wait(0, KVMFORK_WAIT_NOHANG, &status),
		 -ECHILD);
	if (!guest_fork())
		for (;;)
			asm volatile("cli; hlt");
}

/* Input that has not come yet is not reset: a run reads on where the last has stopped. */
static void wait_for_input(void)
{
	while (!(inb(SERIAL_STATUS) & 1))
		cpu_pause();
	if (inb(SERIAL_DATA) == 'x')
		guest_exit(0);
}

static void from_start(void)
{
	check_eq("memory at the start", starts, 0);
	check_eq("the UART's scratch register", inb(SERIAL_SCRATCH), 0);
	starts++;
	outb(SERIAL_SCRATCH, 1);
	say("starts");
}

/* Each of the ways to end with 0. */
static void end_run(uint64_t run)
{
	switch (run % 3) {
	case 0:
		guest_exit(0);
		break;
	case 1:
		outw(0x604, 0x2000);
		break;
	default:
		outb(0x64, 0xfe);
	}
	for (;;)
		cpu_pause();
}

void guest_main(void)
{
	uint64_t runs = arg_number("runs", 0);
	uint64_t number = arg_number("number", 0);
	long result, run = -1;

	if (arg_flag("start")) {
		from_start();
		return;
	}
	if (arg_flag("late"))
		wait_for_input();
	set_up();
	result = guest_call(KVMFORK_CALL_FREEZE, 0, 0, &run);
	if (arg_flag("bare") && (uint64_t)run < runs)
		guest_exit(0);
	if (!arg_flag("quiet"))
		say("run %ld, result %ld, VM %ld", run, result, guest_getid());
	check(run >= 0 && (uint64_t)run <= runs, "run %ld of %lu", run, runs);
	if (number)
		check(result >= 1 && (uint64_t)result <= number, "number %ld of %lu", result,
		      number);
	else
		check_eq("what the call returned", result, run);
	check_state();
	check_vcpus();
	check_eq("a second call", guest_call(KVMFORK_CALL_FREEZE, 0, 0, &run), 0);
	if (arg_flag("break"))
		check_eq("the run", run, -1);
	if (arg_flag("fork") && (uint64_t)run < runs)
		leave_child();
	if (guest_failures)
		return;
	spoil();
	if (run == (long)arg_number("fail", (uint64_t)-1))
		guest_exit(FAILED);
	if ((uint64_t)run < arg_number("reset", 0))
		check(false, "a reset returned %ld",
		      guest_call(KVMFORK_CALL_RESET, 0, 0, NULL));
	else if ((uint64_t)run < runs)
		end_run((uint64_t)run);
	else
		say("last run was %ld", run);
	if (arg_flag("spin"))
		for (;;)
			delay_ms(100);
}
