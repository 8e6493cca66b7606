/* SPDX-License-Identifier: GPL-2.0-only */
/* Input of the first VM: stdin, in raw mode when it is our terminal. */
#ifndef UKRUN_TTY_H
#define UKRUN_TTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

struct vm;

struct tty {
	bool open;	/* there may be input */
	bool raw;	/* @saved is to be put back */
	bool escaped;	/* Ctrl-A was the last key */
	struct termios saved;
	/* Read, and not yet taken by the guest. */
	uint8_t queue[256];
	size_t queued;
};

void tty_open(struct vm *vm);
/* Give the guest what it has room for. Returns the events to wait for on stdin. */
short tty_events(struct vm *vm);
void tty_read(struct vm *vm);
void tty_restore(struct vm *vm);

#endif
