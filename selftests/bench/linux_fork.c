// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Linux takes to fork a process with as much populated memory, of 4 KiB
 * pages and of huge ones: fork() alone, and until the child has exited and been
 * waited for.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "held.h"

static unsigned int rounds_of(unsigned int mib)
{
	return bench_rounds(mib > 1024 ? 3 : mib > 256 ? 5 : 20);
}

/* The child does not exit before the clock has been read. */
static void round_alone(struct series *series)
{
	struct stopwatch watch;
	struct held child;

	held_init(&child);
	stopwatch_start(&watch);
	held_fork(&child);
	stopwatch_add(&watch, series);
	held_end(&child);
}

static void round_exit(struct series *series)
{
	struct stopwatch watch;
	pid_t pid;

	stopwatch_start(&watch);
	pid = fork();
	TEST_REQUIRE(pid >= 0, "fork: %m");
	if (!pid)
		_exit(0);
	process_wait(pid);
	stopwatch_add(&watch, series);
}

static void measure(void (*round)(struct series *series), const struct point *point)
{
	unsigned int rounds = rounds_of(point->x);
	struct series *series = series_create(rounds + 1);

	for (unsigned int i = 0; i < rounds + 1; i++)
		round(series);
	/* After the first, the memory is no longer the parent's alone. */
	result_series(point, "", series, 1);
	series_destroy(series);
}

static void measure_pages(const char *alone, const char *with_exit, unsigned int mib, int advice)
{
	struct point point = { "linux-fork", alone, "MiB", mib };
	uint64_t size = (uint64_t)mib << 20, huge = 2UL << 20;
	char *memory, *aligned;

	if (!bench_memory_fits(mib, &point))
		return;
	memory = mmap(NULL, size + huge, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_REQUIRE(memory != MAP_FAILED, "%u MiB: %m", mib);
	aligned = (char *)(((unsigned long)memory + huge - 1) & -huge);
	TEST_REQUIRE(!madvise(aligned, size, advice), "madvise: %m");
	for (uint64_t at = 0; at < size; at += PAGE_SIZE)
		*(volatile char *)(aligned + at) = 1;

	measure(round_alone, &point);
	point.variant = with_exit;
	measure(round_exit, &point);
	if (advice == MADV_HUGEPAGE) {
		point.variant = "huge pages there were";
		result_value(&point, "MiB",
			     proc_value("/proc/self/smaps_rollup", "AnonHugePages") >> 20);
	}
	munmap(memory, size + huge);
}

static void run(void)
{
	for (const unsigned int *mib = bench_memory_sizes(); *mib; mib++) {
		measure_pages("fork(), 4 KiB pages", "fork(), exit, wait, 4 KiB pages", *mib,
			      MADV_NOHUGEPAGE);
		measure_pages("fork(), THP", "fork(), exit, wait, THP", *mib, MADV_HUGEPAGE);
	}
}

const struct benchmark bench_linux_fork = {
	.name = "linux-fork",
	.title = "fork() of a process, by its memory",
	.run = run,
};
