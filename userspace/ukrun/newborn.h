/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a process that fork() has just made becomes a VM of its own, in steps. One
 * that is to be a child at once takes them in a row; a shell (shell.h) takes the
 * first two ahead.
 */
#ifndef UKRUN_NEWBORN_H
#define UKRUN_NEWBORN_H

struct fork_job;
struct fork_report;
struct vm;

/* What is the parent's alone. All its vCPUs were parked at the fork(). */
void newborn_forget(struct vm *vm);

/* A VM of @template instead of the parent's. 0 or a negative errno. */
int newborn_spawn(struct vm *vm, int template, struct fork_report *report);

/* It is VM @job->id of the family now. 0 or a negative errno. */
int newborn_name(struct vm *vm, const struct fork_job *job);

/*
 * The rest, when VM and devices are as they were frozen: the vCPUs can run then.
 * Takes over @job->template. 0 or a negative errno.
 */
int newborn_finish(struct vm *vm, const struct fork_job *job);

#endif
