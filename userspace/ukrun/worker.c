// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "worker.h"

int event_create(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void event_signal(int fd)
{
	uint64_t one = 1;

	/* When it fails the counter is not zero already. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void event_clear(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return;
}

void worker_init(struct worker *worker, const char *name, void (*run)(void *arg), void *arg)
{
	snprintf(worker->name, sizeof(worker->name), "%s", name);
	worker->run = run;
	worker->arg = arg;
	worker->stop_fd = event_create();
	if (worker->stop_fd < 0)
		die_errno("thread of %s", name);
}

int worker_forked(struct worker *worker)
{
	/* The parent's counter is shared. */
	close(worker->stop_fd);
	worker->stop_fd = event_create();
	return worker->stop_fd < 0 ? -errno : 0;
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;

	pthread_setname_np(pthread_self(), worker->name);
	worker->run(worker->arg);
	return NULL;
}

void worker_start(struct worker *worker)
{
	if (worker->running)
		return;
	errno = pthread_create(&worker->thread, NULL, worker_thread, worker);
	if (errno)
		die_errno("thread of %s", worker->name);
	worker->running = true;
}

void worker_stop(struct worker *worker)
{
	if (!worker->running)
		return;
	event_signal(worker->stop_fd);
	pthread_join(worker->thread, NULL);
	event_clear(worker->stop_fd);
	worker->running = false;
}

unsigned int poll_set_add(struct poll_set *set, int fd, short events)
{
	if (set->used == set->room) {
		set->room = set->room ? 2 * set->room : 16;
		set->fds = realloc(set->fds, set->room * sizeof(*set->fds));
		if (!set->fds)
			die("out of memory on the host");
	}
	set->fds[set->used] = (struct pollfd){ .fd = fd, .events = events };
	return set->used++;
}

void poll_set_limit(struct poll_set *set, int timeout_ms)
{
	if (timeout_ms >= 0 && (set->timeout_ms < 0 || timeout_ms < set->timeout_ms))
		set->timeout_ms = timeout_ms;
}
