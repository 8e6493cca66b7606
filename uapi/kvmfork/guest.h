/* SPDX-License-Identifier: MIT */
/*
 * What a guest says to ukrun: fork this VM, and the calls around it. Needs
 * no library and no other header; docs/guest-abi.rst has the same in Rust and
 * assembly.
 *
 * A call is one trapping instruction. Two do the same; which of them ukrun
 * listens to is decided per image, or by --fork-on:
 *
 *	ud2				--fork-on=ud2
 *	out %eax, %dx			--fork-on=port, DX = KVMFORK_PORT
 *
 *	in:	RAX	KVMFORK_CALL_MAGIC; anything else is a bare fork
 *		RDI	KVMFORK_CALL_*
 *		RSI	first argument
 *		RCX	second argument
 *	out:	RAX	the result, or a negative errno of Linux
 *		RSI	with KVMFORK_CALL_WAIT: the status of the child
 *			with KVMFORK_CALL_FREEZE: how often the VM has been reset
 *
 * All other registers and the flags are unchanged; RIP is after the
 * instruction.
 */
#ifndef _KVMFORK_GUEST_H
#define _KVMFORK_GUEST_H

/* "kvmfork!" in the order of memory. */
#define KVMFORK_CALL_MAGIC	0x216b726f666d766bULL

/* I/O port of the calls, written with 32 bits. */
#define KVMFORK_PORT		0x0f4b

/*
 * Fork this VM: all vCPUs, all memory, all devices.
 * Returns the id of the child in the parent, 0 in the child; -EAGAIN (-11)
 * at the limit of VMs, -ENOMEM (-12), or what the host's fork failed with.
 */
#define KVMFORK_CALL_FORK	0

/* Returns the id of this VM. The first is 1; ids are not used again. */
#define KVMFORK_CALL_GETID	1

/* Returns the id of the VM that forked this one, 0 when it is gone or none. */
#define KVMFORK_CALL_GETPARENT	2

/*
 * Wait for a child to end. First argument: its id, or 0 for any child. Second:
 * 0, or KVMFORK_WAIT_NOHANG to return 0 at once when none has ended.
 * Returns the id of the child and its status: 0 to 255, what ukrun would have
 * exited with (the status given to KVMFORK_CALL_EXIT, 2 * value + 1 of port
 * 0xf4); KVMFORK_STATUS_KILLED + n when signal n of the host ended it.
 * -ECHILD (-10): no such child.
 */
#define KVMFORK_CALL_WAIT	3
#define KVMFORK_WAIT_NOHANG	1
#define KVMFORK_STATUS_KILLED	256

/* End this VM, all vCPUs. First argument: the status, 0 to 255. */
#define KVMFORK_CALL_EXIT	4

/*
 * End the VM of the same family whose id is the first argument. Returns 0, or
 * -ESRCH (-3): no such VM.
 */
#define KVMFORK_CALL_KILL	5

/*
 * Here the guest is set up: whatever is to be made of it many times begins here.
 * With `ukrun --template N`, VM 1 ends here and N children go on, in which the
 * call returns the child's number, 1 to N. With --reset-on-exit, a VM that is
 * reset goes on here: the call returns how often that has happened, or, with
 * --template as well, the child's number; the second result is how often the VM
 * has been reset. Otherwise, in other VMs, and from the second call on it
 * returns 0 at once.
 */
#define KVMFORK_CALL_FREEZE	6

/*
 * Put this VM back to where it made KVMFORK_CALL_FREEZE, or to its start. Does
 * not return; -ENOENT (-2) in a VM that --reset-on-exit does not apply to.
 */
#define KVMFORK_CALL_RESET	7

/*
 * Name the place of a struct kvmfork_identity. First argument: its address in
 * guest-physical memory, a multiple of 8, or KVMFORK_IDENTITY_NONE. It is written
 * now, and in every copy of this VM before that runs: after a fork in the child,
 * in the children of --template, and after a reset.
 * Returns 0; -EFAULT (-14): not in RAM, -EINVAL (-22): not a multiple of 8.
 */
#define KVMFORK_CALL_IDENTITY	8
#define KVMFORK_IDENTITY_NONE	0xffffffffffffffffULL

/* "clone-id" in the order of memory. */
#define KVMFORK_IDENTITY_MAGIC	0x64692d656e6f6c63ULL

