/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Time and samples. All times are in thousands of nanoseconds; on a machine
 * whose clock counts instructions, 1 ns each, in thousands of instructions.
 */
#ifndef _KVMFORK_BENCH_MEASURE_H
#define _KVMFORK_BENCH_MEASURE_H

#include <stdint.h>

/*
 * Work is what the CPU did for this process, KVM and the module included, and
 * for those of its children that it has waited for. All other time that passed
 * is sleep: grace periods, and kernel threads that had to be waited for.
 */
struct stopwatch {
	uint64_t children;
	uint64_t cpu;
	uint64_t wall;
};

struct sample {
	double worked;
	double asleep;
};

/* In memory that forked processes share, so that they can add to it. */
struct series {
	unsigned int nr;
	unsigned int max;
	struct sample samples[];
};

struct summary {
	double median;
	double p99;
};

struct series *series_create(unsigned int max);
void series_destroy(struct series *series);
void series_add(struct series *series, struct sample sample);
/* Of the samples from number @first on. */
void series_summarize(const struct series *series, unsigned int first,
		      struct summary *worked, struct summary *asleep);

/* Find out what an empty measurement takes, which all others are less by. */
void measure_calibrate(void);

void stopwatch_start(struct stopwatch *watch);
struct sample stopwatch_stop(const struct stopwatch *watch);
/* The same; as one sample, or as that of one of @count equal things done. */
void stopwatch_add(const struct stopwatch *watch, struct series *series);
void stopwatch_add_per(const struct stopwatch *watch, struct series *series,
		       unsigned long count);

#endif /* _KVMFORK_BENCH_MEASURE_H */
