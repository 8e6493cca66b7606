/* SPDX-License-Identifier: GPL-2.0-only */
/* The steps of a fork, for all that makes new VMs of this one. */
#ifndef UKRUN_FORK_H
#define UKRUN_FORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vcpu;
struct vm;

#define FORK_MESSAGE_SIZE	160

/* What went wrong: in the module, or in a new process, which tells it over a pipe. */
struct fork_report {
	int error;
	char message[FORK_MESSAGE_SIZE];
};

struct fork_job {
	int template;
	struct vcpu *caller;	/* whose call returns ... */
	int64_t result;		/* ... this in the child */
	uint64_t frozen;	/* identity_now() */
	bool warm;		/* of --template: the child may be reset to here */
	/* fork_process() fills in: */
	uint64_t id;
	pid_t parent;
	char name[16];		/* of the process */
};

/*
 * All vCPUs are parked, or have not been started. Makes the template of @job.
 * 0 or a negative errno.
 */
int fork_freeze(struct vm *vm, struct fork_job *job, struct fork_report *report);

/*
 * Make a process with a VM of the template. Returns the child's id, 0 in the
 * child, whose vCPUs are to be started, or a negative errno. The template stays
 * open in the parent.
 */
int64_t fork_process(struct vm *vm, struct fork_job *job, struct fork_report *report);

/* The parent's side: what became of the new process. */
void fork_hear(int fd, struct fork_report *report);

/*
 * Fork without the guest's having asked, which hears nothing of it. As
 * fork_process(); vCPUs run on both sides.
 */
int64_t vm_fork_unasked(struct vm *vm, struct fork_report *report);

void fork_warn(struct vm *vm, const char *what, const struct fork_report *report);

#endif
