// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "measure.h"
#include "profile.h"
#include "util.h"

#define CALIBRATION_ROUNDS	100

/* Taken off every measurement. */
static struct sample empty;

static size_t series_size(unsigned int max)
{
	return sizeof(struct series) + max * sizeof(struct sample);
}

struct series *series_create(unsigned int max)
{
	struct series *series = mmap(NULL, series_size(max), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	TEST_REQUIRE(series != MAP_FAILED, "memory for %u samples: %m", max);
	series->nr = 0;
	series->max = max;
	return series;
}

void series_destroy(struct series *series)
{
	munmap(series, series_size(series->max));
}

void series_add(struct series *series, struct sample sample)
{
	TEST_REQUIRE(series->nr < series->max, "more than %u samples", series->max);
	series->samples[series->nr++] = sample;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* By the nearest rank: each is a figure that was measured. */
static struct summary summarize(double *values, unsigned int nr)
{
	qsort(values, nr, sizeof(*values), compare);
	return (struct summary) {
		.median = values[(nr - 1) / 2],
		.p99 = values[(nr * 99 + 99) / 100 - 1],
	};
}

void series_summarize(const struct series *series, unsigned int first,
		      struct summary *worked, struct summary *asleep)
{
	unsigned int nr = series->nr - first;
	double *values;

	TEST_REQUIRE(first < series->nr, "no samples");
	values = calloc(nr, sizeof(*values));
	TEST_REQUIRE(values, "no memory for %u values", nr);
	for (unsigned int i = 0; i < nr; i++)
		values[i] = series->samples[first + i].worked;
	*worked = summarize(values, nr);
	for (unsigned int i = 0; i < nr; i++)
		values[i] = series->samples[first + i].asleep;
	*asleep = summarize(values, nr);
	free(values);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static uint64_t timeval_ns(struct timeval time)
{
	return time.tv_sec * 1000000000ULL + time.tv_usec * 1000ULL;
}

static uint64_t children_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime);
}

void stopwatch_start(struct stopwatch *watch)
{
	watch->children = children_ns();
	watch->cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	watch->wall = clock_ns(CLOCK_MONOTONIC);
	profile_start();
}

/* With what measuring adds. Sleep can be below 0: its clock is read inside. */
static struct sample stopwatch_read(const struct stopwatch *watch)
{
	double wall, cpu, children;

	profile_stop();
	wall = clock_ns(CLOCK_MONOTONIC) - watch->wall;
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - watch->cpu;
	children = children_ns() - watch->children;

	return (struct sample) {
		.worked = (cpu + children) / 1000,
		.asleep = (wall - cpu - children) / 1000,
	};
}

static double less(double value, double by)
{
	return value > by ? value - by : 0;
}

struct sample stopwatch_stop(const struct stopwatch *watch)
{
	struct sample sample = stopwatch_read(watch);

	sample.worked = less(sample.worked, empty.worked);
	sample.asleep = less(sample.asleep, empty.asleep);
	return sample;
}

void stopwatch_add(const struct stopwatch *watch, struct series *series)
{
	series_add(series, stopwatch_stop(watch));
}

void stopwatch_add_per(const struct stopwatch *watch, struct series *series,
		       unsigned long count)
{
	struct sample sample = stopwatch_stop(watch);

	sample.worked /= count;
	sample.asleep /= count;
	series_add(series, sample);
}

void measure_calibrate(void)
{
	struct series *series = series_create(CALIBRATION_ROUNDS);
	struct summary worked, asleep;
	struct stopwatch watch;

	for (unsigned int i = 0; i < CALIBRATION_ROUNDS; i++) {
		stopwatch_start(&watch);
		series_add(series, stopwatch_read(&watch));
	}
	series_summarize(series, 0, &worked, &asleep);
	empty.worked = worked.median;
	empty.asleep = asleep.median;
	series_destroy(series);
}
