// SPDX-License-Identifier: GPL-2.0-only
/* Multiboot 1: https://www.gnu.org/software/grub/manual/multiboot/ */
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "boot/image.h"
#include "log.h"

#define HEADER_MAGIC		0x1badb002
#define HEADER_SEARCH		8192
#define HEADER_FLAG_PAGE_ALIGN	(1U << 0)
#define HEADER_FLAG_MEMORY	(1U << 1)
#define HEADER_FLAG_VIDEO	(1U << 2)
#define HEADER_FLAG_ADDRESSES	(1U << 16)
/* Bits 0 to 15 are demands. */
#define HEADER_FLAGS_KNOWN	(HEADER_FLAG_PAGE_ALIGN | HEADER_FLAG_MEMORY | HEADER_FLAG_VIDEO)

#define LOADER_MAGIC		0x2badb002
#define INFO_FLAG_MEMORY	(1U << 0)
#define INFO_FLAG_CMDLINE	(1U << 2)
#define INFO_FLAG_MODULES	(1U << 3)
#define INFO_FLAG_MMAP		(1U << 6)
#define INFO_FLAG_LOADER_NAME	(1U << 9)

struct multiboot_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct multiboot_mmap {
	uint32_t size;		/* of what follows */
	uint64_t base, length;
	uint32_t type;		/* 1: RAM */
} __packed;

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper;	/* KiB */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
};

#define MODULES_MAX		32

/* All that ukrun says of the machine, at LOW_MULTIBOOT. */
struct multiboot_page {
	struct multiboot_info info;
	struct multiboot_module modules[MODULES_MAX];
	struct multiboot_mmap mmap[MEMORY_RANGES_MAX];
	char loader_name[16];
	/* Those of the modules, each with its NUL. */
	char strings[3072];
};

/* Offset of the header, or -1. */
static long multiboot_find(const struct image *image, struct multiboot_header *header)
{
	size_t end = image->size < HEADER_SEARCH ? image->size : HEADER_SEARCH;
	size_t offset;

	memset(header, 0, sizeof(*header));
	for (offset = 0; offset + 12 <= end; offset += 4) {
		memcpy(header, image->data + offset, 12);
		if (header->magic != HEADER_MAGIC ||
		    header->magic + header->flags + header->checksum)
			continue;
		if (header->flags & HEADER_FLAG_ADDRESSES)
			memcpy(header, image_part(image, offset, sizeof(*header),
						  "the multiboot header"), sizeof(*header));
		return offset;
	}
	return -1;
}

static bool multiboot_match(const struct image *image)
{
	struct multiboot_header header;

	return multiboot_find(image, &header) >= 0;
}

/* The a.out kludge: a flat file whose header says where it goes. */
static uint32_t multiboot_load_flat(struct vm *vm, const struct image *image,
				    const struct multiboot_header *header, size_t offset)
{
	uint64_t before = header->header_addr - header->load_addr;
	uint64_t file_size, size;
	const void *data;

	if (header->header_addr < header->load_addr || before > offset)
		die("%s: the multiboot header says that the image begins before the file does",
		    image->path);
	offset -= before;
	file_size = image->size - offset;
	if (header->load_end_addr) {
		if (header->load_end_addr < header->load_addr)
			die("%s: load_end_addr in the multiboot header is below load_addr",
			    image->path);
		file_size = header->load_end_addr - header->load_addr;
	}
	data = image_part(image, offset, file_size, "what the multiboot header says to load");
	size = file_size;
	if (header->bss_end_addr > header->load_addr + size)
		size = header->bss_end_addr - header->load_addr;
	memcpy(memory_claim(vm, header->load_addr, size, "the image"), data, file_size);
	vm_log(vm, "0x%llx bytes at 0x%x", (unsigned long long)size, header->load_addr);
	return header->entry_addr;
}

static uint32_t multiboot_load_elf(struct vm *vm, const struct image *image)
{
	uint64_t entry;

	if (memcmp(image->data, ELFMAG, SELFMAG))
		die("%s: a multiboot header without addresses, in a file that is not ELF",
		    image->path);
	/* Either class keeps e_machine in the same place. */
	if (((const Elf32_Ehdr *)image->data)->e_machine != EM_386 &&
	    ((const Elf32_Ehdr *)image->data)->e_machine != EM_X86_64)
		die("%s: made for %s: ukrun runs x86-64", image->path,
		    image_elf_machine(((const Elf32_Ehdr *)image->data)->e_machine));
	entry = image_elf_load(vm, image);
	if (entry > UINT32_MAX)
		die("%s: the entry point 0x%llx cannot be reached in 32 bits", image->path,
		    (unsigned long long)entry);
	return entry;
}

static uint32_t multiboot_address(const struct multiboot_page *page, const void *of)
{
	return LOW_MULTIBOOT + ((const uint8_t *)of - (const uint8_t *)page);
}

