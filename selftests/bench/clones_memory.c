// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "clones_memory.h"
#include "result.h"
#include "util.h"

#define CACHE_MIN	1024	/* bytes of a slab cache per clone worth a line */

void clones_memory_report(const char *variant, unsigned int alive, const struct meminfo *before)
{
	struct point point = { "clones-memory", variant, "clones", alive };

	result_value(&point, "KiB/clone",
		     (before->available - mem_available()) / 1024.0 / alive);
}

static void report_place(const char *variant, const char *name, unsigned int alive,
			 long long bytes)
{
	char text[96];
	struct point point = { "clones-where", text, NULL, 0 };

	snprintf(text, sizeof(text), "%s: %s", variant, name);
	result_value(&point, "KiB/clone", bytes / 1024.0 / alive);
}

/* What none of the fields counts are whole pages. */
void clones_memory_places(const char *variant, unsigned int alive, const struct meminfo *before,
			  const struct meminfo *after)
{
	long long rest = before->available - after->available;

	for (int i = 0; i < MEMINFO_FIELDS; i++) {
		long long bytes = after->fields[i] - before->fields[i];

		report_place(variant, meminfo_fields[i].name, alive, bytes);
		if (meminfo_fields[i].taken)
			rest -= bytes;
	}
	report_place(variant, "other pages", alive, rest);
	for (unsigned int i = 0; i < after->nr_caches; i++) {
		long long bytes = meminfo_cache_growth(before, &after->caches[i]);
		char name[64];

		snprintf(name, sizeof(name), "slab, %s", after->caches[i].name);
		if (bytes >= CACHE_MIN * (long long)alive)
			report_place(variant, name, alive, bytes);
	}
}
