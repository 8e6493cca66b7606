/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For guests that are entered as somebody else's kernels are, with nothing of guest.h
 * below them: of 32 or 64 bits. They have one CPU, and paging or not.
 */
#ifndef _BARE_H
#define _BARE_H

#include <stdbool.h>

/* The guest's. */
extern const char guest_name[];
void put(const char *s);	/* on COM1: lib/bare_serial.c */

/* What it was told; set it before anything else. */
extern const char *cmdline;

/* So many checks have failed. */
extern unsigned int failures;

void put_hex(unsigned long v);

/* Says what failed, and counts. Returns @ok. */
bool check(bool ok, const char *what, unsigned long v);

/* The text after @name in the command line, or NULL. */
const char *arg(const char *name);
/* A number there, of digits and a to f; 0: there is none. */
unsigned long arg_number(const char *name, unsigned int base);

#endif
