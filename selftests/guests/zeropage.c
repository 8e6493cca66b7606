// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux's 64-bit boot protocol as Firecracker has it, and Unikraft takes it: an
 * ELF64 with a section .uk_bootinfo.
 *
 *	mib=N		memory in MiB that the map must add up to
 *	module=N	the initrd has N bytes
 */
#include "guest.h"
#include "x86.h"

#define E820_ENTRIES	0x1e8
#define HEADER		0x1f1
#define BOOT_FLAG	0x1fe
#define MAGIC		0x202
#define INITRD		0x218
#define INITRD_SIZE	0x21c
#define CMDLINE		0x228
#define CMDLINE_SIZE	0x238
#define E820_TABLE	0x2d0

#define KEYBOARD_PORT	0x64
#define KEYBOARD_RESET	0xfe

const char guest_name[] = "zeropage";

/* Only its name is looked at. */
static const uint32_t mark[4] __attribute__((section(".uk_bootinfo"), used)) = { 1 };

struct range {
	uint64_t address, size;
	uint32_t type;
} __packed;

static uint32_t word(uint64_t at)
{
	uint32_t v;

	memcpy(&v, (const void *)(boot_state.memory + at), sizeof(v));
	return v;
}

static void check_memory(void)
{
	const struct range *range = (const struct range *)(boot_state.memory + E820_TABLE);
	uint64_t sum = 0, top = 0, mib = arg_number("mib", 64);

	for (unsigned int i = 0; i < (uint8_t)word(E820_ENTRIES); i++, range++) {
		if (range->type != 1)
			continue;
		sum += range->size;
		top = range->address + range->size;
	}
	check_eq("end of memory", top, mib << 20);
	check(sum > (mib - 1) << 20, "usable memory is 0x%lx", sum);
}

void guest_main(void)
{
	/* RSI is the zero page, nothing else is promised. */
	check(boot_state.memory >= 0x1000 && boot_state.memory < 0x100000, "RSI is 0x%lx",
	      boot_state.memory);
	boot_state.cmdline = word(CMDLINE);
	check(boot_state.cmdline, "no command line");
	say("command line '%s'", (const char *)boot_state.cmdline);
	check_eq("boot flag", word(BOOT_FLAG) & 0xffff, 0xaa55);
	check_eq("header", word(MAGIC), 0x53726448);
	check_eq("length of the command line", word(CMDLINE_SIZE),
		 strlen((const char *)boot_state.cmdline));
	check_memory();
	check_eq("size of the initrd", word(INITRD_SIZE), arg_number("module", 0));
	if (arg_number("module", 0))
		check(!memcmp((const void *)(uint64_t)word(INITRD), "initrd", 6),
		      "the initrd at 0x%x is another", word(INITRD));
	check(!arg_flag("break"), "told to break");
	if (guest_failures)
		guest_end();
	say("ok");
	outb(KEYBOARD_PORT, KEYBOARD_RESET);
	check(false, "the VM goes on");
	guest_end();
}
