// SPDX-License-Identifier: GPL-2.0-only
/* Local APIC, I/O APIC, both 8259s, time. */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define LAPIC_BASE	0xfee00000UL
#define IOAPIC_BASE	0xfec00000UL
#define PIC1		0x20
#define PIC2		0xa0

uint32_t lapic_read(unsigned int reg)
{
	return *(volatile uint32_t *)(LAPIC_BASE + reg);
}

void lapic_write(unsigned int reg, uint32_t v)
{
	*(volatile uint32_t *)(LAPIC_BASE + reg) = v;
}

bool lapic_bit(unsigned int map, unsigned int vector)
{
	return lapic_read(map + vector / 32 * 16) >> vector % 32 & 1;
}

void lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}

void lapic_enable(void)
{
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_TPR, 0);
}

void lapic_ipi(unsigned int apic_id, uint32_t command)
{
	lapic_write(LAPIC_ICR2, apic_id << 24);
	lapic_write(LAPIC_ICR, command);
}

uint32_t ioapic_read(unsigned int reg)
{
	*(volatile uint32_t *)IOAPIC_BASE = reg;
	return *(volatile uint32_t *)(IOAPIC_BASE + 0x10);
}

void ioapic_write(unsigned int reg, uint32_t v)
{
	*(volatile uint32_t *)IOAPIC_BASE = reg;
	*(volatile uint32_t *)(IOAPIC_BASE + 0x10) = v;
}

void pic_init(unsigned int base)
{
	outb(PIC1, 0x11);
	outb(PIC2, 0x11);
	outb(PIC1 + 1, (uint8_t)base);
	outb(PIC2 + 1, (uint8_t)(base + 8));
	outb(PIC1 + 1, 4);
	outb(PIC2 + 1, 2);
	outb(PIC1 + 1, 1);
	outb(PIC2 + 1, 1);
	pic_mask(0xffff);
}

void pic_mask(uint16_t mask)
{
	outb(PIC1 + 1, (uint8_t)mask);
	outb(PIC2 + 1, (uint8_t)(mask >> 8));
}

uint16_t pic_get_mask(void)
{
	return (uint16_t)(inb(PIC1 + 1) | inb(PIC2 + 1) << 8);
}

void pic_eoi(unsigned int irq)
{
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

/*
 * The frequency as CPUID gives it under KVM or VMware, else measured: KVM's
 * local APIC timer counts nanoseconds.
 */
uint64_t tsc_per_ms(void)
{
	static uint64_t cached;
	uint64_t start;

	if (cached)
		return cached;
	if (cpuid(1, 0).c >> 31 && cpuid(0x40000000, 0).a >= 0x40000010)
		cached = cpuid(0x40000010, 0).a;
	if (cached)
		return cached;
	lapic_enable();
	lapic_write(LAPIC_LVTT, LVT_MASKED);
	lapic_write(LAPIC_TDCR, TDCR_BY_1);
	lapic_write(LAPIC_TMICT, 0xffffffff);
	start = rdtsc();
	while (0xffffffff - lapic_read(LAPIC_TMCCT) < 10000000)
		cpu_pause();
	cached = (rdtsc() - start) / 10;
	lapic_write(LAPIC_TMICT, 0);
	return cached;
}

void delay_ms(unsigned int ms)
{
	uint64_t end = rdtsc() + ms * tsc_per_ms();

	while (rdtsc() < end)
		cpu_pause();
}
