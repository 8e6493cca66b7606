// SPDX-License-Identifier: GPL-2.0-only
/*
 * A multiboot 1 kernel of 32 bits without demands, loaded elsewhere than it
 * runs: checks what kernels made for PCs expect beyond multiboot.
 *
 *	cpus=N		the MP table has so many, and all of them start
 *	modules		say what the modules are
 *	nb-cpus=N	fw_cfg says so
 *	testdev		there is a test device
 *	exit=N		the value for the debug exit port
 *	bochs		ends by Shutdown at port 0x8900
 */
#include "pc32.h"

#define MULTIBOOT_LOADED	0x2badb002
#define EXIT_PORT		0xf4
#define BOCHS_PORT		0x8900
#define FAILED			100
#define PATIENCE		2000000

#define TEST_PORT		0xe0
#define TEST_IRQ_PORT		0x2000
#define TEST_MEMORY		0xff000000
#define TEST_IRQ		5

#define LAPIC_SPURIOUS		0xf0
#define LAPIC_EOI		0xb0
#define LAPIC_TIMER		0x320
#define LAPIC_LVT0		0x350
#define LAPIC_TIMER_INITIAL	0x380
#define LAPIC_TIMER_DIVIDE	0x3e0
#define TIMER_PERIODIC		0x20000
#define IOAPIC_MASKED		0x10000

#define VECTOR_PIC		0x20
#define VECTOR_TIMER		0x40
#define VECTOR_SPURIOUS		0xff
#define VECTORS			256

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
};

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

struct gate {
	uint16_t low, selector, type, high;
};

void pc32_main(uint32_t eax, const struct multiboot_info *mbi);
void pc32_timer(void);
void pc32_tick(void);
void timer_entry(void);
void pic_entry(void);
void spurious_entry(void);

const char guest_name[] = "pc32";

static struct gate idt[VECTORS];
static volatile uint32_t timer_ticks, pic_ticks;
/* Not zero in the file: p_filesz counts, too. */
static uint32_t initialized[1500] = { [0] = 0x11223344, [1499] = 0x99 };
static uint32_t zeroes[1500];

void wait_for(volatile uint32_t *count, uint32_t want)
{
	for (uint32_t i = 0; i < PATIENCE && *count < want; i++)
		cpu_pause();
}

static void say_modules(const struct multiboot_info *mbi)
{
	const struct multiboot_module *m = (const void *)mbi->mods_addr;
	char one[2] = "";

	for (uint32_t i = 0; i < mbi->mods_count; i++, m++) {
		put("pc32: module '");
		put((const char *)m->string);
		put("' holds '");
		for (uint32_t at = m->start; at < m->end; at++) {
			one[0] = *(const char *)at;
			put(one[0] == '\n' ? "" : one);
		}
		put("'\n");
		check(!(m->start & 4095), "module not aligned", m->start);
	}
}

static void check_image(void)
{
	check(initialized[0] == 0x11223344 && initialized[1499] == 0x99, ".data", initialized[0]);
	for (unsigned int i = 0; i < 1500; i++)
		if (!check(!*(volatile uint32_t *)&zeroes[i], ".bss", zeroes[i]))
			break;
}

static void check_bios_data(void)
{
	uint32_t ebda = (uint32_t)low_word(0x40e) << 4;

	check(low_word(0x400) == 0x3f8, "COM1 of the BIOS",
	      low_word(0x400));
	check(low_word(0x413) == 639, "KiB of memory", low_word(0x413));
	if (check(ebda >= 0x80000 && ebda < 0xa0000, "EBDA", ebda))
		check((low_word(ebda) & 0xff) == 1, "EBDA's size", low_word(ebda));
}

static void set_gate(unsigned int vector, void (*handler)(void))
{
	uint32_t address = (uint32_t)handler;
	uint16_t cs;

	asm("movw %%cs, %0" : "=r"(cs));
	idt[vector] = (struct gate){
		.low = (uint16_t)address, .selector = cs, .type = 0x8e00,
		.high = (uint16_t)(address >> 16),
	};
}

void pc32_timer(void)
{
	timer_ticks++;
	mmio_write(LAPIC + LAPIC_EOI, 0);
}

void pc32_tick(void)
{
	pic_ticks++;
	outb(0x20, 0x20);
}

static void ioapic_write(uint32_t reg, uint32_t v)
{
	mmio_write(IOAPIC, reg);
	mmio_write(IOAPIC + 0x10, v);
}

/* Where the MP table says that it comes. */
static void check_ioapic_timer(void)
{
	timer_ticks = 0;
	ioapic_write(0x11 + 2 * timer_pin, 0);
	ioapic_write(0x10 + 2 * timer_pin, VECTOR_TIMER);
	wait_for(&timer_ticks, 3);
	ioapic_write(0x10 + 2 * timer_pin, IOAPIC_MASKED | VECTOR_TIMER);
	check(timer_ticks >= 3, "ticks of the 8254 by the IOAPIC", timer_ticks);
}

