/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef UKRUN_CLOCK_H
#define UKRUN_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S	1000000000ULL

/* What clock @id says. */
static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

#endif
