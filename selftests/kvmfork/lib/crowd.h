/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads that get in the way of the one that tests, until it has seen enough. */
#ifndef _KVMFORK_TEST_CROWD_H
#define _KVMFORK_TEST_CROWD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define CROWD_MAX	4

struct crowd {
	pthread_t threads[CROWD_MAX];
	unsigned int nr_threads;
	bool stop;
	/* How much each has done: theirs to count. */
	unsigned long done[CROWD_MAX];
};

/* @fn returns soon after crowd_stopped(); a system call of its is interrupted then. */
void crowd_start(struct crowd *crowd, void *(*fn)(void *arg), void *arg);
bool crowd_stopped(const struct crowd *crowd);
void crowd_stop(struct crowd *crowd);

/* Is @ret one of @expected, which ends with 0? */
bool is_one_of(int ret, const int *expected);

#endif /* _KVMFORK_TEST_CROWD_H */
