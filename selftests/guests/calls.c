// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every call of guest.h, its results and errors, and that it leaves all
 * other registers alone.
 */
#include "cpu.h"
#include "guest.h"
#include "regs.h"
#include "x86.h"

const char guest_name[] = "calls";

/* A call with a pattern in every register it does not use. */
static struct regs call_regs(uint64_t rax, uint64_t call, uint64_t arg1,
			     uint64_t arg2)
{
	struct regs r = regs_pattern, want;

	r.rax = rax;
	r.rdi = call;
	r.rsi = arg1;
	r.rcx = arg2;
	if (guest_uses_port())
		r.rdx = KVMFORK_PORT;
	want = r;
	if (guest_uses_port())
		regs_outl(&r);
	else if (arg_flag("split"))
		regs_ud2_split(&r);
	else
		regs_ud2(&r);
	regs_check("call", &r, &want,
		   rax == KVMFORK_CALL_MAGIC && call == KVMFORK_CALL_WAIT);
	return r;
}

static long call(uint64_t number, uint64_t arg1, uint64_t arg2)
{
	return (long)call_regs(KVMFORK_CALL_MAGIC, number, arg1, arg2).rax;
}

static void check_ids(void)
{
	long me = call(KVMFORK_CALL_GETID, 0, 0);

	check_eq("id of the first VM", me, 1);
	check_eq("parent of the first VM", call(KVMFORK_CALL_GETPARENT, 0, 0), 0);
}

static void check_no_such(void)
{
	long unknown = call(99, 1, 2);

	/* guest.h promises a negative errno of Linux for what cannot be. */
	check(unknown < 0 && unknown >= -4095, "unknown call returned %ld",
	      unknown);
	check_eq("wait without children", call(KVMFORK_CALL_WAIT, 0, 0), -ECHILD);
	check_eq("wait, not blocking, without children",
		 call(KVMFORK_CALL_WAIT, 0, KVMFORK_WAIT_NOHANG), -ECHILD);
	check_eq("wait for a VM that is not", call(KVMFORK_CALL_WAIT, 4242, 0),
		 -ECHILD);
	check_eq("wait for itself", call(KVMFORK_CALL_WAIT, 1, 0), -ECHILD);
	check_eq("kill of a VM that is not", call(KVMFORK_CALL_KILL, 4242, 0),
		 -ESRCH);
	check_eq("kill of a negative id", call(KVMFORK_CALL_KILL, -2UL, 0),
		 -ESRCH);
	check_eq("kill of an id beyond 32 bits",
		 call(KVMFORK_CALL_KILL, (1UL << 32) + 1, 0), -ESRCH);
	check(call(KVMFORK_CALL_WAIT, (1UL << 32) + 1, 0) == -ECHILD,
	      "wait for an id beyond 32 bits");
}

/* Both spellings of a fork, each with every status a child can give. */
static void check_fork(uint64_t rax, unsigned int status)
{
	struct regs r = call_regs(rax, KVMFORK_CALL_FORK, 0x11, 0x22);
	long id = (long)r.rax;

	if (!id)
		guest_exit(guest_failures ? GUEST_FAILED : status);
	if (!check(id > 1, "fork returned %ld", id))
		return;
	r = call_regs(KVMFORK_CALL_MAGIC, KVMFORK_CALL_WAIT,
		      rax & 1 ? (uint64_t)id : 0, 0);
	check_eq("wait", r.rax, id);
	check_eq("status", r.rsi, status + arg_flag("break"));
	check_eq("wait for a VM already reaped",
		 call(KVMFORK_CALL_WAIT, (uint64_t)id, 0), -ECHILD);
	check_eq("kill of a VM already reaped",
		 call(KVMFORK_CALL_KILL, (uint64_t)id, 0), -ESRCH);
}

/* Two children; the younger is waited for by its id while the older lives. */
static void check_wait_by_id(void)
{
	long older, younger, status = -1;

	older = guest_fork();
	if (!older)
		for (;;)
			asm volatile("cli; hlt");
	younger = guest_fork();
	if (!younger) {
		/* A sibling is no child. */
		check_eq("wait for a sibling", guest_wait(older, 0, &status),
			 -ECHILD);
		guest_exit(guest_failures ? GUEST_FAILED : 9);
	}
	if (!check(older > 0 && younger > older, "forks returned %ld and %ld",
		   older, younger))
		return;
	guest_expect(younger, 9);
	check_eq("wait, not blocking, for one that lives",
		 guest_wait(older, KVMFORK_WAIT_NOHANG, &status), 0);
	check_eq("wait, not blocking, for any",
		 guest_wait(0, KVMFORK_WAIT_NOHANG, &status), 0);
	check_eq("kill", guest_kill(older), 0);
	check_eq("wait for the killed", guest_wait(older, 0, &status), older);
	check(status > KVMFORK_STATUS_KILLED && status < KVMFORK_STATUS_KILLED + 65,
	      "status of a killed VM: %ld", status);
}

/* A child kills its parent's other child, which is of the same family. */
static void check_kill_sibling(void)
{
	long victim, killer, status = -1;

	victim = guest_fork();
	if (!victim)
		for (;;)
			cpu_pause();
	killer = guest_fork();
	if (!killer) {
		check_eq("kill of a sibling", guest_kill(victim), 0);
		guest_exit(guest_failures ? GUEST_FAILED : 0);
	}
	if (!check(victim > 0 && killer > 0, "forks returned %ld and %ld",
		   victim, killer))
		return;
	guest_expect(killer, 0);
	check_eq("wait for the sibling's victim", guest_wait(victim, 0, &status),
		 victim);
	check(status > KVMFORK_STATUS_KILLED, "status of the victim: %ld", status);
}

/* The exit ports end a VM too; QEMU's debug exit makes 2 * N + 1 of N. */
static void check_exit_ports(void)
{
	long id = guest_fork();

	if (!id) {
		outb(0xf4, 42);
		for (;;)
			asm volatile("cli; hlt");
	}
	if (check(id > 0, "fork returned %ld", id))
		guest_expect(id, 42 << 1 | 1);
	id = guest_fork();
	if (!id) {
		outb(0x64, 0xfe);
		for (;;)
			asm volatile("cli; hlt");
	}
	if (check(id > 0, "fork returned %ld", id))
		guest_expect(id, 0);
	id = guest_fork();
	if (!id) {
		/* SLP_EN and soft-off, as Linux writes it to QEMU's PM1a. */
		outw(0x604, 0x2000);
		for (;;)
			asm volatile("cli; hlt");
	}
	if (check(id > 0, "fork returned %ld", id))
		guest_expect(id, 0);
}

void guest_main(void)
{
	check_ids();
	check_no_such();
	check_fork(0, 0);
	check_fork(KVMFORK_CALL_MAGIC, 1);
	/* One bit off the magic is a bare fork. */
	check_fork(KVMFORK_CALL_MAGIC ^ 1, 128);
	check_fork(KVMFORK_CALL_MAGIC & 0xffffffff, 255);
	check_wait_by_id();
	check_kill_sibling();
	check_exit_ports();
}
