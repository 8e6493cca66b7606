/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a port of a device leads to, -chardev. */
#ifndef UKRUN_CHARDEV_H
#define UKRUN_CHARDEV_H

struct console;
struct vm;

/* That of -chardev id=@id, which must be nobody else's. Dies when it is no good. */
struct console *chardev_open(struct vm *vm, const char *id);

#endif
