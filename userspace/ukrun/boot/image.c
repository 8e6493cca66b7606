// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/image.h"
#include "device.h"
#include "log.h"
#include "option.h"

/* Multiboot first: such an image may be an ELF file as well. */
static const struct image_type *const image_types[] = {
	&image_multiboot,
	&image_bzimage,
	&image_solo5,
	&image_pvh,
	&image_vmlinux,
	&image_unikraft,
	&image_elf64,
};

static const char *const fork_names[] = {
	[FORK_ON_UD2] = "ud2",
	[FORK_ON_PORT] = "port",
	[FORK_ON_OFF] = "off",
};

static void image_option_kernel(struct vm *vm, const char *arg)
{
	vm->config.image = arg;
}

static void image_option_append(struct vm *vm, const char *arg)
{
	vm->config.append = arg;
}

static void image_option_initrd(struct vm *vm, const char *arg)
{
	vm->config.initrd = arg;
}

DECLARE_OPTION(kernel, {
	"kernel", "FILE", "the image, instead of IMAGE", image_option_kernel,
});
DECLARE_OPTION(append, {
	"append", "STR", "command line; guest args follow it", image_option_append,
});
DECLARE_OPTION(initrd, {
	"initrd", "FILE", "Linux's initrd; multiboot's modules: 'FILE ARGS,FILE ARGS'",
	image_option_initrd,
});

void image_map_file(const char *path, struct image *image)
{
	struct stat stat;
	void *data;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat))
		die_errno("%s", path);
	if (S_ISDIR(stat.st_mode))
		die("%s: is a directory, not an image", path);
	if (!S_ISREG(stat.st_mode))
		die("%s: not a regular file", path);
	if (!stat.st_size)
		die("%s: the file is empty", path);
	data = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		die_errno("%s", path);
	close(fd);
	image->path = path;
	image->data = data;
	image->size = stat.st_size;
}

const void *image_part(const struct image *image, uint64_t offset, uint64_t size,
		       const char *what)
{
	if (offset > image->size || size > image->size - offset)
		die("%s: truncated: %s ends at byte %llu, the file at %zu", image->path, what,
		    (unsigned long long)(offset + size), image->size);
	return image->data + offset;
}

static void image_refuse(const struct image *image)
{
	const uint8_t *data = image->data;
	const Elf64_Ehdr *ehdr = (const void *)data;

	if (image->size < sizeof(Elf32_Ehdr))
		die("%s: %zu bytes are too few for an image", image->path, image->size);
	if (!memcmp(data, "\x1f\x8b", 2))
		die("%s: compressed: unpack it with 'gunzip' first", image->path);
	if (memcmp(data, ELFMAG, SELFMAG))
		die("%s: not an image ukrun knows: neither multiboot, bzImage nor ELF",
		    image->path);
	if (data[EI_DATA] != ELFDATA2LSB)
		die("%s: made for %s (big-endian): ukrun runs x86-64", image->path,
		    image_elf_machine(ehdr->e_machine >> 8 | (ehdr->e_machine & 0xff) << 8));
	if (ehdr->e_machine == EM_386 || (data[EI_CLASS] == ELFCLASS32 &&
					  ehdr->e_machine == EM_X86_64))
		die("%s: 32-bit ELF without a multiboot header in its first 8 KiB: link one in, or build for 64 bits",
		    image->path);
	if (ehdr->e_machine != EM_X86_64)
		die("%s: made for %s: ukrun runs x86-64", image->path,
		    image_elf_machine(ehdr->e_machine));
	die("%s: a damaged ELF file", image->path);
}

void image_open(struct vm *vm, struct image *image, const struct image_type **type)
{
	unsigned int i;

	image_map_file(vm->config.image, image);
	for (i = 0; i < ARRAY_SIZE(image_types); i++)
		if (image_types[i]->match(image))
			break;
	if (i == ARRAY_SIZE(image_types))
		image_refuse(image);
	*type = image_types[i];
	if (vm->config.fork_on == FORK_ON_DEFAULT)
		vm->config.fork_on = (*type)->fork_on;
	vm_log(vm, "%s: %s, fork on %s", image->path, (*type)->name,
	       fork_names[vm->config.fork_on]);
}

void image_load_file(struct vm *vm, const char *path, uint64_t limit, const char *what,
		     uint64_t *gpa, uint64_t *size)
{
	struct image file;

	image_map_file(path, &file);
	*size = file.size;
	*gpa = memory_claim_free(vm, file.size, limit, what);
	memcpy(memory_at(vm, *gpa, *size), file.data, file.size);
	munmap((void *)file.data, file.size);
}

bool image_load_initrd(struct vm *vm, uint64_t limit, uint64_t *gpa, uint64_t *size)
{
	if (!vm->config.initrd)
		return false;
	image_load_file(vm, vm->config.initrd, limit, "the initrd", gpa, size);
	return true;
}

/*
 * Its virtio driver, if built in, holds ACPI's name of the device, and the
 * name of its parameter if it takes devices from the command line.
 */
bool image_knows_acpi(const struct image *image)
{
	static const char acpi[] = "LNRO0005", parameter[] = "virtio_mmio.device";

	return memmem(image->data, image->size, acpi, sizeof(acpi) - 1) ||
	       !memmem(image->data, image->size, parameter, sizeof(parameter) - 1);
}

char *image_cmdline(struct vm *vm, const char *fallback, bool devices)
{
	const char *append = vm->config.append ?: fallback;
	const char *args = vm->config.guest_args;
	char *words = devices ? device_cmdline_all(vm) : xasprintf("%s", "");
	/* What follows is the program's, not the kernel's. */
	const char *rest = strncmp(append, "-- ", 3) ? strstr(append, " -- ") : append;
	int size = rest ? rest - append : (int)strlen(append);
	char *text;

	rest = append + size;
	text = xasprintf("%.*s%s%s%s%s%s%s", size, append, size && *words ? " " : "", words,
			 *words && *rest && *rest != ' ' ? " " : "", rest,
			 (*append || *words) && *args ? " " : "", args);
	free(words);
	return text;
}
