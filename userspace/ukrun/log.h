/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef UKRUN_LOG_H
#define UKRUN_LOG_H

#include <stddef.h>

#include "compiler.h"

struct vm;

/*
 * Exit status of ukrun itself. A guest that crashed gets one of those above
 * 192: below it are the guest's own and what a shell makes of signals.
 */
#define STATUS_UKRUN_FAILED	125
#define STATUS_GUEST_SHUTDOWN	193	/* triple fault */
#define STATUS_GUEST_ENTRY	194	/* the CPU refused the guest's state */
#define STATUS_GUEST_KVM	195	/* KVM gave up on an instruction, or failed */

/* First of all: see that stdin, stdout and stderr are something. */
void log_open(void);

/*
 * Messages are one line, put together without stdio and written in one
 * write(2): a VM may fork, or be forked, at any time.
 */
void __noreturn __printf(1, 2) die(const char *fmt, ...);
void __noreturn __printf(1, 2) die_errno(const char *fmt, ...);

/* Of a VM that runs: names it when there are several. */
void __printf(2, 3) vm_warn(const struct vm *vm, const char *fmt, ...);
/* With -v only. */
void __printf(2, 3) vm_log(const struct vm *vm, const char *fmt, ...);

/* Never null. */
void *xcalloc(size_t n, size_t size);
char *__printf(1, 2) xasprintf(const char *fmt, ...);

#endif
