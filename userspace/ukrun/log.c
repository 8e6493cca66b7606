// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "vm.h"

void log_open(void)
{
	int fd;

	/* Else the next file opened would be the guest's console. */
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static void line_write(const char *prefix, const char *suffix, const char *fmt, va_list ap)
{
	char line[1024];
	size_t used;

	used = snprintf(line, sizeof(line), "ukrun: %s", prefix);
	vsnprintf(line + used, sizeof(line) - used, fmt, ap);
	used = strlen(line);
	snprintf(line + used, sizeof(line) - used, "%s", suffix);
	used = strlen(line);
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_write("", "", fmt, ap);
	va_end(ap);
	exit(STATUS_UKRUN_FAILED);
}

void die_errno(const char *fmt, ...)
{
	char suffix[128];
	va_list ap;

	snprintf(suffix, sizeof(suffix), ": %s", strerror(errno));
	va_start(ap, fmt);
	line_write("", suffix, fmt, ap);
	va_end(ap);
	exit(STATUS_UKRUN_FAILED);
}

static void vm_line(const struct vm *vm, const char *fmt, va_list ap)
{
	char prefix[32] = "";

	if (vm->parent_id || vm->config.verbose)
		snprintf(prefix, sizeof(prefix), "vm %llu: ", (unsigned long long)vm->id);
	line_write(prefix, "", fmt, ap);
}

void vm_warn(const struct vm *vm, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vm_line(vm, fmt, ap);
	va_end(ap);
}

void vm_log(const struct vm *vm, const char *fmt, ...)
{
	va_list ap;

	if (!vm->config.verbose)
		return;
	va_start(ap, fmt);
	vm_line(vm, fmt, ap);
	va_end(ap);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("out of memory on the host");
	return p;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		die("out of memory on the host");
	va_end(ap);
	return s;
}
