/* SPDX-License-Identifier: GPL-2.0-only */
/* The benchmarks, and what they are told. */
#ifndef _KVMFORK_BENCH_BENCH_H
#define _KVMFORK_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "method.h"
#include "result.h"

struct benchmark {
	const char *name;
	const char *title;
	/* In a process of its own. */
	void (*run)(void);
};

extern const struct benchmark bench_latency;
extern const struct benchmark bench_linux_fork;
extern const struct benchmark bench_dirty;
extern const struct benchmark bench_reset;
extern const struct benchmark bench_turnover;
extern const struct benchmark bench_vcpus;
extern const struct benchmark bench_parent_write;
extern const struct benchmark bench_fault;
extern const struct benchmark bench_clones;
extern const struct benchmark bench_process;
extern const struct benchmark bench_process_clones;
extern const struct benchmark bench_boot;
extern const struct benchmark bench_devices;

/* Few rounds, small sizes: to see that all works. */
extern bool bench_quick;

/* So many in a full run. */
unsigned int bench_rounds(unsigned int full);

/* Sizes of guest memory; 0 is the end. */
const unsigned int *bench_memory_sizes(void);

/* Is so much memory there? Says so in a result for @point when not. */
bool bench_memory_fits(uint64_t mib, const struct point *point);

#endif /* _KVMFORK_BENCH_BENCH_H */
