// SPDX-License-Identifier: GPL-2.0-only
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "compiler.h"
#include "log.h"
#include "option.h"
#include "sandbox.h"
#include "vm.h"

#define RULES_MAX	128
#define MASK_ALL	~0ULL
/* An ioctl's request has 32 bits, whatever is in the register. */
#define MASK_REQUEST	0xffffffffULL
#define MASK_TYPE	0xff00ULL

#define OPEN_WRITES	(O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))

#define CLONE_NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
			  CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

struct sandbox_rule {
	int call;
	bool always;
	struct scmp_arg_cmp if_arg;
};

static struct sandbox_rule rules[RULES_MAX];
static unsigned int nr_rules;
/* For the signal handler. */
static struct vm *sandboxed;

static const int calls[] = {
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(madvise), SCMP_SYS(mremap), SCMP_SYS(munmap),
	/* files */
	SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(dup3), SCMP_SYS(fallocate), SCMP_SYS(fcntl),
	SCMP_SYS(fdatasync), SCMP_SYS(fstat), SCMP_SYS(fsync), SCMP_SYS(ftruncate),
	SCMP_SYS(lseek), SCMP_SYS(memfd_create), SCMP_SYS(newfstatat),
	SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(pwrite64), SCMP_SYS(pwritev),
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev),
	/* what is waited for */
	SCMP_SYS(eventfd2), SCMP_SYS(futex), SCMP_SYS(pipe2), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(restart_syscall),
	/* what processes of a family tell each other */
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto),
	/* time */
	SCMP_SYS(clock_getres), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	/* processes, threads and signals */
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(getpid), SCMP_SYS(getppid),
	SCMP_SYS(gettid), SCMP_SYS(kill), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(rseq), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(sigaltstack),
	SCMP_SYS(tgkill), SCMP_SYS(wait4),
	/* who and where this is */
	SCMP_SYS(getegid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getpgrp),
	SCMP_SYS(getrandom), SCMP_SYS(getuid), SCMP_SYS(sysinfo), SCMP_SYS(uname),
};

static const unsigned long ioctls[] = {
	FIONBIO, FIONREAD, TCGETS, TCSETS, TCSETSF, TCSETSW, TIOCGPGRP, TIOCGWINSZ,
};

static void sandbox_option(struct vm *vm, const char *arg)
{
	if (!strcmp(arg, "on"))
		vm->config.sandbox = true;
	else if (!strcmp(arg, "off"))
		vm->config.sandbox = false;
	else
		die("--sandbox %s: on or off", arg);
}

DECLARE_OPTION(sandbox, {
	.name = "sandbox",
	.arg = "on|off",
	.help = "what ukrun may ask of the host once the VM runs: what it needs, or all (on)",
	.handle = sandbox_option,
});

static bool sandbox_is_same(const struct sandbox_rule *a, const struct sandbox_rule *b)
{
	return a->call == b->call && a->always == b->always && a->if_arg.arg == b->if_arg.arg &&
	       a->if_arg.datum_a == b->if_arg.datum_a && a->if_arg.datum_b == b->if_arg.datum_b;
}

/* There may be many devices of a kind. */
static void sandbox_add(const struct sandbox_rule *rule)
{
	unsigned int i;

	for (i = 0; i < nr_rules; i++)
		if (sandbox_is_same(&rules[i], rule))
			return;
	if (nr_rules == RULES_MAX)
		die("sandbox: more than %d rules of devices", RULES_MAX);
	rules[nr_rules++] = *rule;
}

void sandbox_allow(int call)
{
	sandbox_add(&(struct sandbox_rule){ .call = call, .always = true });
}

void sandbox_allow_if(int call, unsigned int arg, uint64_t mask, uint64_t value)
{
	sandbox_add(&(struct sandbox_rule){
		.call = call, .if_arg = SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, mask, value),
	});
}

void sandbox_allow_ioctl(unsigned long request)
{
	sandbox_allow_if(SCMP_SYS(ioctl), 1, MASK_REQUEST, request & MASK_REQUEST);
}

/* On the thread that made the call, wherever it stands: the VM cannot go on. */
static void sandbox_refused(int signo, siginfo_t *info, void *context)
{
	char *name = seccomp_syscall_resolve_num_arch(info->si_arch, info->si_syscall);

	(void)signo;
	(void)context;
	vm_warn(sandboxed, "sandbox: system call %d (%s) is not allowed, the VM ends: if its guest can be trusted, run it with --sandbox=off and report this",
		info->si_syscall, name ?: "unknown");
	tty_restore(sandboxed);
	_exit(STATUS_UKRUN_FAILED);
}

static void sandbox_allow_common(void)
{
	unsigned int i;

	sandbox_allow_if(SCMP_SYS(ioctl), 1, MASK_TYPE, KVMIO << 8);
	sandbox_allow_if(SCMP_SYS(ioctl), 1, MASK_TYPE, KVMFORK_IOC << 8);
	for (i = 0; i < ARRAY_SIZE(ioctls); i++)
		sandbox_allow_ioctl(ioctls[i]);
	/* Processes and threads, without namespaces of their own. */
	sandbox_allow_if(SCMP_SYS(clone), 0, CLONE_NAMESPACES, 0);
	/* No code but what is there. */
	sandbox_allow_if(SCMP_SYS(mmap), 2, PROT_EXEC, 0);
	sandbox_allow_if(SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
	sandbox_allow_if(SCMP_SYS(prctl), 0, MASK_ALL, PR_SET_NAME);
	sandbox_allow_if(SCMP_SYS(prctl), 0, MASK_ALL, PR_SET_PDEATHSIG);
	/* Limits are asked for, not set. */
	sandbox_allow_if(SCMP_SYS(prlimit64), 2, MASK_ALL, 0);
	/* Only to read: what can write to /proc/self/mem can make itself code. */
	sandbox_allow_if(SCMP_SYS(openat), 2, OPEN_WRITES, 0);
	/* Not of a kind that could send to other sockets by their names. */
	sandbox_allow_if(SCMP_SYS(socketpair), 1, MASK_ALL, SOCK_SEQPACKET | SOCK_CLOEXEC);
}

static int sandbox_fill(scmp_filter_ctx filter)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(calls) && !ret; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	for (i = 0; i < nr_rules && !ret; i++)
		ret = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call,
					     !rules[i].always, &rules[i].if_arg);
	/* Its arguments are in memory, where no filter sees them: glibc takes clone() then. */
	return ret ?: seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static void sandbox_filter(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int ret;

	if (!filter)
		die("out of memory on the host");
	/* A tree: what each call costs does not grow with the list. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	ret = sandbox_fill(filter);
	ret = ret ?: seccomp_load(filter);
	seccomp_release(filter);
	if (!ret)
		return;
	errno = -ret;
	die_errno("sandbox: this kernel takes no filter of system calls (run with --sandbox=off)");
}

static void sandbox_drop_capabilities(void)
{
	capng_select_t select = CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT;

	/* Those that a program with file capabilities would get are root's to take away. */
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		select = CAPNG_SELECT_ALL;
	capng_clear(select);
	if (capng_apply(select))
		die("sandbox: cannot drop capabilities (run with --sandbox=off)");
}

void sandbox_enter(struct vm *vm)
{
	struct sigaction action = { .sa_sigaction = sandbox_refused, .sa_flags = SA_SIGINFO };

	if (!vm->config.sandbox)
		return;
	sandboxed = vm;
	sigaction(SIGSYS, &action, NULL);
	sandbox_allow_common();
	sandbox_drop_capabilities();
	sandbox_filter();
}
