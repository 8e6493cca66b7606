// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many clones alive in one process, each run to its first exit and idle from
 * then on: what each took, what memory there is less of, and where that is.
 */
#include <sys/mman.h>

#include "bench.h"
#include "clones_memory.h"

#define MIB		64
#define CLONES		1000
#define STEP		100
#define RESERVE		(256LL << 20)

static const struct method *const methods[] = {
	&method_fork,
	&method_spawn,
	&method_userspace,
};

static void report_latency(const struct method *method, unsigned int alive,
			   const struct series *series)
{
	struct point point = { "clones-latency", method->name, "clones", alive };

	result_series(&point, "", series, 0);
}

static void make_clones(const struct method *method, struct method_state *state,
			struct vm *clones, unsigned int count)
{
	struct series *series = series_create(STEP);
	struct meminfo before, after;
	struct stopwatch watch;
	unsigned int alive;

	meminfo_read(&before);
	for (alive = 0; alive < count; ) {
		stopwatch_start(&watch);
		method->clone(state, &clones[alive]);
		subject_run(&clones[alive]);
		stopwatch_add(&watch, series);
		if (++alive % STEP)
			continue;
		report_latency(method, alive, series);
		clones_memory_report(method->name, alive, &before);
		series->nr = 0;
		if (mem_available() < RESERVE)
			break;
	}
	meminfo_read(&after);
	clones_memory_places(method->name, alive, &before, &after);
	series_destroy(series);
}

/* Populated now, so that it is not taken for a clone's. */
static struct vm *clones_alloc(unsigned int count)
{
	struct vm *clones = mmap(NULL, count * sizeof(*clones), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	TEST_REQUIRE(clones != MAP_FAILED, "memory for %u clones: %m", count);
	return clones;
}

/* The end of the process closes them all. */
static int measure(void *arg)
{
	const struct method *method = arg;
	struct subject_spec spec = { .memory = method->memory, .mib = MIB };
	unsigned int count = bench_quick ? STEP : CLONES;
	struct vm *clones = clones_alloc(count);
	struct method_state state;
	struct vm parent, first;

	subject_create(&parent, &spec);
	method_begin(method, &state, &parent);
	/* What only the first needs is not of the others. */
	method->clone(&state, &first);
	subject_run(&first);
	make_clones(method, &state, clones, count);
	return 0;
}

static void run(void)
{
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++)
		TEST_REQUIRE(process_exited(process_run(measure, (void *)methods[i]), 0),
			     "the clones by %s failed", methods[i]->name);
}

const struct benchmark bench_clones = {
	.name = "clones",
	.title = "clones of a VM of 64 MiB alive in one process: latency and memory",
	.run = run,
};
