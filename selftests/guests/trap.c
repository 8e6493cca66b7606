// SPDX-License-Identifier: GPL-2.0-only
/*
 * Invalid opcodes that are no fork reach the guest's own #UD handler, with
 * RIP at the instruction and nothing else changed.
 *
 *	ud2	here a bare ud2 is a fork (--fork-on=ud2); without this it must
 *		be a #UD like the others
 *	port	leave by the port
 */
#include "cpu.h"
#include "guest.h"
#include "regs.h"
#include "x86.h"

const char guest_name[] = "trap";

struct trap_case {
	const char *name;
	void (*run)(struct regs *r);
	/* Of the instruction, and how far behind it the next one is. */
	const char *at;
	unsigned int len;
};

#define CASE(sym) void trap_##sym(struct regs *r); extern const char trap_##sym##_at[]
CASE(ud0);
CASE(ud1);
CASE(push_es);
CASE(lock_nop);
CASE(ud2_prefix);
CASE(ud2);
CASE(ud2_split);

static const struct trap_case cases[] = {
	{ "ud0 (0f ff)", trap_ud0, trap_ud0_at, 3 },
	{ "ud1 (0f b9)", trap_ud1, trap_ud1_at, 3 },
	{ "push es (06)", trap_push_es, trap_push_es_at, 1 },
	{ "lock nop (f0 90)", trap_lock_nop, trap_lock_nop_at, 2 },
	{ "ud2 with a prefix (66 0f 0b)", trap_ud2_prefix, trap_ud2_prefix_at, 3 },
};

static const struct trap_case ud2_cases[] = {
	{ "ud2", trap_ud2, trap_ud2_at, 2 },
	{ "ud2 in two pages", trap_ud2_split, trap_ud2_split_at, 2 },
};

static const struct trap_case *current;
static unsigned int hits;
static bool resumed;

static void handle_ud(struct trap_frame *frame)
{
	check(frame->vector == VECTOR_UD && frame->error == 0,
	      "vector %lu, error 0x%lx", frame->vector, frame->error);
	hits++;
	if (!check(current && frame->rip == (uint64_t)current->at,
		   "#UD at 0x%lx", frame->rip))
		guest_exit(GUEST_FAILED);
	if (arg_flag("break"))
		frame->r12 ^= 1;
	resumed = true;
	frame->rip += current->len;
}

static void run_case(const struct trap_case *c)
{
	struct regs r = regs_pattern, want;
	unsigned int before = hits;

	/* Any value; the handler may not see it as a result. */
	r.rax = 0xa1a2a3a4a5a6a7a8;
	want = r;
	current = c;
	/* Twice in a row: nothing is left behind by the first. */
	for (unsigned int i = 1; i <= 2; i++) {
		c->run(&r);
		check(hits == before + i, "%s: %u #UD, expected %u", c->name,
		      hits - before, i);
		check_eq("rax", r.rax, want.rax);
		regs_check(c->name, &r, &want, 0);
		r = want;
	}
	say("%s: #UD", c->name);
	current = NULL;
}

void guest_main(void)
{
	long id;

	trap_set(VECTOR_UD, handle_ud);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(&cases[i]);
	if (arg_flag("ud2")) {
		/* Other #UDs have not disturbed it, nor does it disturb them. */
		id = guest_fork();
		if (!id) {
			run_case(&cases[0]);
			guest_exit(guest_failures ? GUEST_FAILED : 5);
		}
		if (check(id > 0, "fork returned %ld", id))
			guest_expect(id, 5);
		run_case(&cases[1]);
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(ud2_cases); i++)
		run_case(&ud2_cases[i]);
	if (guest_uses_port())
		return;
	/* --fork-on=off: there are no calls, and the debug exit cannot say 0. */
	if (guest_failures)
		return;
	say("ok");
	outw(0x604, 0x2000);
}