#ifndef __ASSEMBLER__

/*
 * Two VMs with the same memory have the same secrets, the same seeds and the same
 * next random number. Whoever finds another @generation than last time is a copy
 * and must mix @random into its generators, and give up what is to be unique,
 * before it uses either.
 */
struct kvmfork_identity {
	unsigned long long magic;	/* KVMFORK_IDENTITY_MAGIC */
	/* How many copies lie between this VM and the one that was started. */
	unsigned long long generation;
	unsigned long long id;		/* as KVMFORK_CALL_GETID */
	/* Of the host's CLOCK_BOOTTIME, from the freeze until this was written. */
	unsigned long long elapsed_ns;
	/* Of the host's generator; no two VMs get the same, nor one of them twice. */
	unsigned char random[32];
};

#endif /* __ASSEMBLER__ */

#if defined(__GNUC__) && defined(__x86_64__) && !defined(__ASSEMBLER__)

/* A bare fork, as KVMFORK_CALL_FORK. */
static inline long kvmfork_fork(void)
{
	long ret = 0;

	__asm__ volatile("ud2" : "+a"(ret) : : "memory");
	return ret;
}

static inline long kvmfork_call(long call, long arg1, long arg2)
{
	long ret = (long)KVMFORK_CALL_MAGIC;

	__asm__ volatile("ud2"
			 : "+a"(ret), "+S"(arg1)
			 : "D"(call), "c"(arg2)
			 : "memory");
	return ret;
}

/* As kvmfork_call(), through the port. */
static inline long kvmfork_port_call(long call, long arg1, long arg2)
{
	long ret = (long)KVMFORK_CALL_MAGIC;

	__asm__ volatile("outl %%eax, %%dx"
			 : "+a"(ret), "+S"(arg1)
			 : "D"(call), "c"(arg2), "d"(KVMFORK_PORT)
			 : "memory");
	return ret;
}

static inline long kvmfork_getid(void)
{
	return kvmfork_call(KVMFORK_CALL_GETID, 0, 0);
}

static inline long kvmfork_getparent(void)
{
	return kvmfork_call(KVMFORK_CALL_GETPARENT, 0, 0);
}

/* @status may be null. */
static inline long kvmfork_wait(long id, long flags, long *status)
{
	long ret = (long)KVMFORK_CALL_MAGIC;
	long call = KVMFORK_CALL_WAIT;

	__asm__ volatile("ud2"
			 : "+a"(ret), "+S"(id)
			 : "D"(call), "c"(flags)
			 : "memory");
	if (status)
		*status = id;
	return ret;
}

/* As kvmfork_wait(), through the port. */
static inline long kvmfork_port_wait(long id, long flags, long *status)
{
	long ret = (long)KVMFORK_CALL_MAGIC;
	long call = KVMFORK_CALL_WAIT;

	__asm__ volatile("outl %%eax, %%dx"
			 : "+a"(ret), "+S"(id)
			 : "D"(call), "c"(flags), "d"(KVMFORK_PORT)
			 : "memory");
	if (status)
		*status = id;
	return ret;
}

static inline void kvmfork_exit(long status)
{
	for (;;)
		kvmfork_call(KVMFORK_CALL_EXIT, status, 0);
}

static inline long kvmfork_kill(long id)
{
	return kvmfork_call(KVMFORK_CALL_KILL, id, 0);
}

/* @resets may be null. */
static inline long kvmfork_freeze(long *resets)
{
	long ret = (long)KVMFORK_CALL_MAGIC;
	long call = KVMFORK_CALL_FREEZE;
	long second = 0;

	__asm__ volatile("ud2"
			 : "+a"(ret), "+S"(second)
			 : "D"(call), "c"(0L)
			 : "memory");
	if (resets)
		*resets = second;
	return ret;
}

static inline long kvmfork_reset(void)
{
	return kvmfork_call(KVMFORK_CALL_RESET, 0, 0);
}

/* @at: guest-physical. */
static inline long kvmfork_identity(unsigned long at)
{
	return kvmfork_call(KVMFORK_CALL_IDENTITY, (long)at, 0);
}

#endif /* __GNUC__ && __x86_64__ */

#endif /* _KVMFORK_GUEST_H */