static void multiboot_fill_mmap(struct vm *vm, struct multiboot_page *page)
{
	struct memory_range ranges[MEMORY_RANGES_MAX];
	unsigned int n = memory_ranges(vm, ranges), i;

	for (i = 0; i < n; i++) {
		page->mmap[i].size = sizeof(page->mmap[i]) - sizeof(page->mmap[i].size);
		page->mmap[i].base = ranges[i].base;
		page->mmap[i].length = ranges[i].size;
		page->mmap[i].type = ranges[i].type;
	}
	page->info.mmap_length = n * sizeof(page->mmap[0]);
	page->info.mmap_addr = multiboot_address(page, page->mmap);
}

/* The first word of @text is the file; the guest gets all of them. */
static void multiboot_add_module(struct vm *vm, struct multiboot_page *page, char *text,
				 size_t *used)
{
	struct multiboot_module *module = &page->modules[page->info.mods_count];
	size_t room = strlen(text) + 1;
	uint64_t start, size;

	if (page->info.mods_count == MODULES_MAX)
		die("-initrd: more than %d modules", MODULES_MAX);
	if (room > sizeof(page->strings) - *used)
		die("-initrd: the words of all modules are longer than %zu bytes",
		    sizeof(page->strings));
	memcpy(page->strings + *used, text, room);
	text[strcspn(text, " ")] = 0;
	image_load_file(vm, text, 0, "a module", &start, &size);
	module->start = start;
	module->end = start + size;
	module->string = multiboot_address(page, page->strings + *used);
	*used += room;
	page->info.mods_count++;
	vm_log(vm, "module %s: 0x%llx bytes at 0x%llx", text, (unsigned long long)size,
	       (unsigned long long)start);
}

/* As QEMU: `FILE ARGS,FILE ARGS`, and two commas are one that separates nothing. */
static void multiboot_add_modules(struct vm *vm, struct multiboot_page *page)
{
	const char *from = vm->config.initrd;
	char *text, *to;
	size_t used = 0;

	while (from && *from) {
		text = xcalloc(1, strlen(from) + 1);
		for (to = text; *from && (*from != ',' || from[1] == ','); from++) {
			from += *from == ',';
			*to++ = *from;
		}
		from += *from == ',';
		multiboot_add_module(vm, page, text, &used);
		free(text);
	}
	page->info.mods_addr = multiboot_address(page, page->modules);
}

static void multiboot_fill_info(struct vm *vm, struct multiboot_page *page)
{
	struct multiboot_info *info = &page->info;
	char *text;

	info->flags = INFO_FLAG_MEMORY | INFO_FLAG_CMDLINE | INFO_FLAG_MODULES | INFO_FLAG_MMAP |
		      INFO_FLAG_LOADER_NAME;
	info->mem_lower = LOW_RAM_END >> 10;
	info->mem_upper = (vm->memory.low - LOW_END) >> 10;
	multiboot_fill_mmap(vm, page);

	memcpy(page->loader_name, "ukrun", sizeof("ukrun"));
	info->boot_loader_name = multiboot_address(page, page->loader_name);
	/* The name of the image is the first word, as GRUB and QEMU have it. */
	text = image_cmdline(vm, "", true);
	text = xasprintf("%s%s%s", vm->config.image, *text ? " " : "", text);
	info->cmdline = memory_put_cmdline(vm, text);
	multiboot_add_modules(vm, page);
}

static void multiboot_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	_Static_assert(LOW_MULTIBOOT + sizeof(struct multiboot_page) <= LOW_MULTIBOOT + 0x1000,
		       "multiboot page is too large");
	struct multiboot_header header;
	long offset = multiboot_find(image, &header);
	uint32_t unknown = header.flags & 0xffff & ~HEADER_FLAGS_KNOWN;

	if (unknown)
		die("%s: demands what no multiboot 1 loader has (header flags 0x%x)", image->path,
		    unknown);
	/* There are no page tables, and tests of real mode want to be low. */
	vm->memory.low_free = LOW_STACK;
	if (header.flags & HEADER_FLAG_ADDRESSES)
		boot->rip = multiboot_load_flat(vm, image, &header, offset);
	else
		boot->rip = multiboot_load_elf(vm, image);
	multiboot_fill_info(vm, memory_at(vm, LOW_MULTIBOOT, sizeof(struct multiboot_page)));
	boot->rax = LOADER_MAGIC;
	boot->rbx = LOW_MULTIBOOT;
	/* Not promised by the specification, kind to those who push before they set it. */
	boot->rsp = LOW_STACK + LOW_STACK_SIZE;
}

const struct image_type image_multiboot = {
	.name = "multiboot",
	.fork_on = FORK_ON_UD2,
	.match = multiboot_match,
	.load = multiboot_load,
};
