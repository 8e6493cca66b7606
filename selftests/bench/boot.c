// SPDX-License-Identifier: GPL-2.0-only
/*
 * The same guest from nothing: booted by ukrun and by QEMU, and brought back by
 * QEMU from a file that another QEMU has saved it to. From exec() until its first
 * word is read, or it has written all of its memory: where clones begin.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "lap.h"
#include "monitor.h"
#include "qemu.h"

#define ROUNDS		10
#define ROUNDS_QEMU	3
#define MIB_MAX		256

static void report(const char *name, unsigned int mib, struct series *series)
{
	struct point point = { "boot", name, "MiB", mib };

	result_series(&point, "", series, 0);
	series_destroy(series);
}

static void measure_ukrun(unsigned int mib)
{
	unsigned int rounds = bench_rounds(mib > 64 ? ROUNDS_QEMU : ROUNDS);
	struct series *first = series_create(rounds), *ready = series_create(rounds);
	struct monitor monitor;
	struct lap lap;

	for (unsigned int i = 0; i < rounds; i++) {
		lap_start(&lap);
		monitor_start_ukrun(&monitor, mib, NULL);
		monitor_expect(&monitor, "begin");
		series_add(first, lap_stop(&lap));
		monitor_expect(&monitor, "ready");
		series_add(ready, lap_stop(&lap));
		monitor_end(&monitor);
	}
	report("ukrun, to its first word", mib, first);
	report("ukrun, until it is set up", mib, ready);
}

/* The last of those booted is saved. */
static void measure_qemu(unsigned int mib)
{
	unsigned int rounds = bench_rounds(ROUNDS_QEMU);
	struct series *first = series_create(rounds), *ready = series_create(rounds);
	struct series *save = series_create(1), *restore = series_create(rounds);
	struct point size = { "boot-file", "QEMU's file", "MiB", mib };
	struct monitor monitor;
	struct stat stat_buf;
	struct lap lap;

	for (unsigned int i = 0; i < rounds; i++) {
		lap_start(&lap);
		qemu_start(&monitor, mib, false);
		monitor_expect(&monitor, "begin");
		series_add(first, lap_stop(&lap));
		monitor_expect(&monitor, "ready");
		series_add(ready, lap_stop(&lap));
		if (i + 1 < rounds)
			monitor_end(&monitor);
	}
	monitor_send(&monitor, 't');
	monitor_wait(&monitor);
	lap_start(&lap);
	qemu_save();
	series_add(save, lap_stop(&lap));
	monitor_end(&monitor);
	for (unsigned int i = 0; i < rounds; i++) {
		lap_start(&lap);
		qemu_start(&monitor, mib, true);
		monitor_wait(&monitor);
		series_add(restore, lap_stop(&lap));
		monitor_end(&monitor);
	}
	TEST_REQUIRE(!stat(QEMU_FILE, &stat_buf), "%s: %m", QEMU_FILE);
	result_value(&size, "MiB", stat_buf.st_size / 1048576.0);
	unlink(QEMU_FILE);
	report("QEMU, to its first word", mib, first);
	report("QEMU, until it is set up", mib, ready);
	report("QEMU, save to a file", mib, save);
	report("QEMU, -incoming the file, to its first word", mib, restore);
}

static void run(void)
{
	static const struct point point = { "boot", "QEMU", NULL, 0 };

	for (const unsigned int *mib = bench_memory_sizes(); *mib && *mib <= MIB_MAX; mib++) {
		measure_ukrun(*mib);
		if (qemu_is_there())
			measure_qemu(*mib);
	}
	if (!qemu_is_there())
		result_skip(&point, "there is no " QEMU_DIR);
}

const struct benchmark bench_boot = {
	.name = "boot",
	.title = "the same guest booted by ukrun and QEMU, and restored by QEMU",
	.run = run,
};
