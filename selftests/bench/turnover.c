// SPDX-License-Identifier: GPL-2.0-only
/* Clones one after the other: started, run to their first exit, and gone. */
#include "bench.h"
#include "fork.h"

#define MIB		64
#define ROUNDS_CREATE	200
#define ROUNDS_RECYCLE	1000

static const struct {
	const struct method *method;
	unsigned int rounds;
} runs[] = {
	{ &method_fork, ROUNDS_CREATE },
	{ &method_spawn, ROUNDS_CREATE },
	{ &method_shell_live, ROUNDS_RECYCLE },
	{ &method_shell, ROUNDS_RECYCLE },
	{ &method_userspace, ROUNDS_CREATE },
};

/* How much more often than @others, which are created and destroyed. */
static void ratio(const struct method *method, const struct method *others)
{
	struct point fast = { "turnover-rate", method->name, NULL, 0 };
	struct point slow = { "turnover-rate", others->name, NULL, 0 };
	struct point point = { "turnover-ratio", method->name, NULL, 0 };

	if (result_median(&fast) > 0 && result_median(&slow) > 0)
		result_value(&point, "times as many", result_median(&fast) / result_median(&slow));
}

static void measure(const struct method *method, struct vm *parent, unsigned int rounds)
{
	struct point point = { "turnover", method->name, NULL, 0 };
	struct series *series;
	struct method_state state;
	struct stopwatch watch;
	double total = 0;
	struct vm clone;

	if (!method_is_available(method, &point))
		return;
	series = series_create(rounds + WARM_UP_ROUNDS);
	method_begin(method, &state, parent);
	for (unsigned int i = 0; i < rounds + WARM_UP_ROUNDS; i++) {
		struct sample sample;

		stopwatch_start(&watch);
		method->clone(&state, &clone);
		subject_run(&clone);
		method->release(&state, &clone);
		sample = stopwatch_stop(&watch);
		series_add(series, sample);
		if (i < WARM_UP_ROUNDS)
			continue;
		total += sample.worked + sample.asleep;
	}
	method_end(method, &state);
	result_series(&point, "", series, WARM_UP_ROUNDS);
	series_destroy(series);
	point.benchmark = "turnover-rate";
	result_value(&point, "clones/s", rounds / (total / 1000000));
}

static void measure_on(enum subject_memory memory)
{
	struct subject_spec spec = { .memory = memory, .mib = MIB };
	struct vm parent;

	subject_create(&parent, &spec);
	for (size_t i = 0; i < ARRAY_LENGTH(runs); i++)
		if (runs[i].method->memory == memory)
			measure(runs[i].method, &parent, bench_rounds(runs[i].rounds));
	vm_close(&parent);
}

static void run(void)
{
	measure_on(SUBJECT_KVMFORK);
	measure_on(SUBJECT_MEMFD);
	ratio(&method_shell, &method_spawn);
	ratio(&method_shell_live, &method_fork);
}

const struct benchmark bench_turnover = {
	.name = "turnover",
	.title = "clones of a VM of 64 MiB in a row: started, run to their first exit, gone",
	.run = run,
};
