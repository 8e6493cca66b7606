// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux with a disk and a network, by ukrun and by QEMU: its boot, reading and
 * writing, serving pages; and as many as have been forked serving at one port.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench.h"
#include "lap.h"
#include "linux.h"
#include "util.h"

#define BOOTS		3
#define ROUNDS		5
#define REQUESTS	50
#define CLIENTS		4
#define WORKERS_MAX	4
/* Until all have their link again after a fork, and nothing is to be done. */
#define SETTLE_US	3000000

static const char *const names[] = { "ukrun", "QEMU microvm" };

static void report(const char *benchmark, const char *what, enum linux_host host,
		   const char *per, struct series *series, unsigned int first)
{
	char variant[64];
	struct point point = { benchmark, variant, NULL, 0 };

	snprintf(variant, sizeof(variant), "%s%s%s", names[host], *what ? ": " : "", what);
	result_series(&point, per, series, first);
	series_destroy(series);
}

/* One of @count equal things done. */
static struct sample lap_stop_per(const struct lap *lap, double count)
{
	struct sample sample = lap_stop(lap);

	sample.worked /= count;
	sample.asleep /= count;
	return sample;
}

static void boots(enum linux_host host)
{
	unsigned int rounds = bench_rounds(BOOTS);
	struct series *series = series_create(rounds);
	struct monitor monitor;
	struct lap lap;

	for (unsigned int i = 0; i < rounds; i++) {
		linux_prepare();
		lap_start(&lap);
		linux_boot(&monitor, host, false);
		series_add(series, lap_stop(&lap));
		monitor_end(&monitor);
	}
	report("linux-boot", "", host, "", series, 0);
}

static void disk(struct monitor *monitor, enum linux_host host, char letter, unsigned int mib,
		 const char *what)
{
	unsigned int rounds = bench_rounds(ROUNDS);
	struct series *series = series_create(rounds + 1);
	struct lap lap;

	for (unsigned int i = 0; i <= rounds; i++) {
		lap_start(&lap);
		linux_ask(monitor, letter);
		series_add(series, lap_stop_per(&lap, mib));
	}
	report("disk", what, host, "/MiB", series, 1);
}

static void pages(enum linux_host host, const char *page, unsigned int count, double per,
		  const char *what, const char *unit)
{
	unsigned int rounds = bench_rounds(ROUNDS);
	struct series *series = series_create(rounds + 1);
	struct lap lap;

	for (unsigned int i = 0; i <= rounds; i++) {
		lap_start(&lap);
		for (unsigned int j = 0; j < count; j++)
			linux_fetch(page);
		series_add(series, lap_stop_per(&lap, per));
	}
	report("http", what, host, unit, series, 1);
}

/* Some at a time. */
static void ask_for_pages(void)
{
	pid_t clients[CLIENTS];

	for (unsigned int i = 0; i < CLIENTS; i++) {
		clients[i] = fork();
		TEST_REQUIRE(clients[i] >= 0, "fork: %m");
		if (clients[i])
			continue;
		for (unsigned int j = 0; j < REQUESTS / CLIENTS; j++)
			linux_fetch(LINUX_PAGE);
		_exit(0);
	}
	for (unsigned int i = 0; i < CLIENTS; i++)
		TEST_REQUIRE(!process_wait(clients[i]), "a client has failed");
}

static void workers(struct monitor *monitor)
{
	unsigned int rounds = bench_rounds(ROUNDS), nr = 1;

	for (unsigned int want = 1; want <= WORKERS_MAX; want *= 2) {
		struct point point = { "http-workers", "ukrun, 4 clients", "workers", want };
		struct series *series = series_create(rounds + 1);
		struct lap lap;

		for (; nr < want; nr++)
			linux_ask(monitor, 'f');
		usleep(SETTLE_US);
		for (unsigned int i = 0; i <= rounds; i++) {
			lap_start(&lap);
			ask_for_pages();
			series_add(series, lap_stop_per(&lap, REQUESTS / CLIENTS * CLIENTS));
		}
		result_series(&point, "/request", series, 1);
		series_destroy(series);
	}
}

static void measure(enum linux_host host)
{
	struct monitor monitor;

	boots(host);
	linux_prepare();
	linux_boot(&monitor, host, true);
	linux_ask(&monitor, 's');
	disk(&monitor, host, 'r', LINUX_DISK_MIB, "read, 64 KiB at once");
	disk(&monitor, host, 'R', LINUX_SMALL_MIB, "read, 4 KiB at once");
	disk(&monitor, host, 'w', LINUX_DISK_MIB, "write, 64 KiB at once");
	disk(&monitor, host, 'W', LINUX_SMALL_MIB, "write, 4 KiB at once");
	pages(host, LINUX_PAGE, REQUESTS, REQUESTS, "a small page", "/request");
	pages(host, LINUX_LARGE, 1, LINUX_LARGE_MIB, "a large page", "/MiB");
	if (host == LINUX_UKRUN)
		workers(&monitor);
	monitor_end(&monitor);
}

static void run(void)
{
	for (enum linux_host host = LINUX_UKRUN; host <= LINUX_QEMU; host++) {
		struct point point = { "linux-boot", names[host], NULL, 0 };

		if (linux_is_there(host))
			measure(host);
		else
			result_skip(&point, "it is not there");
	}
}

const struct benchmark bench_devices = {
	.name = "devices",
	.title = "Linux with a disk and a network, by ukrun and by QEMU",
	.run = run,
};
