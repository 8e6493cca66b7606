/* SPDX-License-Identifier: GPL-2.0-only */
/* Templates that go out as bytes, and come back. */
#ifndef KVMFORK_LOAD_H
#define KVMFORK_LOAD_H

#include <linux/kvmfork.h>

#include "report.h"

struct kvmfork_template;

/*
 * load.c: make a template as @args say. ERR_PTR on failure, reported: -EINVAL:
 * the state is malformed, -EOPNOTSUPP: it has something that is not to be had
 * here, -EBADF: one of the memories is none.
 */
struct kvmfork_template *kvmfork_load(const struct kvmfork_load *args,
				      struct kvmfork_report *report);

/*
 * export.c: write the state of @template to @to, which has room for @room
 * bytes, and tell its size. What does not fit is not written.
 */
int kvmfork_export(const struct kvmfork_template *template, char __user *to,
		   u64 room, u64 *size);

#endif
