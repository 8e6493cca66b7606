// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor.h"
#include "util.h"

#define UKRUN	"/kvmfork/ukrun"
#define GUEST	"/kvmfork/guests/tick.elf"

/* A guest that has said nothing for so long will not. */
#define TIMEOUT_MS	600000

void monitor_start(struct monitor *monitor, const char *const *words)
{
	int in[2], out[2];

	TEST_REQUIRE(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC), "pipe: %m");
	monitor->used = 0;
	monitor->pid = fork();
	TEST_REQUIRE(monitor->pid >= 0, "fork: %m");
	if (!monitor->pid) {
		setpgid(0, 0);
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execv(words[0], (char **)words);
		TEST_REQUIRE(false, "%s: %m", words[0]);
	}
	setpgid(monitor->pid, 0);
	close(in[0]);
	close(out[1]);
	monitor->in = in[1];
	monitor->out = out[0];
}

void monitor_start_ukrun(struct monitor *monitor, unsigned int mib,
			 const char *const *options)
{
	const char *words[MONITOR_WORDS] = { getenv("UKRUN") ?: UKRUN, "-m" };
	unsigned int nr = 2;
	char size[16];

	snprintf(size, sizeof(size), "%u", mib);
	words[nr++] = size;
	for (; options && *options; options++)
		words[nr++] = *options;
	words[nr++] = GUEST;
	TEST_REQUIRE(nr < MONITOR_WORDS, "too many options");
	monitor_start(monitor, words);
}

void monitor_send(struct monitor *monitor, char letter)
{
	TEST_REQUIRE(write(monitor->in, &letter, 1) == 1, "telling the guest something: %m");
}

void monitor_wait(struct monitor *monitor)
{
	struct pollfd pollfd = { .fd = monitor->out, .events = POLLIN };

	TEST_REQUIRE(poll(&pollfd, 1, TIMEOUT_MS) == 1, "the guest says nothing");
}

/* False at the end of the output. */
static bool monitor_fill(struct monitor *monitor)
{
	ssize_t n;

	TEST_REQUIRE(monitor->used < sizeof(monitor->buffer), "a line without an end");
	monitor_wait(monitor);
	n = read(monitor->out, monitor->buffer + monitor->used,
		 sizeof(monitor->buffer) - monitor->used);
	TEST_REQUIRE(n >= 0, "listening to the guest: %m");
	monitor->used += n;
	return n;
}

void monitor_line(struct monitor *monitor, char *line, size_t size)
{
	const char *from = monitor->buffer, *end;

	while (!(end = memchr(monitor->buffer, '\n', monitor->used)))
		TEST_REQUIRE(monitor_fill(monitor), "the monitor has ended");
	/* "[vm 2] " */
	if (*from == '[')
		from = (const char *)memchr(from, ']', end - from) + 2;
	snprintf(line, size, "%.*s", (int)(end - from), from);
	monitor->used -= end + 1 - monitor->buffer;
	memmove(monitor->buffer, end + 1, monitor->used);
}

void monitor_expect(struct monitor *monitor, const char *want)
{
	char line[128];

	monitor_line(monitor, line, sizeof(line));
	TEST_REQUIRE(!strcmp(line, want), "the guest says '%s' instead of '%s'", line, want);
}

uint64_t monitor_ask(struct monitor *monitor, char letter, char answer)
{
	unsigned long cycles;
	char line[128], who;

	monitor_send(monitor, letter);
	monitor_line(monitor, line, sizeof(line));
	TEST_REQUIRE(sscanf(line, "%c %lu", &who, &cycles) == 2 && who == answer,
		     "the guest says '%s'", line);
	return cycles;
}

/* The whole group: a child would go on without its parent. */
void monitor_end(struct monitor *monitor)
{
	kill(-monitor->pid, SIGKILL);
	close(monitor->in);
	/* All that it has started has the other end. */
	do {
		monitor->used = 0;
	} while (monitor_fill(monitor));
	close(monitor->out);
	process_wait(monitor->pid);
}
