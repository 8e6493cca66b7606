// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many children of ukrun alive, a process each, run to their first exit and idle
 * from then on: as clones.c, in which one process has them all.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench.h"
#include "clones_memory.h"
#include "lap.h"
#include "monitor.h"

#define MIB		64
#define CLONES		1000
#define STEP		100
/* In which the next shell is made. */
#define PAUSE_US	100000

static const struct way {
	const char *name;
	const char *options[4];
} ways[] = {
	{ "ukrun", { "--max-vms", "2000" } },
	{ "ukrun --shells", { "--max-vms=2000", "--shells", "1" } },
};

static void clone_one(struct monitor *monitor, struct series *series)
{
	struct lap lap;

	usleep(PAUSE_US);
	lap_start(&lap);
	series_add(series, lap_stop_cycles(&lap, monitor_ask(monitor, 'k', 'c')));
}

static void make_clones(const struct way *way, struct monitor *monitor, unsigned int count)
{
	struct point point = { "clones-latency", way->name, "clones", 0 };
	struct series *series = series_create(STEP);
	static struct meminfo before, after;

	meminfo_read(&before);
	for (unsigned int alive = 1; alive <= count; alive++) {
		clone_one(monitor, series);
		if (alive % STEP)
			continue;
		point.x = alive;
		result_series(&point, "", series, 0);
		clones_memory_report(way->name, alive, &before);
		series->nr = 0;
	}
	meminfo_read(&after);
	clones_memory_places(way->name, count, &before, &after);
	series_destroy(series);
}

static void measure(const struct way *way)
{
	struct series *first = series_create(1);
	struct monitor monitor;

	monitor_start_ukrun(&monitor, MIB, way->options);
	monitor_expect(&monitor, "begin");
	monitor_expect(&monitor, "ready");
	/* What only the first needs is not of the others. */
	clone_one(&monitor, first);
	make_clones(way, &monitor, bench_quick ? STEP : CLONES);
	monitor_end(&monitor);
	series_destroy(first);
}

static void run(void)
{
	for (size_t i = 0; i < ARRAY_LENGTH(ways); i++)
		measure(&ways[i]);
}

const struct benchmark bench_process_clones = {
	.name = "process-clones",
	.title = "children of ukrun alive, a process each, 64 MiB: latency and memory",
	.run = run,
};
