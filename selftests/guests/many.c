// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forks until it is refused, children staying asleep; kills and reaps all,
 * and forks once more to see that the room came back.
 *
 *	expect=N	so many forks must succeed
 *	at_most=N	stop by itself after N (default 1000)
 */
#include "guest.h"

#define CHILDREN_MAX	1000

const char guest_name[] = "many";

static long children[CHILDREN_MAX];

static void sleep_forever(void)
{
	for (;;)
		asm volatile("cli; hlt");
}

void guest_main(void)
{
	uint64_t at_most = arg_number("at_most", CHILDREN_MAX);
	uint64_t n, i, left, expect;
	long id = 0, status;

	if (at_most > CHILDREN_MAX)
		at_most = CHILDREN_MAX;
	for (n = 0; n < at_most; n++) {
		id = guest_fork();
		if (!id)
			sleep_forever();
		if (id < 0)
			break;
		children[n] = id;
	}
	say("%lu forks succeeded, then %ld", n, id);
	expect = arg_number("expect", n);
	check(n == expect, "%lu forks, expected %lu", n, expect);
	if (n < at_most) {
		check(id == -EAGAIN, "refused with %ld, expected -EAGAIN", id);
		/* Refused is refused again, and does no harm. */
		id = guest_fork();
		if (!id)
			sleep_forever();
		check(id == -EAGAIN, "second refusal: %ld", id);
	}

	id = guest_wait(0, KVMFORK_WAIT_NOHANG, &status);
	check(id == (n ? 0 : -ECHILD), "nobody has ended, but wait returned %ld",
	      id);
	for (i = 0; i < n; i++)
		check(guest_kill(children[i]) == 0, "kill of VM %ld failed",
		      children[i]);
	for (left = n; left; left--) {
		id = guest_wait(0, 0, &status);
		for (i = 0; i < n && children[i] != id; i++)
			;
		if (!check(i < n, "wait returned %ld with %lu VMs left", id, left))
			return;
		check(status > KVMFORK_STATUS_KILLED, "VM %ld: status %ld", id,
		      status);
		children[i] = -1;
	}
	check(guest_wait(0, 0, &status) == -ECHILD, "somebody is left");

	id = guest_fork();
	if (!id)
		guest_exit(3);
	if (check(id > 0 || !expect, "no room after reaping: %ld", id) && id > 0)
		guest_expect(id, 3);
	if (arg_flag("break"))
		guest_expect(id, 3);
}
