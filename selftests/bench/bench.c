// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kvmfork takes, side by side with other ways to the same end. Meant for a
 * machine whose clock counts instructions (selftests/bench/run starts one); on
 * any other the figures are microseconds.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"
#include "profile.h"

#define OPEN_FILES	65536
#define MAX_ONLY	16

static const struct benchmark *const benchmarks[] = {
	&bench_latency,
	&bench_linux_fork,
	&bench_dirty,
	&bench_reset,
	&bench_turnover,
	&bench_vcpus,
	&bench_parent_write,
	&bench_fault,
	&bench_clones,
	&bench_process,
	&bench_process_clones,
	&bench_boot,
	&bench_devices,
};

bool bench_quick;

static const char *only[MAX_ONLY];
static unsigned int nr_only;
static bool profile;
static const char *json;
static const char *machine = "unknown";
static const char *time_unit = "us";

unsigned int bench_rounds(unsigned int full)
{
	if (!bench_quick)
		return full;
	return full > 30 ? full / 10 : 3;
}

const unsigned int *bench_memory_sizes(void)
{
	static const unsigned int full[] = { 16, 64, 256, 1024, 4096, 0 };
	static const unsigned int quick[] = { 16, 64, 0 };

	return bench_quick ? quick : full;
}

bool bench_memory_fits(uint64_t mib, const struct point *point)
{
	/* For page tables, and so that nothing has to be reclaimed. */
	uint64_t needed = mib + mib / 64 + 128;

	if (mem_available() >> 20 >= (long long)needed)
		return true;
	result_skip(point, "the machine has too little memory");
	return false;
}

static void usage(FILE *to)
{
	fprintf(to,
		"usage: bench [OPTION]...\n"
		"\n"
		"  --list          names and titles of the benchmarks\n"
		"  --only NAME     this one; may be given again\n"
		"  --quick         few rounds, small sizes\n"
		"  --profile       functions that the time passes in, with figures that are\n"
		"                  too high\n"
		"  --json FILE     all figures\n"
		"  --machine TEXT  what it runs on, for FILE\n"
		"  --icount        the clock counts instructions, 1 ns each\n");
}

static void list(void)
{
	for (size_t i = 0; i < ARRAY_LENGTH(benchmarks); i++)
		printf("%-16s%s\n", benchmarks[i]->name, benchmarks[i]->title);
}

static void only_add(const char *name)
{
	for (size_t i = 0; i < ARRAY_LENGTH(benchmarks); i++) {
		if (strcmp(benchmarks[i]->name, name))
			continue;
		if (nr_only == MAX_ONLY)
			errx(2, "too many --only");
		only[nr_only++] = name;
		return;
	}
	errx(2, "no benchmark is called %s; --list has them", name);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "only", required_argument, NULL, 'o' },
		{ "quick", no_argument, NULL, 'q' },
		{ "profile", no_argument, NULL, 'p' },
		{ "json", required_argument, NULL, 'j' },
		{ "machine", required_argument, NULL, 'm' },
		{ "icount", no_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			list();
			exit(0);
		case 'o':
			only_add(optarg);
			break;
		case 'q':
			bench_quick = true;
			break;
		case 'p':
			profile = true;
			break;
		case 'j':
			json = optarg;
			break;
		case 'm':
			machine = optarg;
			break;
		case 'i':
			time_unit = "kinsn";
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc)
		errx(2, "what is %s?", argv[optind]);
}

static bool is_wanted(const struct benchmark *benchmark)
{
	for (unsigned int i = 0; i < nr_only; i++)
		if (!strcmp(only[i], benchmark->name))
			return true;
	return !nr_only;
}

static void require_kvmfork(void)
{
	if (access("/dev/kvm", R_OK | W_OK))
		err(1, "/dev/kvm");
	if (access("/dev/kvmfork", R_OK | W_OK))
		err(1, "/dev/kvmfork (insmod kvmfork.ko)");
}

static void raise_limits(void)
{
	struct rlimit files = { .rlim_cur = OPEN_FILES, .rlim_max = OPEN_FILES };

	if (setrlimit(RLIMIT_NOFILE, &files))
		err(1, "allowing %u open files", OPEN_FILES);
}

static int run_benchmark(void *arg)
{
	const struct benchmark *benchmark = arg;

	if (profile)
		profile_open();
	benchmark->run();
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	parse(argc, argv);
	require_kvmfork();
	raise_limits();
	results_init(time_unit);
	measure_calibrate();
	for (size_t i = 0; i < ARRAY_LENGTH(benchmarks); i++) {
		struct point point = { benchmarks[i]->name, "all", NULL, 0 };

		if (!is_wanted(benchmarks[i]))
			continue;
		/* Its VMs, mappings and MMU notifiers end with it. */
		if (process_exited(process_run(run_benchmark, (void *)benchmarks[i]), 0))
			continue;
		result_skip(&point, "failed");
		failed = 1;
	}
	if (json)
		results_write(json, machine, bench_quick);
	return failed;
}
