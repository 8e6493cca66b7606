// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the benchmarks of ukrun run, and of QEMU: a multiboot 1 kernel of 32 bits
 * that does what it is told by letters on COM1. It writes into all of its memory
 * first, a word in each page.
 *
 *	f	fork. The child leaves to the host once, and says how many cycles of
 *		the TSC after the fork it is back; then it ends
 *	k	the same; the child is kept, and idle
 *	p	say how many cycles after the last fork the parent went on
 *	t	write the letter t, again and again, for ever
 */
#include <stdint.h>

#include "x86.h"

#define MULTIBOOT_LOADED	0x2badb002
#define MBI_MEMORY		(1U << 0)

#define COM1			0x3f8
#define COM1_IRQ		4
#define IER_DATA		1
#define MCR_OUT2		8
#define LSR_DATA		1
#define LSR_EMPTY		0x20
#define PIC			0x20
#define PIC2			0xa0
#define PIC_EOI			0x20
#define PIC_VECTOR		0x20
/* Where nothing answers. */
#define NO_PORT			0x80
#define EXIT_PORT		0xf4

/* The child ends later than somebody has read what it said. */
#define CHILD_CYCLES		5000000
#define TICK_CYCLES		100000

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower;
	uint32_t mem_upper;
};

struct gate {
	uint16_t low, selector, type, high;
};

void tick_main(uint32_t eax, const struct multiboot_info *mbi, uint32_t cs);
void tick_interrupt(void);
uint32_t tick_fork(void);

extern char bss_end[];

static struct gate idt[PIC_VECTOR + 16];

static void put(char c)
{
	while (!(inb(COM1 + 5) & LSR_EMPTY))
		;
	outb(COM1, (uint8_t)c);
}

static void say(const char *what)
{
	for (; *what; what++)
		put(*what);
	put('\n');
}

static void say_number(char what, uint32_t n)
{
	char digits[12], *s = &digits[sizeof(digits) - 1];

	*s = '\0';
	do {
		*--s = (char)('0' + n % 10);
	} while (n /= 10);
	put(what);
	put(' ');
	say(s);
}

static void spin(uint64_t cycles)
{
	uint64_t start = rdtsc();

	while (rdtsc() - start < cycles)
		asm volatile("pause");
}

/* A letter wakes the guest up: it waits in hlt, so that an idle one is idle. */
static void interrupts_init(uint32_t cs)
{
	static struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) idtr;
	uint32_t at = (uint32_t)tick_interrupt;

	idt[PIC_VECTOR + COM1_IRQ] = (struct gate) {
		.low = (uint16_t)at, .high = (uint16_t)(at >> 16),
		.selector = (uint16_t)cs, .type = 0x8e00,
	};
	idtr.limit = sizeof(idt) - 1;
	idtr.base = (uint32_t)idt;
	asm volatile("lidt %0" : : "m"(idtr));

	outb(PIC, 0x11);
	outb(PIC2, 0x11);
	outb(PIC + 1, PIC_VECTOR);
	outb(PIC2 + 1, PIC_VECTOR + 8);
	outb(PIC + 1, 4);
	outb(PIC2 + 1, 2);
	outb(PIC + 1, 1);
	outb(PIC2 + 1, 1);
	outb(PIC + 1, (uint8_t)~(1 << COM1_IRQ));
	outb(PIC2 + 1, 0xff);

	outb(COM1 + 4, MCR_OUT2);
	outb(COM1 + 1, IER_DATA);
}

static char next_letter(void)
{
	while (!(inb(COM1 + 5) & LSR_DATA)) {
		asm volatile("sti; hlt; cli" : : : "memory");
		outb(PIC, PIC_EOI);
	}
	return (char)inb(COM1);
}

/* The parent has something to say when the child has no use for the CPU. */
static uint32_t fork(int keep)
{
	uint64_t start = rdtsc();

	if (tick_fork())
		return (uint32_t)(rdtsc() - start);
	outb(NO_PORT, 0);
	say_number('c', (uint32_t)(rdtsc() - start));
	while (keep)
		asm volatile("cli; hlt");
	spin(CHILD_CYCLES);
	for (;;)
		outb(EXIT_PORT, 0);
}

static void write_pages(uint32_t end)
{
	uint32_t page = ((uint32_t)bss_end + 4095) & ~4095U;

	for (; page < end; page += 4096)
		*(volatile uint32_t *)page = page;
}

void tick_main(uint32_t eax, const struct multiboot_info *mbi, uint32_t cs)
{
	uint32_t cycles = 0;

	say("begin");
	if (eax != MULTIBOOT_LOADED || !(mbi->flags & MBI_MEMORY)) {
		say("not booted by multiboot");
		return;
	}
	write_pages((mbi->mem_upper + 1024) << 10);
	interrupts_init(cs);
	say("ready");
	for (;;) {
		switch (next_letter()) {
		case 'f':
			cycles = fork(0);
			break;
		case 'k':
			cycles = fork(1);
			break;
		case 'p':
			say_number('p', cycles);
			break;
		case 't':
			for (;;) {
				put('t');
				spin(TICK_CYCLES);
			}
		}
	}
}
