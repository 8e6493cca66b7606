/* SPDX-License-Identifier: GPL-2.0-only */
/* A forked process that does nothing and waits until it is let go. */
#ifndef _KVMFORK_BENCH_HELD_H
#define _KVMFORK_BENCH_HELD_H

#include <sys/types.h>

struct held {
	pid_t pid;
	int pipes[2];
};

/* In this order; held_fork() is fork() and nothing else. */
void held_init(struct held *held);
void held_fork(struct held *held);
void held_end(struct held *held);

#endif /* _KVMFORK_BENCH_HELD_H */
