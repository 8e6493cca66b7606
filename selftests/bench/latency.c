// SPDX-License-Identifier: GPL-2.0-only
/*
 * A clone, from the call until its first exit, by size of guest memory. Nothing
 * has been written since the last clone.
 */
#include <unistd.h>

#include "bench.h"
#include "fork.h"

#define ROUNDS		100
#define COPY_ROUNDS	20
#define COPY_MIB	1024	/* to copy in all, but 3 times at least */

static const struct method *const methods[] = {
	&method_fork,
	&method_spawn,
	&method_shell_new_live,
	&method_shell_live,
	&method_shell_new,
	&method_shell,
	&method_userspace_live,
	&method_userspace,
};

static unsigned int rounds_of(const struct method *method, unsigned int mib)
{
	unsigned int rounds = COPY_MIB / mib;

	if (!method->copies)
		return bench_rounds(ROUNDS);
	return bench_rounds(rounds > COPY_ROUNDS ? COPY_ROUNDS : rounds < 3 ? 3 : rounds);
}

static void measure_method(const struct method *method, unsigned int mib, struct vm *parent)
{
	struct point point = { "latency", method->name, "MiB", mib };

	if (method_is_available(method, &point))
		method_measure(method, parent, rounds_of(method, mib), NULL, 0, &point);
}

/* The template is let go of outside the timing. */
static void measure_freeze(unsigned int mib, struct vm *parent)
{
	struct point point = { "freeze", "freeze", "MiB", mib };
	unsigned int rounds = bench_rounds(ROUNDS);
	struct series *series = series_create(rounds);
	struct stopwatch watch;
	int fd;

	for (unsigned int i = 0; i < rounds; i++) {
		stopwatch_start(&watch);
		fd = vm_freeze(parent);
		stopwatch_add(&watch, series);
		close(fd);
	}
	result_series(&point, "", series, 0);
	series_destroy(series);
}

static bool all_fit(enum subject_memory memory, unsigned int mib)
{
	bool fit = true;

	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
		struct point point = { "latency", methods[i]->name, "MiB", mib };
		unsigned int needed = methods[i]->copies ? 2 * mib : mib;

		if (methods[i]->memory == memory && !bench_memory_fits(needed, &point))
			fit = false;
	}
	return fit;
}

static void measure_memory(enum subject_memory memory, unsigned int mib)
{
	struct subject_spec spec = { .memory = memory, .mib = mib };
	struct vm parent;

	if (!all_fit(memory, mib))
		return;
	subject_create(&parent, &spec);
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++)
		if (methods[i]->memory == memory)
			measure_method(methods[i], mib, &parent);
	if (memory == SUBJECT_KVMFORK)
		measure_freeze(mib, &parent);
	vm_close(&parent);
}

static void run(void)
{
	static const enum subject_memory memories[] = {
		SUBJECT_KVMFORK, SUBJECT_ANONYMOUS, SUBJECT_MEMFD,
	};

	for (const unsigned int *mib = bench_memory_sizes(); *mib; mib++)
		for (size_t i = 0; i < ARRAY_LENGTH(memories); i++)
			measure_memory(memories[i], *mib);
}

const struct benchmark bench_latency = {
	.name = "latency",
	.title = "a clone to its first exit, by guest memory",
	.run = run,
};
