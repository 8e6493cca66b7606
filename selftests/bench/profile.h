/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In which functions the time of a measurement passes: while a stopwatch or a lap
 * runs, a timer looks where the CPU is. That takes as long as what is measured, so
 * the figures of such a run are not the benchmark's; the shares of the functions
 * are. What runs with interrupts off counts for whoever switches them on.
 */
#ifndef _KVMFORK_BENCH_PROFILE_H
#define _KVMFORK_BENCH_PROFILE_H

/* Look from now on, at each measurement. Without this call all others do nothing. */
void profile_open(void);

void profile_start(void);
void profile_stop(void);

/* Forget what was seen. */
void profile_forget(void);

/*
 * Print what was seen since the last call, and forget it: the functions that made
 * up most of @total, which is in @unit.
 */
void profile_report(double total, const char *unit);

#endif /* _KVMFORK_BENCH_PROFILE_H */
