// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "tty.h"
#include "vm.h"

void tty_open(struct vm *vm)
{
	struct tty *tty = &vm->tty;
	struct termios raw;

	if (vm->console.kind != CONSOLE_STDIO || !vm->console.room)
		return;
	tty->open = true;
	if (tcgetattr(STDIN_FILENO, &tty->saved))
		return;
	/* In the background the terminal is somebody else's. */
	if (tcgetpgrp(STDIN_FILENO) != getpgrp()) {
		tty->open = false;
		return;
	}
	raw = tty->saved;
	raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
	raw.c_cflag &= ~(CSIZE | PARENB);
	raw.c_cflag |= CS8;
	/* Ctrl-C reaches all VMs, as one process group; the other keys are the guest's. */
	raw.c_lflag |= ISIG;
	raw.c_cc[VQUIT] = _POSIX_VDISABLE;
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tty->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void tty_restore(struct vm *vm)
{
	if (vm->tty.raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &vm->tty.saved);
	vm->tty.raw = false;
}

/* What nobody wants is lost, as on a wire. */
static void tty_queue(struct tty *tty, uint8_t byte)
{
	if (tty->queued < sizeof(tty->queue))
		tty->queue[tty->queued++] = byte;
}

short tty_events(struct vm *vm)
{
	struct console *console = &vm->console;
	struct tty *tty = &vm->tty;
	size_t room, i;

	/* Until there is no room: the device then wakes us when there is. */
	while (tty->queued && (room = console->room(console->dev))) {
		if (room > tty->queued)
			room = tty->queued;
		for (i = 0; i < room; i++)
			console->receive(console->dev, tty->queue[i]);
		tty->queued -= room;
		memmove(tty->queue, tty->queue + room, tty->queued);
	}
	/* The keyboard is read always, because of Ctrl-A. */
	return tty->open && (tty->raw || !tty->queued) ? POLLIN : 0;
}

static void tty_escape(struct vm *vm, uint8_t byte)
{
	struct console *console = &vm->console;

	switch (byte) {
	case 'x':
		family_kill_others(vm, SIGTERM);
		vm_warn(vm, "ended by Ctrl-A x");
		vm_quit(vm);
		break;
	case 'c':
		tty_queue(&vm->tty, CTRL('C'));
		break;
	case 'b':
		console->receive_break(console->dev);
		break;
	case CTRL('A'):
	case 'a':
		tty_queue(&vm->tty, CTRL('A'));
		break;
	}
}

void tty_read(struct vm *vm)
{
	struct tty *tty = &vm->tty;
	uint8_t bytes[64];
	ssize_t n, i;

	n = read(STDIN_FILENO, bytes, sizeof(bytes));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		tty->open = false;
		return;
	}
	for (i = 0; i < n; i++) {
		if (tty->escaped) {
			tty->escaped = false;
			tty_escape(vm, bytes[i]);
		} else if (tty->raw && bytes[i] == CTRL('A')) {
			tty->escaped = true;
		} else {
			tty_queue(tty, bytes[i]);
		}
	}
}
