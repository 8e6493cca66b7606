/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM made from a template, that nobody sees yet: memory files mapped in the
 * caller's address space, KVM's objects, their state, attached.
 */
#ifndef KVMFORK_CHILD_H
#define KVMFORK_CHILD_H

#include <linux/fs.h>

#include "kvmcall.h"
#include "report.h"

struct kvmfork_template;

/* Files are referenced, NULL where not made. */
struct kvmfork_child {
	const struct kvmfork_template *template;
	struct kvmfork_scratch scratch;
	struct kvmfork_report *report;
	struct file **memories;
	unsigned long *addrs;		/* of mappings, 0: not mapped */
	struct file *vm;
	struct file **vcpus;
	struct file *attach;
};

/* @flags are those of struct kvmfork_spawn. On failure nothing is left. */
int kvmfork_child_build(struct kvmfork_child *child,
			const struct kvmfork_template *template, int kvm_fd,
			u64 flags, struct kvmfork_report *report);
/* Undo that, the files and mappings included. */
void kvmfork_child_destroy(struct kvmfork_child *child);
/* The files and mappings have an owner now: forget them. */
void kvmfork_child_release(struct kvmfork_child *child);

#endif
