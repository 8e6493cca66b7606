/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The image: what it is, and how to put it into memory. A type is one file
 * and one line in image.c, whose order is that of asking.
 */
#ifndef UKRUN_IMAGE_H
#define UKRUN_IMAGE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm.h"

struct image {
	const char *path;
	const uint8_t *data;
	size_t size;
};

/* How the first vCPU starts: see boot.h. */
struct boot {
	bool long_mode;
	uint64_t rip, rsp, rax, rbx, rdx, rsi, rdi;
};

struct image_type {
	const char *name;
	enum fork_on fork_on;	/* unless --fork-on says otherwise */
	bool (*match)(const struct image *image);
	/* Make devices that this type alone has, before the others. May be null. */
	void (*prepare)(struct vm *vm, const struct image *image);
	/* Dies when the image is no good. */
	void (*load)(struct vm *vm, const struct image *image, struct boot *boot);
};

extern const struct image_type image_multiboot, image_bzimage, image_solo5, image_pvh;
extern const struct image_type image_vmlinux, image_unikraft, image_elf64;

/* What Linux gets when there is no -append: the same is wanted by everybody. */
#define LINUX_CMDLINE		"console=ttyS0"

/* Open what the command line names; find its type and settle --fork-on. */
void image_open(struct vm *vm, struct image *image, const struct image_type **type);

/* The whole file, or dies. */
void image_map_file(const char *path, struct image *image);

/* Put -initrd below @limit (0: behind the image). False when there is none. */
bool image_load_initrd(struct vm *vm, uint64_t limit, uint64_t *gpa, uint64_t *size);

/* The same for any file of the host. */
void image_load_file(struct vm *vm, const char *path, uint64_t limit, const char *what,
		     uint64_t *gpa, uint64_t *size);

/*
 * Does Linux find virtio devices by ACPI? Told in both ways of them, it would complain
 * of the second.
 */
bool image_knows_acpi(const struct image *image);

/* -append, @devices: where virtio devices are (as Linux has it), the guest args. */
char *image_cmdline(struct vm *vm, const char *fallback, bool devices);

/* A part of the file, or dies: the file is truncated. */
const void *image_part(const struct image *image, uint64_t offset, uint64_t size,
		       const char *what);

/* image_elf.c */
bool image_elf_match(const struct image *image);
bool image_elf_match_32(const struct image *image);
/* Load PT_LOADs by p_paddr. Returns e_entry. */
uint64_t image_elf_load(struct vm *vm, const struct image *image);
/* Walk the PT_LOADs until one makes @visit return true. */
bool image_elf_find(const struct image *image, uint32_t type,
		    bool (*visit)(const uint8_t *data, size_t size));
/* The note of @name and @type, or null. Its @size bytes may not be aligned. */
const void *image_elf_note(const struct image *image, const char *name, uint32_t type,
			   size_t *size);
bool image_elf_has_section(const struct image *image, const char *name);
/* e_machine's name. */
const char *image_elf_machine(unsigned int machine);

#endif
