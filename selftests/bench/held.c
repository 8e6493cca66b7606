// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>

#include "held.h"
#include "util.h"

void held_init(struct held *held)
{
	TEST_REQUIRE(!pipe(held->pipes), "pipe: %m");
}

static void __attribute__((noreturn)) held_wait(const struct held *held)
{
	char byte;

	close(held->pipes[1]);
	_exit(read(held->pipes[0], &byte, 1) != 0);
}

void held_fork(struct held *held)
{
	held->pid = fork();
	TEST_REQUIRE(held->pid >= 0, "fork: %m");
	if (!held->pid)
		held_wait(held);
}

void held_end(struct held *held)
{
	close(held->pipes[0]);
	close(held->pipes[1]);
	TEST_REQUIRE(process_exited(process_wait(held->pid), 0), "a held process failed");
}
