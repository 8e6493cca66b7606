// SPDX-License-Identifier: GPL-2.0-only
/*
 * A warm start: it sets itself up, says so, and goes on as what it is told.
 *
 *	clones=N	--template N was given: as child 1 to N; otherwise as itself
 *	fail=K		child K ends with status 40 + K
 *	trap=K		child K ends with a triple fault
 *	spin		whoever goes on never ends by itself
 *	early		ends before it says so
 *	break		expects one child more than there is
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define PAGES	64
#define FAILED	40
#define ENOENT	2

const char guest_name[] = "warm";

static uint64_t pages[PAGES][PAGE_SIZE / sizeof(uint64_t)] __aligned(4096);
static uint64_t ticks;

static long guest_freeze(void)
{
	return guest_call(KVMFORK_CALL_FREEZE, 0, 0, NULL);
}

static void tick(unsigned int cpu)
{
	(void)cpu;
	for (;;) {
		WRITE_ONCE(ticks, ticks + 1);
		cpu_pause();
	}
}

static void set_up(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		pages[i][i] = i + 1;
	for (i = 1; i < boot_state.cpus; i++)
		check(smp_start(i, tick), "vCPU %u does not start", i);
}

/* All are as they were at the call, and what is written here stays here. */
static void check_pages(uint64_t mark)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		check_eq("a page", pages[i][i], i + 1);
		check_eq("a page that another VM wrote", pages[i][PAGES], 0);
		pages[i][PAGES] = mark;
	}
	delay_ms(20);
	for (i = 0; i < PAGES; i++)
		check_eq("a page of this VM", pages[i][PAGES], mark);
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

static void triple_fault(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __packed none;

	asm volatile("lidt %0; int3" : : "m"(none));
}

void guest_main(void)
{
	long clones = (long)arg_number("clones", 0) + arg_flag("break");
	long number, status;

	if (arg_flag("early"))
		return;
	set_up();
	say("is set up, VM %ld", guest_getid());
	number = guest_freeze();
	say("number %ld, VM %ld", number, guest_getid());
	if (clones) {
		check(number >= 1 && number <= clones, "number %ld of %ld", number, clones);
		check_eq("the id of a child", guest_getid(), number + 1);
		check_eq("its parent", guest_getparent(), 1);
		check_eq("its children", guest_wait(0, 0, &status), -ECHILD);
	} else {
		check_eq("what a call returns that does nothing", number, 0);
	}
	check_eq("a second call", guest_freeze(), 0);
	check_eq("a reset", guest_call(KVMFORK_CALL_RESET, 0, 0, NULL), -ENOENT);
	check_pages((uint64_t)number + 1);
	check_vcpus();
	if (arg_flag("break"))
		check_eq("the last child", number, clones);
	if (arg_flag("spin"))
		for (;;)
			delay_ms(100);
	if (number && number == (long)arg_number("trap", 0))
		triple_fault();
	if (!guest_failures && number && number == (long)arg_number("fail", 0))
		guest_exit(FAILED + (unsigned int)number);
}
