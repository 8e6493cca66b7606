// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM that is alone writes what the guest writes, at once. Since the first
 * fork each line goes out whole, in one write and with "[vm ID] " before it.
 * An unfinished line (a prompt) is shown when its VM has been silent for a
 * while; it goes on behind it, another VM begins a new line first.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "console.h"
#include "helper.h"
#include "log.h"
#include "option.h"
#include "vm.h"

static void console_option_serial(struct vm *vm, const char *arg)
{
	struct console *console = &vm->console;

	if (!strcmp(arg, "stdio"))
		console->kind = CONSOLE_STDIO;
	else if (!strcmp(arg, "null") || !strcmp(arg, "none"))
		console->kind = CONSOLE_NULL;
	else if (!strncmp(arg, "file:", 5) && arg[5])
		console->kind = CONSOLE_FILE;
	else
		die("-serial %s: stdio, file:PATH or null", arg);
	console->path = console->kind == CONSOLE_FILE ? arg + 5 : NULL;
	console->chosen = true;
}

DECLARE_OPTION(serial, {
	.name = "serial",
	.arg = "TO",
	.help = "COM1: stdio, null, or file:PATH; child VMs write to PATH.ID (stdio)",
	.handle = console_option_serial,
});

static int console_open_file(const char *path, int flags)
{
	flags |= O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY;
	return open(path, flags, 0666);
}

/*
 * By the helper, which has rights and must not wait: not where a link leads that a guest
 * may have made, nor until somebody reads a FIFO.
 */
static int console_open_child(void *arg, uint64_t id)
{
	const struct console *console = arg;
	char *path = xasprintf("%s.%llu", console->path, (unsigned long long)id);
	int fd = console_open_file(path, O_NONBLOCK | O_NOFOLLOW);

	free(path);
	if (fd < 0)
		return -errno;
	fcntl(fd, F_SETFL, O_APPEND);
	return fd;
}

static int console_open_first(struct console *console)
{
	console->offer = helper_offer(console_open_child, console);
	return console_open_file(console->path, 0);
}

void console_open(struct vm *vm)
{
	struct console *console = &vm->console;

	pthread_mutex_init(&console->lock, NULL);
	console->fd = console->kind == CONSOLE_STDIO ? STDOUT_FILENO : -1;
	if (console->kind == CONSOLE_FILE) {
		console->fd = console_open_first(console);
		if (console->fd < 0)
			die_errno("-serial file:%s", console->path);
	}
}

struct console *console_create(const char *path)
{
	struct console *console = xcalloc(1, sizeof(*console));

	pthread_mutex_init(&console->lock, NULL);
	console->kind = path ? CONSOLE_FILE : CONSOLE_NULL;
	console->path = path;
	console->fd = path ? console_open_first(console) : -1;
	if (path && console->fd < 0)
		die_errno("-chardev file,path=%s", path);
	return console;
}

bool console_is_ready(const struct console *console)
{
	struct pollfd pollfd = { .fd = console->fd, .events = POLLOUT };

	return console->fd < 0 || poll(&pollfd, 1, 0) == 1;
}

void console_forked(struct vm *vm, struct console *console)
{
	pthread_mutex_init(&console->lock, NULL);
	console->used = 0;
	console->room = NULL;	/* input is the first VM's */
	if (console->kind != CONSOLE_FILE)
		return;
	close(console->fd);
	console->fd = helper_open(vm, console->offer);
	if (console->fd < 0)
		vm_warn(vm, "%s.%llu: %s: the output of this VM is lost", console->path,
			(unsigned long long)vm->id, strerror(-console->fd));
}

/* All of it, also to a pipe that is full or set to non-blocking by others. */
static void console_put(struct console *console, struct iovec *iov, int n)
{
	struct pollfd pollfd = { .fd = console->fd, .events = POLLOUT };
	ssize_t done;

	while (n && console->fd >= 0) {
		done = writev(console->fd, iov, n);
		if (done < 0 && errno == EAGAIN)
			poll(&pollfd, 1, -1);
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			return;
		while (done > 0 && n) {
			size_t part = (size_t)done < iov->iov_len ? (size_t)done : iov->iov_len;

			iov->iov_base = (char *)iov->iov_base + part;
			iov->iov_len -= part;
			done -= part;
			if (!iov->iov_len) {
				iov++;
				n--;
			}
		}
	}
}

/* Write out the collected line or part of one. Lets go of the family's lock. */
static void console_put_line(struct vm *vm, struct console *console)
{
	struct family_shared *shared = vm->family.shared;
	uint64_t open_line;
	struct iovec iov[3];
	char prefix[40];
	int n = 0;

	open_line = shared->open_line;
	if (open_line && open_line != vm->id)
		iov[n++] = (struct iovec){ "\n", 1 };
	if (open_line != vm->id) {
		snprintf(prefix, sizeof(prefix), "[vm %llu] ", (unsigned long long)vm->id);
		iov[n++] = (struct iovec){ prefix, strlen(prefix) };
	}
	iov[n++] = (struct iovec){ console->line, console->used };
	shared->open_line = console->line[console->used - 1] == '\n' ? 0 : vm->id;
	console_put(console, iov, n);
	family_unlock_output(vm);
	console->used = 0;
}

static void console_write_lines(struct vm *vm, struct console *console, const char *text,
				size_t size)
{
	bool waited = console->used;

	for (; size; text++, size--) {
		console->line[console->used++] = *text;
		if (*text != '\n' && console->used != sizeof(console->line))
			continue;
		family_lock_output(vm);
		console_put_line(vm, console);
	}
	console->grown = true;
	if (console->used && !waited)
		loop_wake(vm);
}

void console_write(struct vm *vm, struct console *console, const void *text, size_t size)
{
	struct iovec iov = { (void *)text, size };

	if (console->kind == CONSOLE_NULL || !size)
		return;
	pthread_mutex_lock(&console->lock);
	if (console->kind == CONSOLE_STDIO && vm->family.shared->several) {
		console_write_lines(vm, console, text, size);
	} else {
		console_put(console, &iov, 1);
		if (console->kind == CONSOLE_STDIO)
			vm->family.shared->open_line = ((const char *)text)[size - 1] == '\n' ?
						       0 : vm->id;
	}
	pthread_mutex_unlock(&console->lock);
}

bool console_waits(struct vm *vm)
{
	return vm->console.used;
}

/* True when nothing is left to do. */
static bool console_try_flush(struct vm *vm, bool stale)
{
	struct pollfd pollfd = { .fd = vm->console.fd, .events = POLLOUT };
	struct console *console = &vm->console;
	bool done;

	if (poll(&pollfd, 1, 0) != 1 || pthread_mutex_trylock(&console->lock))
		return !console->used;
	if (console->used && !(stale && console->grown) && family_try_lock_output(vm))
		console_put_line(vm, console);
	console->grown = false;
	done = !console->used;
	pthread_mutex_unlock(&console->lock);
	return done;
}

void console_flush_stale(struct vm *vm)
{
	console_try_flush(vm, true);
}

void console_flush(struct vm *vm)
{
	int tries;

	for (tries = CONSOLE_FLUSH_MS; tries && !console_try_flush(vm, false); tries--)
		usleep(1000);
}
