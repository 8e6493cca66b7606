// SPDX-License-Identifier: GPL-2.0-only
/*
 * PVH: an ELF, of either class, with a note that says where to enter it, 32-bit. The note is
 * xen/include/public/elfnote.h's, the structures are those of
 * xen/include/public/arch-x86/hvm/start_info.h, the state of the CPU that of
 * docs/misc/pvh.pandoc, all in Xen's tree.
 */
#include <string.h>

#include "boot/acpi.h"
#include "boot/image.h"
#include "log.h"

#define NOTE_NAME		"Xen"
#define NOTE_PHYS32_ENTRY	18

#define START_MAGIC		0x336ec578	/* "xEn3" with the top bit set */
#define START_VERSION		1		/* with a memory map */

struct pvh_start {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp;
	uint64_t memory_map;
	uint32_t nr_ranges, reserved;
};

struct pvh_module {
	uint64_t address, size, cmdline, reserved;
};

struct pvh_range {
	uint64_t address, size;
	uint32_t type, reserved;	/* types are e820's */
};

/* All that ukrun says of the machine, at LOW_MULTIBOOT. */
struct pvh_page {
	struct pvh_start start;
	struct pvh_module module;
	struct pvh_range ranges[MEMORY_RANGES_MAX];
};

/* Where to enter. False: no such note, or one of nonsense. */
static bool pvh_entry(const struct image *image, uint64_t *entry)
{
	const void *note;
	size_t size;

	note = image_elf_note(image, NOTE_NAME, NOTE_PHYS32_ENTRY, &size);
	if (!note || (size != 4 && size != 8))
		return false;
	/* As wide as the kernel's pointers. */
	*entry = 0;
	memcpy(entry, note, size);
	return true;
}

static bool pvh_match(const struct image *image)
{
	uint64_t entry;

	return (image_elf_match(image) || image_elf_match_32(image)) && pvh_entry(image, &entry);
}

static uint64_t pvh_address(const struct pvh_page *page, const void *of)
{
	return LOW_MULTIBOOT + ((const uint8_t *)of - (const uint8_t *)page);
}

static void pvh_fill_ranges(struct vm *vm, struct pvh_page *page)
{
	struct memory_range ranges[MEMORY_RANGES_MAX];
	unsigned int i;

	page->start.nr_ranges = memory_ranges(vm, ranges);
	page->start.memory_map = pvh_address(page, page->ranges);
	for (i = 0; i < page->start.nr_ranges; i++) {
		page->ranges[i].address = ranges[i].base;
		page->ranges[i].size = ranges[i].size;
		page->ranges[i].type = ranges[i].type;
	}
}

static void pvh_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	struct pvh_page *page = memory_at(vm, LOW_MULTIBOOT, sizeof(*page));
	struct pvh_start *start = &page->start;
	bool devices = !vm->config.acpi || !image_knows_acpi(image);

	image_elf_load(vm, image);
	pvh_entry(image, &boot->rip);
	if (boot->rip > UINT32_MAX || !memory_at(vm, boot->rip, 1))
		die("%s: the PVH entry point 0x%llx is not an address with memory below 4 GiB",
		    image->path, (unsigned long long)boot->rip);
	start->magic = START_MAGIC;
	start->version = START_VERSION;
	start->cmdline = memory_put_cmdline(vm, image_cmdline(vm, LINUX_CMDLINE, devices));
	start->rsdp = vm->config.acpi ? ACPI_RSDP : 0;
	/* As high as a guest without page tables of its own reaches. */
	if (image_load_initrd(vm, 0x80000000, &page->module.address, &page->module.size)) {
		start->nr_modules = 1;
		start->modules = pvh_address(page, &page->module);
	}
	pvh_fill_ranges(vm, page);
	boot->rbx = LOW_MULTIBOOT;
	/* Not promised either, as with multiboot. */
	boot->rsp = LOW_STACK + LOW_STACK_SIZE;
}

const struct image_type image_pvh = {
	.name = "PVH",
	.fork_on = FORK_ON_PORT,
	.match = pvh_match,
	.load = pvh_load,
};
