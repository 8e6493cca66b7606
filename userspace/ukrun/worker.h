/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device's own thread. It ends whenever its VM is copied, and is made anew
 * in parent and child: fork() copies no thread.
 */
#ifndef UKRUN_WORKER_H
#define UKRUN_WORKER_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>

struct worker {
	char name[16];
	/* Returns soon after @stop_fd has become readable. */
	void (*run)(void *arg);
	void *arg;
	int stop_fd;
	bool running;
	pthread_t thread;
};

void worker_init(struct worker *worker, const char *name, void (*run)(void *arg), void *arg);
/* A new @stop_fd, in a child. 0 or a negative errno. */
int worker_forked(struct worker *worker);
/* Both do nothing when it is so already; callers see to it that they are not two. */
void worker_start(struct worker *worker);
void worker_stop(struct worker *worker);

/* What a thread waits for. Grows as it is needed. */
struct poll_set {
	struct pollfd *fds;
	unsigned int used, room;
	int timeout_ms;		/* -1: for ever */
};

/* Returns the index in @fds. */
unsigned int poll_set_add(struct poll_set *set, int fd, short events);
void poll_set_limit(struct poll_set *set, int timeout_ms);

/* eventfd(2) of this kind: written by anybody, never blocking. */
int event_create(void);
void event_signal(int fd);
void event_clear(int fd);

#endif
