// SPDX-License-Identifier: GPL-2.0-only
/*
 * A child that is a process, as ukrun makes it when its guest forks: from the
 * parent's ud2 until the child has left to the host for the first time and is
 * back, by the clock of the two guests.
 */
#include <unistd.h>

#include "bench.h"
#include "lap.h"
#include "monitor.h"

#define ROUNDS		50
#define MIB_MAX		1024	/* what a guest of 32 bits fills in a reasonable time */
/* In which the last child goes and the next shell is made. */
#define PAUSE_US	300000

static const struct {
	const char *name;
	const char *options[4];
} ways[] = {
	{ "spawn into a process", { } },
	{ "waiting process", { "--shells", "1" } },
};

static void measure(size_t way, unsigned int mib)
{
	struct point child = { "process", ways[way].name, "MiB", mib };
	struct point parent = { "process-parent", ways[way].name, "MiB", mib };
	unsigned int rounds = bench_rounds(ROUNDS);
	struct series *to_child = series_create(rounds + WARM_UP_ROUNDS);
	struct series *to_parent = series_create(rounds + WARM_UP_ROUNDS);
	uint64_t cycles;
	struct monitor monitor;
	struct lap lap;

	if (!bench_memory_fits(2 * mib, &child))
		return;
	monitor_start_ukrun(&monitor, mib, ways[way].options);
	monitor_expect(&monitor, "begin");
	monitor_expect(&monitor, "ready");
	for (unsigned int i = 0; i < rounds + WARM_UP_ROUNDS; i++) {
		usleep(PAUSE_US);
		lap_start(&lap);
		cycles = monitor_ask(&monitor, 'f', 'c');
		series_add(to_child, lap_stop_cycles(&lap, cycles));
		cycles = monitor_ask(&monitor, 'p', 'p');
		series_add(to_parent, lap_stop_cycles(&lap, cycles));
	}
	monitor_end(&monitor);
	result_series(&child, "", to_child, WARM_UP_ROUNDS);
	result_series(&parent, "", to_parent, WARM_UP_ROUNDS);
	series_destroy(to_child);
	series_destroy(to_parent);
}

static void run(void)
{
	for (const unsigned int *mib = bench_memory_sizes(); *mib; mib++)
		for (size_t way = 0; way < ARRAY_LENGTH(ways) && *mib <= MIB_MAX; way++)
			measure(way, *mib);
}

const struct benchmark bench_process = {
	.name = "process",
	.title = "a child of ukrun, which is a process, to its first exit, by guest memory",
	.run = run,
};
