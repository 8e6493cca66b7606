// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#include "lap.h"
#include "profile.h"
#include "util.h"

/* In ns; the file has them for each CPU. */
static uint64_t idle_ns(void)
{
	unsigned long long value;
	uint64_t sum = 0;
	char line[256];
	FILE *file;

	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		return 0;
	file = fopen("/proc/timer_list", "r");
	TEST_REQUIRE(file, "/proc/timer_list: %m");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " .idle_sleeptime : %llu", &value) == 1 ||
		    sscanf(line, " .iowait_sleeptime : %llu", &value) == 1)
			sum += value;
	fclose(file);
	return sum;
}

void lap_start(struct lap *lap)
{
	lap->idle = idle_ns();
	lap->wall = test_now_ns();
	profile_start();
}

static struct sample lap_sample(const struct lap *lap, double elapsed)
{
	double idle;

	profile_stop();
	idle = idle_ns() - lap->idle;
	return (struct sample) {
		.worked = (elapsed - idle) / 1000,
		.asleep = idle / 1000,
	};
}

struct sample lap_stop(const struct lap *lap)
{
	return lap_sample(lap, test_now_ns() - lap->wall);
}

/* Cycles in a nanosecond. */
static double tsc_rate(void)
{
	static double rate;
	uint64_t start, cycles;

	if (rate)
		return rate;
	start = test_now_ns();
	cycles = __rdtsc();
	usleep(100000);
	rate = (double)(__rdtsc() - cycles) / (test_now_ns() - start);
	return rate;
}

struct sample lap_stop_cycles(const struct lap *lap, uint64_t cycles)
{
	return lap_sample(lap, cycles / tsc_rate());
}
