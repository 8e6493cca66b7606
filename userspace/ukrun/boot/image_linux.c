// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux by its 64-bit boot protocol, Documentation/arch/x86/boot.rst: from a
 * bzImage, or from the vmlinux ELF inside.
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
#define NOTE_PHYS32_ENTRY	18

/* The same file is wanted by everybody who gives no -append. */
#define CMDLINE_DEFAULT		"console=ttyS0"

static void linux_add_e820(struct boot_params *params, uint64_t base, uint64_t end, uint32_t type)
{
	struct boot_e820_entry *entry = &params->e820_table[params->e820_entries];

	if (base >= end)
		return;
	entry->addr = base;
	entry->size = end - base;
	entry->type = type;
	params->e820_entries++;
}

/*
 * Once the kernel itself is loaded. @params holds its setup header. Devices are
 * described once: told in both ways, a kernel would complain of the second.
 */
static void linux_boot(struct vm *vm, struct boot_params *params, bool knows_acpi,
		       struct boot *boot)
{
	const struct memory *memory = &vm->memory;
	char *cmdline = image_cmdline(vm, CMDLINE_DEFAULT, !vm->config.acpi || !knows_acpi);
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
	linux_add_e820(params, 0, LOW_RAM_END, 1);
	linux_add_e820(params, LOW_RAM_END, LOW_END, 2);
	linux_add_e820(params, LOW_END, memory->low, 1);
	linux_add_e820(params, MEMORY_HIGH_START,
		       MEMORY_HIGH_START + memory->size - memory->low, 1);
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
	linux_boot(vm, &params, true, boot);
	boot->rip = at + ENTRY_64;
}

const struct image_type image_bzimage = {
	.name = "Linux bzImage",
	.fork_on = FORK_ON_PORT,
	.match = bzimage_match,
	.load = bzimage_load,
};

static bool vmlinux_has_pvh(const uint8_t *data, size_t size)
{
	const Elf64_Nhdr *note;
	size_t name, desc;

	while (size >= sizeof(*note)) {
		note = (const void *)data;
		name = ((size_t)note->n_namesz + 3) & ~3UL;
		desc = ((size_t)note->n_descsz + 3) & ~3UL;
		if (name > size - sizeof(*note) || desc > size - sizeof(*note) - name)
			return false;
		if (note->n_type == NOTE_PHYS32_ENTRY && note->n_namesz == 4 &&
		    !memcmp(data + sizeof(*note), "Xen", 4))
			return true;
		data += sizeof(*note) + name + desc;
		size -= sizeof(*note) + name + desc;
	}
	return false;
}

static bool vmlinux_has_banner(const uint8_t *data, size_t size)
{
	static const char banner[] = "Linux version ";

	return memmem(data, size, banner, sizeof(banner) - 1);
}

static bool vmlinux_match(const struct image *image)
{
	return image_elf_match(image) &&
	       (image_elf_find(image, PT_NOTE, vmlinux_has_pvh) ||
		image_elf_find(image, PT_LOAD, vmlinux_has_banner));
}

/*
 * Its virtio driver, if built in, holds ACPI's name of the device, and the
 * name of its parameter if it takes devices from the command line.
 */
static bool vmlinux_knows_acpi(const struct image *image)
{
	static const char acpi[] = "LNRO0005", parameter[] = "virtio_mmio.device";

	return memmem(image->data, image->size, acpi, sizeof(acpi) - 1) ||
	       !memmem(image->data, image->size, parameter, sizeof(parameter) - 1);
}

static void vmlinux_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	struct boot_params params = {};

	boot->rip = image_elf_load(vm, image);
	if (!memory_at(vm, boot->rip, 1))
		die("%s: the entry point 0x%llx is not a physical address with memory", image->path,
		    (unsigned long long)boot->rip);
	/* An ELF has no setup header: what a bzImage of any kernel would say. */
	params.hdr.boot_flag = BOOT_FLAG;
	params.hdr.header = HEADER_MAGIC;
	params.hdr.version = 0x20f;
	params.hdr.loadflags = LOADED_HIGH;
	params.hdr.xloadflags = XLF_KERNEL_64;
	params.hdr.initrd_addr_max = 0x7fffffff;
	params.hdr.cmdline_size = 2047;
	params.hdr.kernel_alignment = 0x200000;
	linux_boot(vm, &params, vmlinux_knows_acpi(image), boot);
}

const struct image_type image_vmlinux = {
	.name = "Linux vmlinux",
	.fork_on = FORK_ON_PORT,
	.match = vmlinux_match,
	.load = vmlinux_load,
};
