// SPDX-License-Identifier: GPL-2.0-only
#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "profile.h"
#include "result.h"
#include "util.h"

#define MAX_RESULTS	1024
#define NAME_LENGTH	48
#define TEXT_LENGTH	128

struct result {
	char benchmark[NAME_LENGTH];
	char variant[NAME_LENGTH];
	char x_name[NAME_LENGTH];
	char unit[NAME_LENGTH];
	char skipped[TEXT_LENGTH];	/* why; empty: it was not */
	double x;
	unsigned int rounds;		/* 0: a single figure, worked.median */
	struct summary worked;
	struct summary asleep;
};

static struct {
	unsigned int nr;
	char time_unit[NAME_LENGTH];
	struct result list[MAX_RESULTS];
} *results;

/* Text that needs no escaping in JSON. */
static void __attribute__((format(printf, 3, 4)))
plain(char *to, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(to, size, fmt, args);
	va_end(args);
	for (; *to; to++)
		if (*to == '"' || *to == '\\' || (unsigned char)*to < ' ')
			*to = ' ';
}

void results_init(const char *time_unit)
{
	results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (results == MAP_FAILED)
		err(1, "memory for results");
	plain(results->time_unit, NAME_LENGTH, "%s", time_unit);
}

static struct result *result_new(const struct point *point)
{
	struct result *result = &results->list[results->nr];

	TEST_REQUIRE(results->nr < MAX_RESULTS, "too many results");
	plain(result->benchmark, NAME_LENGTH, "%s", point->benchmark);
	plain(result->variant, NAME_LENGTH, "%s", point->variant);
	plain(result->x_name, NAME_LENGTH, "%s", point->x_name ? point->x_name : "");
	result->x = point->x;
	results->nr++;
	return result;
}

/* As it comes, for whoever looks on. */
static void result_say(const struct result *result)
{
	fprintf(stderr, "%s: %s", result->benchmark, result->variant);
	if (*result->x_name)
		fprintf(stderr, ", %s %g", result->x_name, result->x);
	if (*result->skipped)
		fprintf(stderr, ": skipped: %s\n", result->skipped);
	else if (result->rounds)
		fprintf(stderr, ": %.2f (p99 %.2f) %s, asleep %.2f (p99 %.2f), %u rounds\n",
			result->worked.median, result->worked.p99, result->unit,
			result->asleep.median, result->asleep.p99, result->rounds);
	else
		fprintf(stderr, ": %.2f %s\n", result->worked.median, result->unit);
}

void result_series(const struct point *point, const char *per, const struct series *series,
		   unsigned int first)
{
	struct result *result = result_new(point);

	plain(result->unit, NAME_LENGTH, "%s%s", results->time_unit, per);
	result->rounds = series->nr - first;
	series_summarize(series, first, &result->worked, &result->asleep);
	result_say(result);
	profile_report(result->worked.median, result->unit);
}

void result_value(const struct point *point, const char *unit, double value)
{
	struct result *result = result_new(point);

	plain(result->unit, NAME_LENGTH, "%s", unit);
	result->worked.median = value;
	result_say(result);
}

void result_time(const struct point *point, const char *per, double value)
{
	char unit[NAME_LENGTH];

	plain(unit, NAME_LENGTH, "%s%s", results->time_unit, per);
	result_value(point, unit, value);
}

void result_skip(const struct point *point, const char *why)
{
	struct result *result = result_new(point);

	plain(result->skipped, TEXT_LENGTH, "%s", why);
	result_say(result);
}

static bool result_is(const struct result *result, const struct point *point)
{
	return !strcmp(result->benchmark, point->benchmark) &&
	       !strcmp(result->variant, point->variant) && result->x == point->x &&
	       !*result->skipped;
}

double result_median(const struct point *point)
{
	for (unsigned int i = 0; i < results->nr; i++)
		if (result_is(&results->list[i], point))
			return results->list[i].worked.median;
	return -1;
}

static void result_write(FILE *file, const struct result *result)
{
	fprintf(file, "{\"benchmark\": \"%s\", \"variant\": \"%s\"", result->benchmark,
		result->variant);
	if (*result->x_name)
		fprintf(file, ", \"x_name\": \"%s\", \"x\": %g", result->x_name, result->x);
	if (*result->skipped) {
		fprintf(file, ", \"skipped\": \"%s\"}", result->skipped);
		return;
	}
	fprintf(file, ", \"unit\": \"%s\", \"median\": %.3f", result->unit,
		result->worked.median);
	if (result->rounds) {
		fprintf(file, ", \"p99\": %.3f, \"rounds\": %u", result->worked.p99,
			result->rounds);
		fprintf(file, ", \"asleep_median\": %.3f, \"asleep_p99\": %.3f",
			result->asleep.median, result->asleep.p99);
	}
	fputc('}', file);
}

void results_write(const char *path, const char *machine, bool quick)
{
	FILE *file = fopen(path, "w");
	char text[TEXT_LENGTH];
	struct utsname name;

	if (!file)
		err(1, "%s", path);
	uname(&name);
	plain(text, TEXT_LENGTH, "%s", machine);
	fprintf(file, "{\n\"machine\": \"%s\",\n\"kernel\": \"%s\",\n", text, name.release);
	fprintf(file, "\"memory_mib\": %lld,\n\"quick\": %s,\n\"time_unit\": \"%s\",\n",
		proc_value("/proc/meminfo", "MemTotal") >> 20, quick ? "true" : "false",
		results->time_unit);
	fprintf(file, "\"results\": [");
	for (unsigned int i = 0; i < results->nr; i++) {
		fputs(i ? ",\n" : "\n", file);
		result_write(file, &results->list[i]);
	}
	fprintf(file, "\n]\n}\n");
	if (fclose(file))
		err(1, "%s", path);
}
