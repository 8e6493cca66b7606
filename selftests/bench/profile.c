// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "profile.h"
#include "util.h"

/* No multiple of anything, so that no place in a loop is preferred. In ns. */
#define PERIOD		10007
#define RING_PAGES	1024	/* a power of 2, and one more */
#define LINES		40
#define SYMBOLS_MAX	400000
#define NAME_LENGTH	64

struct symbol {
	uint64_t address;
	char name[NAME_LENGTH];
	unsigned long seen;
};

/* perf_event_open(2): PERF_RECORD_SAMPLE, with what is asked for; PERF_RECORD_LOST. */
struct record {
	struct perf_event_header header;
	union {
		struct {
			uint64_t ip;
			uint32_t pid, tid;
		};
		struct {
			uint64_t id;
			uint64_t lost;
		};
	};
};

static int event = -1;
static pid_t owner;			/* forked processes do not have the ring */
static struct perf_event_mmap_page *ring;
static struct symbol *symbols;		/* by rising address; [0] is user space */
static size_t nr_symbols;
static unsigned long nr_seen, nr_lost;

static int by_address(const void *a, const void *b)
{
	const struct symbol *left = a, *right = b;

	return (left->address > right->address) - (left->address < right->address);
}

static int by_seen(const void *a, const void *b)
{
	const struct symbol *left = *(struct symbol *const *)a, *right = *(struct symbol *const *)b;

	return (right->seen > left->seen) - (right->seen < left->seen);
}

static void read_symbols(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512], module[64];

	TEST_REQUIRE(file, "/proc/kallsyms: %m");
	symbols = calloc(SYMBOLS_MAX, sizeof(*symbols));
	TEST_REQUIRE(symbols, "no memory for symbols");
	strcpy(symbols[nr_symbols++].name, "(user space)");
	while (fgets(line, sizeof(line), file)) {
		struct symbol *symbol = &symbols[nr_symbols];
		char type;

		*module = 0;
		if (sscanf(line, "%" SCNx64 " %c %63s %63s", &symbol->address, &type,
			   symbol->name, module) < 3 || !strchr("tTwW", type))
			continue;
		if (*module && strlen(symbol->name) + strlen(module) + 2 < NAME_LENGTH)
			strcat(strcat(symbol->name, " "), module);
		TEST_REQUIRE(++nr_symbols < SYMBOLS_MAX, "too many symbols");
	}
	fclose(file);
	qsort(symbols, nr_symbols, sizeof(*symbols), by_address);
}

/* Of the whole machine: what is measured may be in several processes. */
void profile_open(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.sample_period = PERIOD,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID,
		.disabled = 1,
	};

	TEST_REQUIRE(sysconf(_SC_NPROCESSORS_ONLN) == 1, "a profile wants a machine with one CPU");
	owner = getpid();
	event = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	TEST_REQUIRE(event >= 0, "perf_event_open: %m");
	ring = mmap(NULL, (RING_PAGES + 1) * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, event,
		    0);
	TEST_REQUIRE(ring != MAP_FAILED, "mapping the event's ring: %m");
	read_symbols();
}

static struct symbol *find(uint64_t address)
{
	size_t low = 0, high = nr_symbols;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (symbols[middle].address <= address)
			low = middle;
		else
			high = middle;
	}
	return &symbols[low];
}

/* Nothing of what the idle task does is work. */
static void look_at(const struct record *record)
{
	if (record->header.type == PERF_RECORD_LOST)
		nr_lost += record->lost;
	if (record->header.type != PERF_RECORD_SAMPLE || !record->pid)
		return;
	nr_seen++;
	find(record->ip)->seen++;
}

/* A record may go over the end of the ring. */
static void drain(void)
{
	const char *data = (const char *)ring + PAGE_SIZE;
	const uint64_t size = RING_PAGES * (uint64_t)PAGE_SIZE;
	uint64_t head = __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = ring->data_tail;

	while (tail < head) {
		struct record record;

		for (size_t i = 0; i < sizeof(record); i++)
			((char *)&record)[i] = data[(tail + i) % size];
		look_at(&record);
		tail += record.header.size;
	}
	__atomic_store_n(&ring->data_tail, tail, __ATOMIC_RELEASE);
}

void profile_start(void)
{
	if (event >= 0)
		ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
}

void profile_stop(void)
{
	if (event < 0)
		return;
	ioctl(event, PERF_EVENT_IOC_DISABLE, 0);
	if (getpid() == owner)
		drain();
}

void profile_forget(void)
{
	if (event >= 0)
		drain();
	for (size_t i = 0; i < nr_symbols; i++)
		symbols[i].seen = 0;
	nr_seen = 0;
	nr_lost = 0;
}

/* How it is shared out: the modules that this is about, and all else. */
static void report_modules(double total)
{
	static const char *const modules[] = {
		" [kvm]", " [kvm_amd]", " [kvm_intel]", " [kvmfork]",
	};
	unsigned long seen[ARRAY_LENGTH(modules)] = { }, user = symbols[0].seen, other = 0;

	for (size_t i = 1; i < nr_symbols; i++) {
		const char *module = strchr(symbols[i].name, ' ');
		size_t j = 0;

		while (module && j < ARRAY_LENGTH(modules) && strcmp(module, modules[j]))
			j++;
		if (module && j < ARRAY_LENGTH(modules))
			seen[j] += symbols[i].seen;
		else
			other += symbols[i].seen;
	}
	fprintf(stderr, "  kernel %.2f, user space %.2f", total * other / nr_seen,
		total * user / nr_seen);
	for (size_t j = 0; j < ARRAY_LENGTH(modules); j++)
		if (seen[j])
			fprintf(stderr, ",%s %.2f", modules[j], total * seen[j] / nr_seen);
	fprintf(stderr, "\n");
}

void profile_report(double total, const char *unit)
{
	struct symbol **sorted;

	if (event < 0)
		return;
	drain();
	if (!nr_seen)
		return;
	sorted = calloc(nr_symbols, sizeof(struct symbol *));
	TEST_REQUIRE(sorted, "no memory to sort symbols");
	for (size_t i = 0; i < nr_symbols; i++)
		sorted[i] = &symbols[i];
	qsort(sorted, nr_symbols, sizeof(*sorted), by_seen);
	fprintf(stderr, "  %lu looks, %lu lost; of %.4g %s:\n", nr_seen, nr_lost, total, unit);
	report_modules(total);
	for (int i = 0; i < LINES && sorted[i]->seen; i++)
		fprintf(stderr, "  %9.2f  %s\n", total * sorted[i]->seen / nr_seen, sorted[i]->name);
	free(sorted);
	profile_forget();
}
