// SPDX-License-Identifier: GPL-2.0-only
/* A clone by its number of vCPUs, each of which has run to its first exit. */
#include "bench.h"

#define MIB	64
#define ROUNDS	50

static const unsigned int counts[] = { 1, 2, 4 };

static const struct method *const methods[] = {
	&method_fork,
	&method_spawn,
	&method_shell_live,
	&method_shell,
	&method_userspace,
};

static void ratio(const struct method *method)
{
	struct point one = { "vcpus", method->name, "vCPUs", 1 };
	struct point four = { "vcpus", method->name, "vCPUs", 4 };
	struct point point = { "vcpus-ratio", method->name, NULL, 0 };

	if (result_median(&one) > 0)
		result_value(&point, "4 to 1", result_median(&four) / result_median(&one));
}

static void measure(enum subject_memory memory, unsigned int nr_vcpus)
{
	struct subject_spec spec = { .memory = memory, .mib = MIB, .nr_vcpus = nr_vcpus };
	struct vm parent;

	subject_create(&parent, &spec);
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
		struct point point = { "vcpus", methods[i]->name, "vCPUs", nr_vcpus };

		if (methods[i]->memory == memory && method_is_available(methods[i], &point))
			method_measure(methods[i], &parent, bench_rounds(ROUNDS), NULL, 0, &point);
	}
	vm_close(&parent);
}

static void run(void)
{
	for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
		measure(SUBJECT_KVMFORK, counts[i]);
		measure(SUBJECT_MEMFD, counts[i]);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++)
		ratio(methods[i]);
}

const struct benchmark bench_vcpus = {
	.name = "vcpus",
	.title = "a clone to its first exit, by vCPUs; 64 MiB",
	.run = run,
};
