// SPDX-License-Identifier: GPL-2.0-only
/*
 * The power button of ACPI: pressed by somebody outside, it interrupts, once.
 * `break`: waits for no button.
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define PM1_STATUS	0x600
#define PM1_ENABLE	0x602
#define PM1_CONTROL	0x604
#define PM1_BUTTON	(1 << 8)
#define VECTOR_BASE	0x20
#define IRQ_SCI		9

const char guest_name[] = "button";

static volatile unsigned int irqs;
static uint16_t status;

static void handle_sci(struct trap_frame *frame)
{
	(void)frame;
	irqs++;
	status = inw(PM1_STATUS);
	outw(PM1_STATUS, status);
	pic_eoi(IRQ_SCI);
}

void guest_main(void)
{
	pic_init(VECTOR_BASE);
	/* The line is one of levels: ELCR, for the second 8259. */
	outb(0x4d1, 1 << (IRQ_SCI - 8));
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_LVT0, 0x700);
	trap_set(VECTOR_BASE + IRQ_SCI, handle_sci);
	pic_mask((uint16_t)~(1U << IRQ_SCI | 1U << 2));
	check_eq("status at first", inw(PM1_STATUS), 0);
	outw(PM1_ENABLE, PM1_BUTTON);
	check_eq("what is enabled", inw(PM1_ENABLE), PM1_BUTTON);
	say("ready");
	while (!irqs && !arg_flag("break"))
		irq_enable_halt();
	delay_ms(20);
	check_eq("interrupts", irqs, 1);
	check_eq("status in the interrupt", status, PM1_BUTTON);
	check_eq("status afterwards", inw(PM1_STATUS), 0);
	if (guest_failures)
		guest_end();
	say("switches off");
	outw(PM1_CONTROL, 0x2000);
}
