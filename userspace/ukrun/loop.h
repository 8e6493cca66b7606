/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The main thread: it waits for signals, children, input and what vCPUs ask
 * of it. It is also the thread that forks, so that a child finds itself in
 * the same place.
 */
#ifndef UKRUN_LOOP_H
#define UKRUN_LOOP_H

struct vm;

struct loop {
	int event_fd;
	int signal_fd;
};

/* Before any thread is made: blocks the signals that the loop takes. */
void loop_create(struct vm *vm);
/* Block or unblock the signals that the loop takes. */
void loop_mask_signals(int how);
/* From any thread: have a look round. */
void loop_wake(struct vm *vm);
/* On the main thread, where it waits for something else: signals only. */
void loop_take_signals(struct vm *vm);
/* In a child. */
void loop_forked(struct vm *vm);

/* Until the VM ends. Returns its status. */
int loop_run(struct vm *vm);

#endif
