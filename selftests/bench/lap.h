/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Time of what several processes do: on a machine with one CPU all time is work
 * but that in which it had nothing to do. With more CPUs all time is work.
 */
#ifndef _KVMFORK_BENCH_LAP_H
#define _KVMFORK_BENCH_LAP_H

#include <stdint.h>

#include "measure.h"

struct lap {
	uint64_t wall;
	uint64_t idle;
};

void lap_start(struct lap *lap);
struct sample lap_stop(const struct lap *lap);

/*
 * A part of the lap, by the TSC of a guest, outside which the machine was not idle.
 */
struct sample lap_stop_cycles(const struct lap *lap, uint64_t cycles);

#endif /* _KVMFORK_BENCH_LAP_H */
