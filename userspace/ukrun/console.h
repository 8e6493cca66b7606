/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the text of the guest goes (-serial, -chardev), and how that of several
 * VMs on one terminal is told apart.
 */
#ifndef UKRUN_CONSOLE_H
#define UKRUN_CONSOLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

enum console_kind {
	CONSOLE_STDIO,
	CONSOLE_FILE,
	CONSOLE_NULL,
};

struct console {
	enum console_kind kind;
	bool chosen;	/* by an option */
	const char *path;
	int fd;
	unsigned int offer;	/* of the helper: a child's file */
	/* Held while writing, which may take for ever: not by the main thread. */
	pthread_mutex_t lock;
	/* The unfinished line, when there are several VMs. */
	char line[1024];
	atomic_size_t used;
	bool grown;	/* since console_flush_stale() last looked */
	/* Who takes input, and how many bytes just now. */
	void (*receive)(void *dev, uint8_t byte);
	void (*receive_break)(void *dev);
	size_t (*room)(void *dev);
	void *dev;
};

/*
 * How long an unfinished line may wait for its end: a prompt to somebody who
 * types, and what is only a guest that the host has no time for.
 */
#define CONSOLE_FLUSH_TTY_MS	50
#define CONSOLE_FLUSH_MS	1000

/* That of -serial, vm->console, which alone may be the terminal. */
void console_open(struct vm *vm);
/* Another: a file, or, without @path, nowhere. Dies when it cannot be opened. */
struct console *console_create(const char *path);
/* From any thread. */
void console_write(struct vm *vm, struct console *console, const void *text, size_t size);
/* Would it take CONSOLE_PIECE bytes, unless others are quicker, without a wait for who reads? */
#define CONSOLE_PIECE	1024
bool console_is_ready(const struct console *console);
/* Does an unfinished line wait? */
bool console_waits(struct vm *vm);
/* Write it if it has not grown since the last call and nobody is in the way. */
void console_flush_stale(struct vm *vm);
/* Write it, unless that does not work out for CONSOLE_FLUSH_MS. */
void console_flush(struct vm *vm);
/* In a child: own file, empty line. */
void console_forked(struct vm *vm, struct console *console);

#endif
