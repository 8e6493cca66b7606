// SPDX-License-Identifier: GPL-2.0-only
/*
 * Input from COM1, one interrupt (IRQ4, through the 8259) at a time; the vCPU
 * sleeps between them. Echoes each line; `quit` ends. Output goes by transmit
 * interrupts while a line is echoed.
 *
 *	fork	forks at the line `fork`; both say who they are, and the parent
 *		goes on reading
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define COM1		0x3f8
#define IER		(COM1 + 1)
#define IIR		(COM1 + 2)
#define LSR		(COM1 + 5)
#define IER_RDI		0x01
#define IER_THRI	0x02
#define IIR_NONE	0x01
#define IIR_THRI	0x02
#define IIR_RDI		0x04
#define IIR_TIMEOUT	0x0c
#define LSR_DR		0x01
#define LINE_MAX	128
#define RING_SIZE	1024

#define VECTOR_BASE	0x20
#define IRQ_COM1	4

const char guest_name[] = "serial";

static char line[LINE_MAX + 1];
static unsigned int len;
/* What has come and was not looked at: filled by interrupts. */
static char ring[RING_SIZE];
static unsigned int ring_in, ring_out;
static unsigned int rx_irqs, tx_irqs, spurious;

static const char *tx;

static void receive(void)
{
	while (inb(LSR) & LSR_DR) {
		char c = (char)inb(COM1);

		if (ring_in - ring_out < RING_SIZE)
			ring[ring_in++ % RING_SIZE] = c;
		else
			check(false, "more input than room");
	}
}

static void transmit(void)
{
	if (tx && *tx) {
		outb(COM1, (uint8_t)*tx++);
		return;
	}
	WRITE_ONCE(tx, NULL);
	outb(IER, IER_RDI);
}

static void handle_com1(struct trap_frame *frame)
{
	unsigned int seen = 0;
	uint8_t iir;

	(void)frame;
	while (!((iir = inb(IIR)) & IIR_NONE)) {
		seen++;
		switch (iir & 0x0e) {
		case IIR_RDI:
		case IIR_TIMEOUT:
			rx_irqs++;
			receive();
			break;
		case IIR_THRI:
			tx_irqs++;
			transmit();
			break;
		default:
			check(false, "IIR 0x%x", iir);
			inb(LSR);
			inb(COM1 + 6);
		}
	}
	if (!seen)
		spurious++;
	pic_eoi(IRQ_COM1);
}

static void send(const char *s)
{
	WRITE_ONCE(tx, s);
	outb(IER, IER_RDI | IER_THRI);
	while (READ_ONCE(tx))
		irq_enable_halt();
}

/* Sleeps until a whole line is there. */
static void get_line(void)
{
	char c;

	for (len = 0;;) {
		while (READ_ONCE(ring_in) == ring_out)
			irq_enable_halt();
		c = ring[ring_out++ % RING_SIZE];
		if (c == '\n')
			return;
		if (c != '\r' && len < LINE_MAX)
			line[len++] = c;
	}
}

static bool handle_line(void)
{
	static char text[LINE_MAX + 16];
	char *p = text;
	long id;

	for (const char *s = "echo: "; *s; s++)
		*p++ = *s;
	for (unsigned int i = 0; i < len; i++)
		*p++ = line[i];
	*p++ = '\n';
	*p = 0;
	send(text);
	if (len == 4 && !memcmp(line, "fork", 4)) {
		id = guest_fork();
		check(id >= 0, "fork returned %ld", id);
		say("%s", id ? "parent" : "child");
		if (!id)
			guest_end();
		guest_expect(id, 0);
	}
	return len == 4 && !memcmp(line, "quit", 4);
}

void guest_main(void)
{
	bool quit = false;

	pic_init(VECTOR_BASE);
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_LVT0, 0x700);
	trap_set(VECTOR_BASE + IRQ_COM1, handle_com1);
	pic_mask((uint16_t)~(1 << IRQ_COM1));
	say("ready");
	outb(IER, IER_RDI);
	while (!quit) {
		get_line();
		quit = handle_line();
	}
	say("%u receive and %u transmit interrupts, %u with no reason", rx_irqs,
	    tx_irqs, spurious);
	check(rx_irqs > 0, "no receive interrupt");
	check(tx_irqs > 0, "no transmit interrupt");
	check(!arg_flag("break"), "told to break");
}
