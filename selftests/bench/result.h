/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks found: a flat list, which becomes JSON. It is in shared
 * memory, as each benchmark runs in a process of its own.
 */
#ifndef _KVMFORK_BENCH_RESULT_H
#define _KVMFORK_BENCH_RESULT_H

#include <stdbool.h>

#include "measure.h"

/*
 * Which figure: of what, done how, at which size. Plain words. Variants called
 * "column: row" make a table.
 */
struct point {
	const char *benchmark;
	const char *variant;
	const char *x_name;	/* NULL: it has no size */
	double x;
};

/* @time_unit: what stopwatches count thousands of. */
void results_init(const char *time_unit);

/* Times; @per is "" or what each sample is of ("/page"). */
void result_series(const struct point *point, const char *per, const struct series *series,
		   unsigned int first);
/* A single time. */
void result_time(const struct point *point, const char *per, double value);
/* A single figure of another kind. */
void result_value(const struct point *point, const char *unit, double value);
/* A figure that could not be had. */
void result_skip(const struct point *point, const char *why);

/* The median of an earlier result; negative: there is none. */
double result_median(const struct point *point);

/* All of them, with @machine in words. */
void results_write(const char *path, const char *machine, bool quick);

#endif /* _KVMFORK_BENCH_RESULT_H */
