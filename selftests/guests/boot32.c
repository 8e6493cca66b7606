// SPDX-License-Identifier: GPL-2.0-only
/*
 * A multiboot 1 kernel of 32 bits: checks what a boot loader promises to one.
 *
 *	mib=N		memory in MiB that the map must add up to
 *	module=WORD	a module must be there which starts with WORD
 *	fork		forks, from protected mode without paging
 *	exit=N		ends with 2 * N + 1 through the debug exit port
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bare.h"
#include "x86.h"

#define __packed		__attribute__((packed))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

#define MULTIBOOT_LOADED	0x2badb002
#define MBI_MEMORY		(1U << 0)
#define MBI_CMDLINE		(1U << 2)
#define MBI_MODS		(1U << 3)
#define MBI_MMAP		(1U << 6)

#define EXIT_PORT		0xf4
#define POWER_PORT		0x604
#define POWER_OFF		0x2000
#define FAILED			100

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower;
	uint32_t mem_upper;
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count;
	uint32_t mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length;
	uint32_t mmap_addr;
};

struct multiboot_module {
	uint32_t start;
	uint32_t end;
	uint32_t string;
	uint32_t reserved;
};

struct multiboot_range {
	uint32_t size;
	uint64_t base;
	uint64_t length;
	uint32_t type;
} __packed;

void boot32_main(uint32_t eax, const struct multiboot_info *mbi, uint32_t cs,
		 uint32_t cr0, uint32_t eflags);
int bare_fork(void);

extern char image_start[], bss_end[];

const char guest_name[] = "boot32";

static uint32_t zeroes[3000];

static void say(const char *what, uint32_t v)
{
	put("boot32: ");
	put(what);
	put(" ");
	put_hex(v);
	put("\n");
}

static void check_cpu(uint32_t cs, uint32_t cr0, uint32_t eflags)
{
	uint32_t ds = 0, es = 0, ss = 0;

	asm volatile("movw %%ds, %w0; movw %%es, %w1; movw %%ss, %w2"
		     : "+r"(ds), "+r"(es), "+r"(ss));
	check((cr0 & 0x80000001) == 1, "CR0 must have PE and not PG", cr0);
	check(!(eflags & (1 << 17)), "EFLAGS has VM", eflags);
	check(!(eflags & (1 << 9)), "EFLAGS has IF", eflags);
	check(cs && !(cs & 3), "CS", cs);
	check(ds && es && ss, "a data segment is null", ds << 16 | es);
}

static void check_a20(void)
{
	volatile uint32_t *low = (volatile uint32_t *)0x8000;
	volatile uint32_t *high = (volatile uint32_t *)0x108000;

	*high = 0x20202020;
	*low = 0x10101010;
	check(*high == 0x20202020, "A20 is off", *high);
}

static void check_cmdline(const struct multiboot_info *mbi)
{
	if (!check(mbi->flags & MBI_CMDLINE, "no command line, flags", mbi->flags))
		return;
	cmdline = (const char *)mbi->cmdline;
	put("boot32: command line '");
	put(cmdline);
	put("'\n");
}

static void check_memory(const struct multiboot_info *mbi)
{
	const struct multiboot_range *r;
	uint32_t mib = arg_number("mib=", 10), p;
	uint64_t sum = 0, top = 0;
	bool image_inside = false;

	check(mbi->flags & MBI_MEMORY, "no memory size, flags", mbi->flags);
	check(mbi->mem_lower >= 512 && mbi->mem_lower <= 640, "mem_lower",
	      mbi->mem_lower);
	if (!check(mbi->flags & MBI_MMAP, "no memory map, flags", mbi->flags))
		return;
	for (p = mbi->mmap_addr; p < mbi->mmap_addr + mbi->mmap_length;
	     p += r->size + 4) {
		r = (const struct multiboot_range *)p;
		if (!check(r->size >= 20 && r->size < 1000, "size of a range",
			   r->size))
			return;
		if (r->type != 1)
			continue;
		sum += r->length;
		if (r->base + r->length > top)
			top = r->base + r->length;
		if (r->base <= (uint32_t)image_start &&
		    r->base + r->length >= (uint32_t)bss_end)
			image_inside = true;
	}
	check(image_inside, "the image is outside the memory map", p);
	if (!mib)
		return;
	check(top == (uint64_t)mib << 20, "end of memory", (uint32_t)top);
	check(sum > (uint64_t)(mib - 1) << 20, "usable memory", (uint32_t)sum);
	check(mbi->mem_upper == (mib - 1) * 1024, "mem_upper", mbi->mem_upper);
}

static void check_module(const struct multiboot_info *mbi)
{
	const char *want = arg("module="), *got;
	const struct multiboot_module *m;

	if (!want) {
		check(!(mbi->flags & MBI_MODS) || !mbi->mods_count,
		      "a module that nobody gave", mbi->mods_count);
		return;
	}
	if (!check((mbi->flags & MBI_MODS) && mbi->mods_count == 1, "modules",
		   mbi->mods_count))
		return;
	m = (const struct multiboot_module *)mbi->mods_addr;
	say("module at", m->start);
	say("module ends at", m->end);
	check(m->end > m->start, "module's end", m->end);
	check(!(m->start & 4095), "module not aligned to a page", m->start);
	check(m->start >= (uint32_t)bss_end || m->end <= (uint32_t)image_start,
	      "module in the image", m->start);
	for (got = (const char *)m->start; *want && *want != ' '; want++, got++)
		if (!check((uint32_t)got < m->end && *got == *want,
			   "module's text", (uint8_t)*got))
			return;
}

void boot32_main(uint32_t eax, const struct multiboot_info *mbi, uint32_t cs,
		 uint32_t cr0, uint32_t eflags)
{
	int id;

	check(eax == MULTIBOOT_LOADED, "EAX", eax);
	for (size_t i = 0; i < ARRAY_SIZE(zeroes); i++)
		if (!check(!*(volatile uint32_t *)&zeroes[i], ".bss", zeroes[i]))
			break;
	check_cmdline(mbi);
	check_cpu(cs, cr0, eflags);
	check_a20();
	check_memory(mbi);
	check_module(mbi);
	check(!arg("break"), "told to break", 0);
	if (arg("fork") && !failures) {
		id = bare_fork();
		say(id ? "parent of" : "child", (uint32_t)id);
		check(id >= 0, "fork", (uint32_t)id);
	}
	put(failures ? "boot32: failed\n" : "boot32: ok\n");
	/* QEMU's debug exit makes 2 * N + 1 of N: it cannot say 0. */
	if (failures || arg("exit="))
		outb(EXIT_PORT, failures ? FAILED : (uint8_t)arg_number("exit=", 10));
	outw(POWER_PORT, POWER_OFF);
	for (;;)
		asm volatile("cli; hlt");
}
