// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything a vCPU and its machine hold, before and after a fork, in parent,
 * child and grandchild.
 *
 *	only=N	only part N of the list below
 *	break=N	spoil check N
 *	port	fork through the port
 */
#include "cpu.h"
#include "guest.h"
#include "state.h"
#include "x86.h"

const char guest_name[] = "state";

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "registers and flags", state_registers },
	{ "x87, SSE, AVX", state_fpu },
	{ "control, debug, segment registers, MSRs, APICs", state_system },
	{ "breakpoints", state_breakpoints },
	{ "pending interrupts", state_pending_irqs },
	{ "an interrupt in service", state_in_service },
	{ "NMI", state_nmi },
	{ "interrupt shadow", state_shadow },
	{ "local APIC timer", state_lapic_timer },
	{ "PIT and PIC", state_pit },
	{ "TSC", state_tsc },
	{ "kvmclock", state_kvmclock },
	{ "string I/O", state_string_io },
	{ "devices of ukrun", state_devices },
	{ "fork at CPL 3", state_user_mode },
};

unsigned int state_broken(unsigned int n)
{
	return arg_number("break", 0) == n;
}

void state_join(long id)
{
	if (!id)
		guest_exit(guest_failures ? GUEST_FAILED : 0);
	if (check(id > 0, "fork returned %ld", id))
		guest_expect(id, 0);
}

void state_chain(const char *what, void (*setup)(void),
		 void (*verify)(const char *who))
{
	long child, grandchild;

	(void)what;
	setup();
	child = guest_fork();
	if (child) {
		verify("parent");
		state_join(child);
		return;
	}
	verify("child");
	setup();
	grandchild = guest_fork();
	verify(grandchild ? "child as a parent" : "grandchild");
	if (grandchild)
		state_join(grandchild);
	state_join(0);
}

bool state_wait_count(const uint64_t *counter, uint64_t want)
{
	uint64_t end = rdtsc() + BOUND_MS * tsc_per_ms();

	irq_enable();
	while (READ_ONCE(*counter) < want && rdtsc() < end)
		cpu_pause();
	irq_disable();
	return READ_ONCE(*counter) == want;
}

void guest_main(void)
{
	uint64_t only = arg_number("only", 0);

	lapic_enable();
	tsc_per_ms();
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		unsigned int before = guest_failures;

		if (only && only != i + 1)
			continue;
		parts[i].run();
		say("%2u %s: %s", i + 1, parts[i].name,
		    guest_failures == before ? "ok" : "FAILED");
	}
}
