// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>

#include "meminfo.h"
#include "util.h"

/*
 * Those that memory of VMs is counted under. They do not overlap; the stacks of
 * kernel threads are vmalloc's.
 */
const struct meminfo_field meminfo_fields[MEMINFO_FIELDS] = {
	{ "SUnreclaim", true },
	{ "SReclaimable", false },
	{ "PageTables", true },
	{ "SecPageTables", true },
	{ "VmallocUsed", true },
	{ "Percpu", true },
	{ "AnonPages", true },
};

static void caches_read(struct meminfo *info)
{
	FILE *file = fopen("/proc/slabinfo", "r");
	char line[256];

	info->nr_caches = 0;
	if (!file)
		return;
	while (info->nr_caches < MEMINFO_CACHES && fgets(line, sizeof(line), file)) {
		struct meminfo_cache *cache = &info->caches[info->nr_caches];
		long long objects, size;

		/* name, objects in use, objects there are, bytes of each */
		if (sscanf(line, "%47s %*d %lld %lld", cache->name, &objects, &size) != 3)
			continue;
		cache->bytes = objects * size;
		info->nr_caches++;
	}
	fclose(file);
}

void meminfo_read(struct meminfo *info)
{
	info->available = mem_available();
	for (int i = 0; i < MEMINFO_FIELDS; i++) {
		long long value = proc_value("/proc/meminfo", meminfo_fields[i].name);

		/* Not all kernels have all of them. */
		info->fields[i] = value < 0 ? 0 : value;
	}
	caches_read(info);
}

long long meminfo_cache_growth(const struct meminfo *before, const struct meminfo_cache *cache)
{
	for (unsigned int i = 0; i < before->nr_caches; i++)
		if (!strcmp(before->caches[i].name, cache->name))
			return cache->bytes - before->caches[i].bytes;
	return cache->bytes;
}
