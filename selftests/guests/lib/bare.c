// SPDX-License-Identifier: GPL-2.0-only
#include <stddef.h>

#include "bare.h"

const char *cmdline = "";
unsigned int failures;

void put_hex(unsigned long v)
{
	static const char digits[] = "0123456789abcdef";
	char s[2 + 2 * sizeof(v) + 1] = "0x";
	unsigned int n = 2;

	for (int shift = 8 * sizeof(v) - 4; shift >= 0; shift -= 4)
		s[n++] = digits[v >> shift & 15];
	s[n] = '\0';
	put(s);
}

bool check(bool ok, const char *what, unsigned long v)
{
	if (ok)
		return true;
	failures++;
	put(guest_name);
	put(": FAIL: ");
	put(what);
	put(": got ");
	put_hex(v);
	put("\n");
	return false;
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
	return NULL;
}

unsigned long arg_number(const char *name, unsigned int base)
{
	const char *s = arg(name);
	unsigned long n = 0;

	for (; s && *s && *s != ' '; s++)
		n = n * base + (unsigned long)(*s >= 'a' ? *s - 'a' + 10 : *s - '0');
	return n;
}
