// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux by its 64-bit boot protocol, Documentation/arch/x86/boot.rst: from a
 * bzImage, or from the vmlinux ELF inside; and others that have taken it over.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>

#include "boot/acpi.h"
#include "boot/image.h"
#include "log.h"

#define HEADER_OFFSET		0x1f1
#define ENTRY_64		0x200	/* behind the load address of a bzImage */
#define BOOT_FLAG		0xaa55
#define HEADER_MAGIC		0x53726448	/* "HdrS" */
#define VERSION_XLOADFLAGS	0x20c
#define LOADER_UNDEFINED	0xff
/* Of an ELF, which does not say. */
#define CMDLINE_MAX		2047U

static void linux_put_e820(const struct vm *vm, struct boot_params *params)
{
	struct memory_range ranges[MEMORY_RANGES_MAX];
	unsigned int i;

	params->e820_entries = memory_ranges(vm, ranges);
	for (i = 0; i < params->e820_entries; i++) {
		params->e820_table[i].addr = ranges[i].base;
		params->e820_table[i].size = ranges[i].size;
		params->e820_table[i].type = ranges[i].type;
	}
}

/* Once the kernel itself is loaded. @params holds its setup header. */
static void linux_boot(struct vm *vm, struct boot_params *params, const char *cmdline,
		       struct boot *boot)
{
	uint64_t initrd, size;

	if (strlen(cmdline) > params->hdr.cmdline_size)
		die("%s: takes a command line of up to %u bytes, this one has %zu",
		    vm->config.image, params->hdr.cmdline_size, strlen(cmdline));
	params->hdr.type_of_loader = LOADER_UNDEFINED;
	params->hdr.cmd_line_ptr = memory_put_cmdline(vm, cmdline);
	if (image_load_initrd(vm, (uint64_t)params->hdr.initrd_addr_max + 1, &initrd, &size)) {
		params->hdr.ramdisk_image = initrd;
		params->hdr.ramdisk_size = size;
	}
	linux_put_e820(vm, params);
	params->acpi_rsdp_addr = vm->config.acpi ? ACPI_RSDP : 0;
	memcpy(memory_at(vm, LOW_ZERO_PAGE, sizeof(*params)), params, sizeof(*params));
	boot->long_mode = true;
	boot->rsi = LOW_ZERO_PAGE;
	boot->rsp = LOW_STACK + LOW_STACK_SIZE;
}

static bool bzimage_match(const struct image *image)
{
	const struct setup_header *header = (const void *)(image->data + HEADER_OFFSET);

	return image->size >= HEADER_OFFSET + sizeof(*header) &&
	       header->boot_flag == BOOT_FLAG && header->header == HEADER_MAGIC;
}

/* Where the kernel wants to be, or else wherever it has room. */
static uint64_t bzimage_place(struct vm *vm, const struct setup_header *header)
{
	uint64_t align = header->kernel_alignment;
	uint64_t at = header->pref_address;

	if (!memory_at(vm, at, header->init_size) && header->relocatable_kernel && align)
		at = (LOW_END + align - 1) / align * align;
	/* A message shall name what the kernel would like. */
	if (!memory_at(vm, at, header->init_size))
		at = header->pref_address;
	return at;
}

static void bzimage_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	struct boot_params params = {};
	struct setup_header *header = &params.hdr;
	size_t header_size, setup_size;
	uint64_t at;

	header_size = 0x202 + image->data[0x201] - HEADER_OFFSET;
	if (header_size > sizeof(*header))
		header_size = sizeof(*header);
	memcpy(header, image_part(image, HEADER_OFFSET, header_size, "the setup header"),
	       header_size);
	if (header->version < VERSION_XLOADFLAGS)
		die("%s: boot protocol %u.%02u: 2.12 (Linux 3.8) or later is needed", image->path,
		    header->version >> 8, header->version & 0xff);
	if (!(header->xloadflags & XLF_KERNEL_64))
		die("%s: a kernel without the 64-bit entry (CONFIG_X86_64): ukrun runs x86-64",
		    image->path);
	setup_size = ((header->setup_sects ?: 4) + 1) * 512;
	image_part(image, setup_size, (uint64_t)header->syssize * 16, "the kernel");
	if (image->size - setup_size > header->init_size)
		die("%s: larger than its setup header says", image->path);
	at = bzimage_place(vm, header);
	memcpy(memory_claim(vm, at, header->init_size, "the kernel with room to unpack"),
	       image->data + setup_size, image->size - setup_size);
	header->code32_start = at;
	vm_log(vm, "boot protocol %u.%02u, kernel at 0x%llx", header->version >> 8,
	       header->version & 0xff, (unsigned long long)at);
	/* What is compressed is not asked: -machine acpi=off tells. */
	linux_boot(vm, &params, image_cmdline(vm, LINUX_CMDLINE, !vm->config.acpi), boot);
	boot->rip = at + ENTRY_64;
}

const struct image_type image_bzimage = {
	.name = "Linux bzImage",
	.fork_on = FORK_ON_PORT,
	.match = bzimage_match,
	.load = bzimage_load,
};

static bool vmlinux_has_banner(const uint8_t *data, size_t size)
{
	static const char banner[] = "Linux version ";

	return memmem(data, size, banner, sizeof(banner) - 1);
}

static bool vmlinux_match(const struct image *image)
{
	return image_elf_match(image) && image_elf_find(image, PT_LOAD, vmlinux_has_banner);
}

/* An ELF has no setup header: what a bzImage of any kernel would say. */
static void linux_load_elf(struct vm *vm, const struct image *image, const char *cmdline,
			   struct boot *boot)
{
	struct boot_params params = {
		.hdr = {
			.boot_flag = BOOT_FLAG,
			.header = HEADER_MAGIC,
			.version = 0x20f,
			.loadflags = LOADED_HIGH,
			.xloadflags = XLF_KERNEL_64,
			.initrd_addr_max = 0x7fffffff,
			.kernel_alignment = 0x200000,
		},
	};

	if (strlen(cmdline) > CMDLINE_MAX)
		die("%s: takes a command line of up to %u bytes, this one has %zu",
		    image->path, CMDLINE_MAX, strlen(cmdline));
	/*
	 * Firecracker puts the length of what is there in the place of the most that
	 * may be there: Unikraft takes that for it, and Linux does not look.
	 */
	params.hdr.cmdline_size = strlen(cmdline);
	boot->rip = image_elf_load(vm, image);
	if (!memory_at(vm, boot->rip, 1))
		die("%s: the entry point 0x%llx is not a physical address with memory", image->path,
		    (unsigned long long)boot->rip);
	linux_boot(vm, &params, cmdline, boot);
}

static void vmlinux_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	bool devices = !vm->config.acpi || !image_knows_acpi(image);

	linux_load_elf(vm, image, image_cmdline(vm, LINUX_CMDLINE, devices), boot);
}

const struct image_type image_vmlinux = {
	.name = "Linux vmlinux",
	.fork_on = FORK_ON_PORT,
	.match = vmlinux_match,
	.load = vmlinux_load,
};

/* Unikraft for Firecracker: an ELF64 with the zero page, marked by a section of its own. */
static bool unikraft_match(const struct image *image)
{
	return image_elf_match(image) && image_elf_has_section(image, ".uk_bootinfo");
}

static void unikraft_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	linux_load_elf(vm, image, image_cmdline(vm, "", true), boot);
}

const struct image_type image_unikraft = {
	.name = "Unikraft, by Linux's boot protocol",
	.fork_on = FORK_ON_UD2,
	.match = unikraft_match,
	.load = unikraft_load,
};
