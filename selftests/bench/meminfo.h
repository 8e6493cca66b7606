/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the machine's memory is, as /proc tells it. */
#ifndef _KVMFORK_BENCH_MEMINFO_H
#define _KVMFORK_BENCH_MEMINFO_H

#include <stdbool.h>

#define MEMINFO_FIELDS	7
#define MEMINFO_CACHES	256

struct meminfo_cache {
	char name[48];
	long long bytes;
};

struct meminfo {
	long long available;
	long long fields[MEMINFO_FIELDS];
	unsigned int nr_caches;		/* of the slab allocator */
	struct meminfo_cache caches[MEMINFO_CACHES];
};

extern const struct meminfo_field {
	const char *name;
	bool taken;	/* not counted as available */
} meminfo_fields[MEMINFO_FIELDS];

void meminfo_read(struct meminfo *info);

/* What @cache of @after has grown by since @before. */
long long meminfo_cache_growth(const struct meminfo *before, const struct meminfo_cache *cache);

#endif /* _KVMFORK_BENCH_MEMINFO_H */
