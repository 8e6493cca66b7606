// SPDX-License-Identifier: GPL-2.0-only
/*
 * The seed program: one instruction, two VMs.
 *
 *	exit=N	the parent ends with N instead of 0
 *	spin	the child never ends by itself: for tests that kill
 *	nowait	the parent never ends by itself, and does not wait
 *	orphan	the child goes on until the parent is gone, which happens at once
 *		without `nowait`
 *	port	fork through the port
 *	forks=N	fork, and wait for the child, N times
 *	late=N	... each time N ms after being able to
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define CHILD_STATUS	7

const char guest_name[] = "fork";

static void child(long parent)
{
	say("this is the child, VM %ld, of VM %ld", guest_getid(),
	    guest_getparent());
	if (arg_flag("spin"))
		for (;;)
			delay_ms(100);
	if (arg_flag("orphan")) {
		while (guest_getparent())
			delay_ms(20);
		say("VM %ld is gone, VM %ld goes on", parent, guest_getid());
	} else {
		check_eq("the child's parent", guest_getparent(), parent);
	}
	check(guest_getid() != parent, "the child has the parent's id");
	guest_exit(guest_failures ? GUEST_FAILED : CHILD_STATUS);
}

static void fork_once(void)
{
	long me = guest_getid();
	long status = -1;
	long id, ended;

	delay_ms((unsigned int)arg_number("late", 0));
	say("VM %ld before the fork", me);
	id = guest_fork();
	if (id < 0) {
		check(false, "fork returned %ld", id);
		return;
	}
	if (!id)
		child(me);

	say("this is the parent, VM %ld, the child is VM %ld", guest_getid(), id);
	check_eq("the parent's id", guest_getid(), me);
	if (arg_flag("nowait"))
		for (;;)
			delay_ms(100);
	if (!arg_flag("orphan")) {
		ended = guest_wait(0, 0, &status);
		say("VM %ld ended with status %ld", ended, status);
		check(ended == id, "wait returned %ld, expected %ld", ended, id);
		check(status == CHILD_STATUS + arg_flag("break"),
		      "status %ld, expected %d", status, CHILD_STATUS);
	}
}

void guest_main(void)
{
	uint64_t forks = arg_number("forks", 1);

	while (forks--)
		fork_once();
	if (!guest_failures)
		guest_exit((unsigned int)arg_number("exit", 0));
}
