/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ukrun may ask of the host's kernel once it has set itself up: the system
 * calls that it needs, and nothing for which it takes a capability. A guest that has
 * taken over ukrun cannot open files to write, unless for a device that does.
 *
 * What every VM needs is in sandbox.c. A device that needs more says so when it
 * is made. What takes rights that nobody keeps is opened by the helper (helper.h).
 */
#ifndef UKRUN_SANDBOX_H
#define UKRUN_SANDBOX_H

#include <seccomp.h>
#include <stdint.h>

struct vm;

/* During set-up: allow system call SCMP_SYS(name). */
void sandbox_allow(int call);
/* The same for calls whose argument @arg, under @mask, is @value. */
void sandbox_allow_if(int call, unsigned int arg, uint64_t mask, uint64_t value);
void sandbox_allow_ioctl(unsigned long request);

/* From here on; before any thread is made. All processes and threads made later have it. */
void sandbox_enter(struct vm *vm);

#endif
