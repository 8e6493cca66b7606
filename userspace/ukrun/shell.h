/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --shells: processes that wait, each with a VM made ahead from an earlier state
 * of this one. A fork tells one of them who it is, hands it the template and the
 * devices' state over a socket, and its VM is reset to that: nothing is made while
 * the guest waits. New ones are made when the VM has been left alone for a while.
 */
#ifndef UKRUN_SHELL_H
#define UKRUN_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "fork.h"
#include "identity.h"

struct vm;

#define SHELLS_MAX	64

/* For so long nothing may be asked of the main thread before it makes a shell. */
#define SHELLS_QUIET_MS	1

#define SHELLS_CGROUP_SIZE	1024

struct shell {
	pid_t pid;
	int socket;		/* -1: was told to go, and is to be reaped */
	struct shell *next;
};

struct shells {
	struct shell *list;	/* oldest first; the main thread's alone */
	unsigned int nr;	/* of those with a socket */
	bool refill;		/* from @template, until there are enough */
	int template;
	/* /proc/self/cgroup, and what it was when the shells were made. */
	int cgroup_fd;
	char cgroup[SHELLS_CGROUP_SIZE];
};

/* What a shell is told; all pointers are as good there. Devices' states follow. */
struct shell_order {
	struct fork_job job;
	struct identity identity;
};

/* Do the options fit together? Dies when not. */
void shells_check(struct vm *vm);

/* Before the vCPUs are started: the first shells are as the VM is here. */
void shells_from_start(struct vm *vm);

/*
 * Have a shell become the child that @job says. Returns its process's id, or 0:
 * none could, a new process has to.
 */
pid_t shells_fork(struct vm *vm, const struct fork_job *job);

/* What is missing is made from @template, which this takes over. */
void shells_refill_from(struct vm *vm, int template);

bool shells_want(const struct vm *vm);
/* Make one. Returns in the new process, too, when that has become a child. */
void shells_add(struct vm *vm);

/* After SIGCHLD. */
void shells_reap(struct vm *vm);

/* No more forks are to come. */
void shells_end(struct vm *vm);

/* In a new process: they are the parent's. */
void shells_forget(struct vm *vm);

/*
 * shell_process.c: the life of a shell, in a process that fork() has just made.
 * Returns when @vm is a child whose vCPUs run.
 */
void shell_process(struct vm *vm, int template, int socket);

#define SHELL_IOV_MAX	64

/* Where an order goes from and to. Returns the number of pieces, -1: too many. */
int shell_order_iov(const struct vm *vm, struct shell_order *order, struct iovec *iov);

#endif
