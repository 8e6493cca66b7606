/* SPDX-License-Identifier: GPL-2.0-only */
/* Converting memory slots that are not of this module: KVMFORK_CONVERT. */
#ifndef KVMFORK_CONVERT_H
#define KVMFORK_CONVERT_H

#include <linux/kvmfork.h>

struct kvmfork_args;
struct kvmfork_report;
struct kvmfork_stopped;
struct kvmfork_vm;

/*
 * Make all memory of the VM, whose vCPUs are held, forkable. On failure what
 * has been converted stays so. *@nr_pages is how many pages were copied.
 */
int kvmfork_convert_stopped(struct kvmfork_stopped *stopped, u64 *nr_pages);

/*
 * The call, for @vm, whose lock the caller holds. @args came from @from, where
 * the result goes.
 */
int kvmfork_convert(struct kvmfork_vm *vm, struct kvmfork_convert *args,
		    const struct kvmfork_args *from,
		    struct kvmfork_report *report);

#endif
