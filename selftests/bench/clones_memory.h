/* SPDX-License-Identifier: GPL-2.0-only */
/* What memory there is less of since clones are alive, and where it is. */
#ifndef _KVMFORK_BENCH_CLONES_MEMORY_H
#define _KVMFORK_BENCH_CLONES_MEMORY_H

#include "meminfo.h"

void clones_memory_report(const char *variant, unsigned int alive, const struct meminfo *before);
void clones_memory_places(const char *variant, unsigned int alive, const struct meminfo *before,
			  const struct meminfo *after);

#endif /* _KVMFORK_BENCH_CLONES_MEMORY_H */
