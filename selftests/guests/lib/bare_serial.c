// SPDX-License-Identifier: GPL-2.0-only
#include "bare.h"
#include "x86.h"

#define COM1		0x3f8
#define LSR		(COM1 + 5)
#define LSR_THRE	0x20

void put(const char *s)
{
	for (; *s; s++) {
		while (!(inb(LSR) & LSR_THRE))
			;
		outb(COM1, (uint8_t)*s);
	}
}
