// SPDX-License-Identifier: GPL-2.0-only
/* COM1, polled, and a small printf. */
#include "guest.h"
#include "x86.h"

#include <stdarg.h>

#define COM1		0x3f8
#define COM_FCR		(COM1 + 2)
#define COM_LCR		(COM1 + 3)
#define COM_MCR		(COM1 + 4)
#define COM_LSR		(COM1 + 5)
#define LSR_THRE	0x20
#define FIFO_SIZE	16

static struct spinlock lock;
static unsigned int room;

void vprintf(const char *fmt, va_list args);
void console_init(void);
void console_lock(void);
void console_unlock(void);

void console_init(void)
{
	outb(COM_LCR, 0x80);
	outb(COM1, 1);
	outb(COM1 + 1, 0);
	outb(COM_LCR, 0x03);
	outb(COM_FCR, 0x07);
	/* OUT2 lets the UART's interrupt through to the PIC. */
	outb(COM_MCR, 0x0b);
}

void console_lock(void)
{
	spin_lock(&lock);
}

void console_unlock(void)
{
	spin_unlock(&lock);
}

/* Asks for room once in a FIFO, since each port access is an exit. */
void putchar_raw(char c)
{
	if (!room) {
		while (!(inb(COM_LSR) & LSR_THRE))
			cpu_pause();
		room = FIFO_SIZE;
	}
	room--;
	outb(COM1, (uint8_t)c);
}

static void put_number(uint64_t v, unsigned int base, bool minus, int width,
		       char pad)
{
	char digits[24];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (minus && pad == '0')
		putchar_raw('-');
	for (int i = n + minus; i < width; i++)
		putchar_raw(pad);
	if (minus && pad != '0')
		putchar_raw('-');
	while (n)
		putchar_raw(digits[--n]);
}

/* %c %s %d %u %x with widths, zero padding, l and ll. */
void vprintf(const char *fmt, va_list args)
{
	for (; *fmt; fmt++) {
		bool is_long = false;
		char pad = ' ';
		int width = 0;
		int64_t v;

		if (*fmt != '%') {
			putchar_raw(*fmt);
			continue;
		}
		if (*++fmt == '0')
			pad = *fmt++;
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + *fmt - '0';
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			is_long = true;
		switch (*fmt) {
		case 'c':
			putchar_raw((char)va_arg(args, int));
			break;
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				putchar_raw(*s);
			break;
		case 'd':
			v = is_long ? va_arg(args, long) : va_arg(args, int);
			put_number((uint64_t)(v < 0 ? -v : v), 10, v < 0, width,
				   pad);
			break;
		case 'u':
		case 'x':
			put_number(is_long ? va_arg(args, unsigned long) :
					     va_arg(args, unsigned int),
				   *fmt == 'x' ? 16 : 10, false, width, pad);
			break;
		default:
			putchar_raw(*fmt);
		}
	}
}

void printf(const char *fmt, ...)
{
	va_list args;

	console_lock();
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	console_unlock();
}
