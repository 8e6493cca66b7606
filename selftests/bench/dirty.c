// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clones of a live parent by how many pages it wrote since the last: next to
 * each other, and all over its memory; and in huge pages.
 */
#include <stdio.h>

#include "bench.h"

#define MIB		256
#define ROUNDS		30
#define FIRST		0
#define LAST		4096

static const unsigned int counts[] = { FIRST, 16, 64, 256, 1024, LAST };

static const struct method *const methods[] = { &method_fork, &method_shell_live };

static void write_pages(struct vm *parent, uint64_t arg)
{
	subject_start(parent, subject_write, arg);
	subject_run(parent);
}

static void measure(const struct method *method, const char *where, bool scattered,
		    struct vm *parent)
{
	char variant[64];
	struct point point = { "dirty", variant, "pages", 0 };
	double first, last;

	snprintf(variant, sizeof(variant), "%s, %s", method->name, where);
	if (!method_is_available(method, &point))
		return;
	for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
		uint32_t stride = scattered && counts[i] ? subject_stride(MIB, counts[i]) : 1;

		point.x = counts[i];
		method_measure(method, parent, bench_rounds(ROUNDS), write_pages,
			       subject_pages_arg(counts[i], stride), &point);
	}
	point.x = FIRST;
	first = result_median(&point);
	point.x = LAST;
	last = result_median(&point);
	result_time(&(struct point){ "dirty-slope", variant, NULL, 0 }, "/page",
		    (last - first) / (LAST - FIRST));
}

static void measure_huge(void)
{
	struct subject_spec spec = { .memory = SUBJECT_HUGE, .mib = MIB };
	struct vm parent;

	subject_create(&parent, &spec);
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++)
		measure(methods[i], "of huge pages", false, &parent);
	vm_close(&parent);
}

static void run(void)
{
	struct subject_spec spec = { .memory = SUBJECT_KVMFORK, .mib = MIB };
	struct vm parent;

	subject_create(&parent, &spec);
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
		measure(methods[i], "adjacent", false, &parent);
		measure(methods[i], "scattered", true, &parent);
	}
	vm_close(&parent);
	measure_huge();
}

const struct benchmark bench_dirty = {
	.name = "dirty",
	.title = "a clone of a live parent of 256 MiB, by pages written since the last",
	.run = run,
};
