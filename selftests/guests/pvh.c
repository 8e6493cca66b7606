// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PVH kernel: checks what docs/misc/pvh.pandoc of Xen promises to one.
 *
 *	mib=N		memory in MiB that the map must add up to
 *	module=WORD	a module must be there which starts with WORD
 *	acpi=N		1: an RSDP must be there; 0: none
 */
#include <stdbool.h>
#include <stdint.h>

#include "bare.h"
#include "x86.h"

#define START_MAGIC	0x336ec578
#define EXIT_PORT	0xf4
#define POWER_PORT	0x604
#define POWER_OFF	0x2000
#define FAILED		100
#define CR4_MCE		(1 << 6)

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp, memory_map;
	uint32_t nr_ranges, reserved;
};

struct module {
	uint64_t address, size, cmdline, reserved;
};

struct range {
	uint64_t address, size;
	uint32_t type, reserved;
};

void pvh_main(const struct start_info *start, uint32_t cr0, uint32_t cr4, uint32_t eflags);

extern char bss_end[];

const char guest_name[] = "pvh";

static void check_memory(const struct start_info *start)
{
	const struct range *range = (const struct range *)(uint32_t)start->memory_map;
	uint64_t top = 0, sum = 0;
	bool inside = false;

	for (uint32_t i = 0; i < start->nr_ranges; i++, range++) {
		if (range->type != 1)
			continue;
		sum += range->size;
		top = range->address + range->size;
		inside |= range->address <= 0x200000 && top >= (uint32_t)bss_end;
	}
	check(inside, "the image is outside the memory map", start->nr_ranges);
	check(top == (uint64_t)arg_number("mib=", 10) << 20, "end of memory", (uint32_t)top);
	check(sum > (uint64_t)(arg_number("mib=", 10) - 1) << 20, "usable memory", (uint32_t)sum);
}

static void check_module(const struct start_info *start)
{
	const char *want = arg("module="), *got;
	const struct module *module = (const struct module *)(uint32_t)start->modules;

	if (!check(start->nr_modules == !!want, "modules", start->nr_modules) || !want)
		return;
	got = (const char *)(uint32_t)module->address;
	check(module->address >= (uint32_t)bss_end, "a module in the image", (uint32_t)got);
	for (uint32_t i = 0; want[i] && want[i] != ' '; i++)
		if (!check(i < module->size && got[i] == want[i], "module's text", got[i]))
			return;
}

static void check_rsdp(const struct start_info *start)
{
	const char *rsdp = (const char *)(uint32_t)start->rsdp, *want = "RSD PTR ";

	check(!rsdp == !arg_number("acpi=", 10), "RSDP", (uint32_t)rsdp);
	for (; rsdp && *want; want++, rsdp++)
		if (!check(*rsdp == *want, "RSDP's signature", *rsdp))
			return;
}

void pvh_main(const struct start_info *start, uint32_t cr0, uint32_t cr4, uint32_t eflags)
{
	if (check(start->magic == START_MAGIC, "magic", start->magic)) {
		cmdline = (const char *)(uint32_t)start->cmdline;
		put("pvh: command line '");
		put(cmdline);
		put("'\n");
		check(start->version == 1, "version", start->version);
		check(!start->flags, "flags", start->flags);
		check((cr0 & 0x80000001) == 1, "CR0 must have PE and not PG", cr0);
		/* KVM on AMD shows the host's MCE. */
		check(!(cr4 & ~CR4_MCE), "CR4", cr4);
		check(!(eflags & (1 << 9 | 1 << 17)), "EFLAGS has IF or VM", eflags);
		check_memory(start);
		check_module(start);
		check_rsdp(start);
		check(!arg("break"), "told to break", 0);
	}
	put(failures ? "pvh: failed\n" : "pvh: ok\n");
	if (failures)
		outb(EXIT_PORT, FAILED);
	outw(POWER_PORT, POWER_OFF);
	for (;;)
		asm volatile("cli; hlt");
}
