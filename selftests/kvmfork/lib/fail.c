// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "util.h"

#define OF_MODULE	"/sys/module/kvmfork/parameters/fail_nth"
#define OF_KERNEL	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"

/* Both read and write a number, which counts down to 0. */
static int counter = -1;

/*
 * What may wait fails, too, of any size, and from all of memory; and the log is
 * for what goes wrong, not for what was asked for.
 */
static bool kernel_set_up(void)
{
	return file_write(DEBUGFS "failslab/ignore-gfp-wait", "N") &&
	       file_write(DEBUGFS "failslab/verbose", "0") &&
	       file_write(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N") &&
	       file_write(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N") &&
	       file_write(DEBUGFS "fail_page_alloc/min-order", "0") &&
	       file_write(DEBUGFS "fail_page_alloc/verbose", "0");
}

bool fail_open(void)
{
	if (counter >= 0)
		close(counter);
	counter = open(OF_MODULE, O_RDWR | O_CLOEXEC);
	if (counter < 0 && kernel_set_up())
		counter = open(OF_KERNEL, O_RDWR | O_CLOEXEC);
	return counter >= 0;
}

void fail_nth(unsigned int nth)
{
	char text[16];
	int size = snprintf(text, sizeof(text), "%u", nth);

	TEST_REQUIRE(pwrite(counter, text, size, 0) == size, "fail_nth: %m");
}

bool fail_end(void)
{
	char text[16] = "";

	TEST_REQUIRE(pread(counter, text, sizeof(text) - 1, 0) > 0, "fail_nth: %m");
	fail_nth(0);
	return !atoi(text);
}
