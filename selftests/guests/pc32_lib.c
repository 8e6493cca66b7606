// SPDX-License-Identifier: GPL-2.0-only
/* What pc32 says, is told, and waits for. */
#include "pc32.h"

#define PATIENCE		2000000

unsigned int failures;
const char *cmdline = "";

void put(const char *s)
{
	for (; *s; s++) {
		while (!(inb(COM1 + 5) & 0x20))
			;
		outb(COM1, (uint8_t)*s);
	}
}

static void put_hex(uint32_t v)
{
	char s[] = "0x00000000";

	for (unsigned int i = 0; i < 8; i++)
		s[9 - i] = "0123456789abcdef"[v >> 4 * i & 15];
	put(s);
}

bool check(bool ok, const char *what, uint32_t v)
{
	if (!ok) {
		failures++;
		put("pc32: FAIL: ");
		put(what);
		put(": got ");
		put_hex(v);
		put("\n");
	}
	return ok;
}

const char *arg(const char *name)
{
	const char *s, *a, *n;

	for (s = cmdline; *s; s++) {
		if (s != cmdline && s[-1] != ' ')
			continue;
		for (a = s, n = name; *n && *a == *n; a++, n++)
			;
		if (!*n)
			return a;
	}
	return 0;
}

uint32_t arg_number(const char *name)
{
	const char *s = arg(name);
	uint32_t n = 0;

	for (; s && *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (uint32_t)(*s - '0');
	return n;
}

void wait_for(volatile uint32_t *count, uint32_t want)
{
	for (uint32_t i = 0; i < PATIENCE && *count < want; i++)
		asm volatile("pause");
}
