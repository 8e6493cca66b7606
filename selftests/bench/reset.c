// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET of a VM to the template it came from, by how many pages it
 * wrote: the call alone, and the cycle of reset, run, write and exit; and both
 * with the pages kept.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench.h"
#include "fork.h"

#define MIB		256
#define ROUNDS		100
#define FIRST		0
#define LAST		1024

static const unsigned int counts[] = { FIRST, 16, 64, 256, LAST };

static void measure_alone(struct vm *vm, int template_fd, uint64_t flags,
			  const struct point *point)
{
	unsigned int rounds = bench_rounds(ROUNDS);
	struct series *series = series_create(rounds);
	struct stopwatch watch;

	for (unsigned int i = 0; i < rounds; i++) {
		stopwatch_start(&watch);
		TEST_REQUIRE(!__vm_reset(vm, template_fd, flags), "KVMFORK_RESET failed");
		stopwatch_add(&watch, series);
		subject_run(vm);
	}
	result_series(point, "", series, 0);
	series_destroy(series);
}

static void measure_cycle(struct vm *vm, int template_fd, uint64_t flags,
			  const struct point *point)
{
	unsigned int rounds = bench_rounds(ROUNDS);
	struct series *series = series_create(rounds);
	struct stopwatch watch;

	for (unsigned int i = 0; i < rounds; i++) {
		stopwatch_start(&watch);
		TEST_REQUIRE(!__vm_reset(vm, template_fd, flags), "KVMFORK_RESET failed");
		subject_run(vm);
		stopwatch_add(&watch, series);
	}
	result_series(point, "", series, 0);
	series_destroy(series);
}

static void slope(const char *variant)
{
	struct point first = { "reset", variant, "pages", FIRST };
	struct point last = { "reset", variant, "pages", LAST };

	result_time(&(struct point){ "reset-slope", variant, NULL, 0 }, "/page",
		    (result_median(&last) - result_median(&first)) / (LAST - FIRST));
}

static void measure(struct vm *parent, const char *where, bool scattered, uint64_t flags)
{
	const char *kept = flags & KVMFORK_RESET_KEEP ? ", kept" : "";
	char alone[64], cycle[64];

	snprintf(alone, sizeof(alone), "reset, %s%s", where, kept);
	snprintf(cycle, sizeof(cycle), "reset and run, %s%s", where, kept);
	for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
		struct point point = { "reset", alone, "pages", counts[i] };
		uint32_t stride = scattered && counts[i] ? subject_stride(MIB, counts[i]) : 1;
		struct vm vm;
		int fd;

		/* What is frozen is about to write them. */
		subject_start(parent, subject_write, subject_pages_arg(counts[i], stride));
		fd = vm_freeze(parent);
		vm_spawn(fd, parent, &vm);
		subject_run(&vm);
		measure_alone(&vm, fd, flags, &point);
		point.variant = cycle;
		measure_cycle(&vm, fd, flags, &point);
		vm_close(&vm);
		close(fd);
	}
	slope(alone);
	slope(cycle);
}

static void run(void)
{
	struct subject_spec spec = { .memory = SUBJECT_KVMFORK, .mib = MIB };
	struct point point = { "reset", "reset", NULL, 0 };
	struct vm parent;

	if (!method_is_available(&method_shell, &point))
		return;
	subject_create(&parent, &spec);
	measure(&parent, "adjacent", false, RESET_ALL);
	measure(&parent, "scattered", true, RESET_ALL);
	measure(&parent, "adjacent", false, RESET_ALL | KVMFORK_RESET_KEEP);
	measure(&parent, "scattered", true, RESET_ALL | KVMFORK_RESET_KEEP);
	vm_close(&parent);
}

const struct benchmark bench_reset = {
	.name = "reset",
	.title = "a VM of 256 MiB back to its template, by pages written",
	.run = run,
};