/* The LAPIC's; then the 8254's, by the 8259 alone, which LVT0 lets through, and without it. */
static void check_timers(void)
{
	const struct {
		uint16_t limit;
		uint32_t base;
	} __packed idtr = { sizeof(idt) - 1, (uint32_t)idt };

	set_gate(VECTOR_PIC, pic_entry);
	set_gate(VECTOR_TIMER, timer_entry);
	set_gate(VECTOR_SPURIOUS, spurious_entry);
	asm volatile("lidt %0" : : "m"(idtr));
	check((mmio_read(LAPIC + LAPIC_LVT0) & 0x10700) == 0x700, "LVT0 is not ExtINT",
	      mmio_read(LAPIC + LAPIC_LVT0));
	mmio_write(LAPIC + LAPIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	asm volatile("sti");
	mmio_write(LAPIC + LAPIC_TIMER_DIVIDE, 0xb);
	mmio_write(LAPIC + LAPIC_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
	mmio_write(LAPIC + LAPIC_TIMER_INITIAL, 1000000);
	wait_for(&timer_ticks, 3);
	mmio_write(LAPIC + LAPIC_TIMER_INITIAL, 0);
	check(timer_ticks >= 3, "ticks of the LAPIC", timer_ticks);

	outb(0x20, 0x11);
	outb(0x21, VECTOR_PIC);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x43, 0x34);
	outb(0x40, 11932 & 0xff);
	outb(0x40, 11932 >> 8);
	outb(0x21, 0xfe);
	wait_for(&pic_ticks, 3);
	outb(0x21, 0xff);
	check(pic_ticks >= 3, "ticks of the 8254", pic_ticks);
	check_ioapic_timer();
	asm volatile("cli");
}

/* A line that is raised comes through the 8259. */
static void check_testdev(void)
{
	outl(TEST_PORT, 0x12345678);
	check(inb(TEST_PORT + 1) == 0x56, "the test port", inb(TEST_PORT + 1));
	mmio_write(TEST_MEMORY + 0xfffc, 0x9abcdef0);
	check(mmio_read(TEST_MEMORY + 0xfffc) == 0x9abcdef0, "test memory",
	      mmio_read(TEST_MEMORY + 0xfffc));
	set_gate(VECTOR_PIC + TEST_IRQ, pic_entry);
	pic_ticks = 0;
	outb(0x21, 0xff & ~(1 << TEST_IRQ));
	asm volatile("sti");
	outl(TEST_IRQ_PORT + TEST_IRQ, 1);
	wait_for(&pic_ticks, 1);
	outl(TEST_IRQ_PORT + TEST_IRQ, 0);
	asm volatile("cli");
	outb(0x21, 0xff);
	check(pic_ticks == 1, "interrupts of the test device", pic_ticks);
}

/* The cursor goes and comes back; an index beyond the registers does no harm. */
static void check_crtc(void)
{
	outb(0x3d4, 14);
	outb(0x3d5, 0x03);
	outb(0x3d4, 15);
	outb(0x3d5, 0x21);
	outb(0x3d4, 14);
	check(inb(0x3d5) == 0x03, "CRTC register 14", inb(0x3d5));
	outw(0x3d4, 0x440f);
	check(inb(0x3d5) == 0x44 && inb(0x3d4) == 15, "CRTC register 15", inb(0x3d5));
	outb(0x3d4, 0xff);
	outb(0x3d5, 0x55);
}

static uint32_t fw_cfg(uint16_t key, unsigned int bytes)
{
	uint32_t v = 0;

	outw(0x510, key);
	for (unsigned int i = 0; i < bytes; i++)
		v |= (uint32_t)inb(0x511) << 8 * i;
	return v;
}

static void check_fw_cfg(void)
{
	uint32_t cpus = arg_number("nb-cpus=", 10);

	check(fw_cfg(0, 4) == 0x554d4551, "fw_cfg's signature", fw_cfg(0, 4));
	check(fw_cfg(0x77, 4) == 0, "fw_cfg without an item", fw_cfg(0x77, 4));
	if (cpus)
		check(fw_cfg(5, 4) == cpus, "fw_cfg's CPUs", fw_cfg(5, 4));
}

static uint32_t cpuid_eax(uint32_t leaf)
{
	uint32_t a, b, c, d;

	asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(0));
	return a;
}

static void check_cpuid(void)
{
	uint32_t mhz = cpuid_eax(0x16), khz = cpuid_eax(0x40000010);

	check(cpuid_eax(0) >= 0x16, "CPUID 0", cpuid_eax(0));
	check(mhz >= 10 && mhz < 20000, "CPUID 0x16, MHz", mhz);
	check(khz / 1000 == mhz, "CPUID 0x40000010, kHz", khz);
}

void pc32_main(uint32_t eax, const struct multiboot_info *mbi)
{
	uint32_t cpus;

	check(eax == MULTIBOOT_LOADED, "EAX", eax);
	cmdline = (const char *)mbi->cmdline;
	check((uint32_t)pc32_main > 0x80000000, "runs at", (uint32_t)pc32_main);
	check_image();
	if (arg("modules"))
		say_modules(mbi);
	check_bios_data();
	cpus = check_mp();
	if (arg("cpus="))
		check(cpus == arg_number("cpus=", 10), "CPUs in the MP table", cpus);
	start_cpus(cpus);
	check_timers();
	if (arg("testdev"))
		check_testdev();
	check_crtc();
	check_fw_cfg();
	check_cpuid();
	check(!arg("break"), "told to break", 0);
	put(failures ? "pc32: failed\n" : "pc32: ok\n");
	if (arg("bochs") && !failures)
		for (const char *s = "Shutdown"; *s; s++)
			outb(BOCHS_PORT, (uint8_t)*s);
	outl(EXIT_PORT, failures ? FAILED : arg_number("exit=", 10));
	for (;;)
		asm volatile("cli; hlt");
}
