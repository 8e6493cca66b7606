/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Monitors that run guests/tick.c: ukrun and QEMU, as anybody would start them.
 * What they take is seen from outside: by what the guest says on its serial port,
 * and by how long the machine has had nothing to do meanwhile.
 */
#ifndef _KVMFORK_BENCH_MONITOR_H
#define _KVMFORK_BENCH_MONITOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MONITOR_WORDS	64

struct monitor {
	pid_t pid;
	int in;
	int out;
	size_t used;
	char buffer[256];
};

/* @words: the program and its arguments, NULL at the end. */
void monitor_start(struct monitor *monitor, const char *const *words);

/* ukrun with the guest and so much memory, and more options. */
void monitor_start_ukrun(struct monitor *monitor, unsigned int mib,
			 const char *const *options);

void monitor_send(struct monitor *monitor, char letter);

/* Until the guest says anything. */
void monitor_wait(struct monitor *monitor);

/* The next line, without what ukrun puts before it. */
void monitor_line(struct monitor *monitor, char *line, size_t size);
void monitor_expect(struct monitor *monitor, const char *want);

/* Tell the guest @letter; the number behind @answer, which it says then. */
uint64_t monitor_ask(struct monitor *monitor, char letter, char answer);

/* Returns when all that the monitor has started is gone, too. */
void monitor_end(struct monitor *monitor);

#endif /* _KVMFORK_BENCH_MONITOR_H */
