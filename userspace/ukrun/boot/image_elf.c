// SPDX-License-Identifier: GPL-2.0-only
/* ELF, for all types that use it; and the type that is nothing but ELF. */
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <string.h>

#include "compiler.h"
#include "boot/image.h"
#include "log.h"

const char *image_elf_machine(unsigned int machine)
{
	static const struct {
		unsigned int machine;
		const char *name;
	} names[] = {
		{ EM_386, "i386" }, { EM_X86_64, "x86-64" }, { EM_ARM, "ARM" },
		{ EM_AARCH64, "AArch64" }, { EM_RISCV, "RISC-V" }, { EM_PPC, "PowerPC" },
		{ EM_PPC64, "PowerPC64" }, { EM_S390, "S/390" }, { EM_MIPS, "MIPS" },
		{ EM_LOONGARCH, "LoongArch" }, { EM_SPARCV9, "SPARC64" },
	};
	static char other[32];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].machine == machine)
			return names[i].name;
	snprintf(other, sizeof(other), "ELF machine %u", machine);
	return other;
}

/* Ended with elf_end(). Null: not an ELF that libelf can read. */
static Elf *elf_open(const struct image *image, GElf_Ehdr *ehdr)
{
	Elf *elf;

	elf_version(EV_CURRENT);
	if (image->size < SELFMAG || memcmp(image->data, ELFMAG, SELFMAG))
		return NULL;
	elf = elf_memory((char *)image->data, image->size);
	if (elf && elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, ehdr))
		return elf;
	elf_end(elf);
	return NULL;
}

static bool elf_is(const struct image *image, uint8_t class, uint16_t machine)
{
	GElf_Ehdr ehdr;
	Elf *elf = elf_open(image, &ehdr);
	bool match;

	match = elf && ehdr.e_ident[EI_CLASS] == class && ehdr.e_machine == machine &&
		ehdr.e_ident[EI_DATA] == ELFDATA2LSB;
	elf_end(elf);
	return match;
}

bool image_elf_match(const struct image *image)
{
	return elf_is(image, ELFCLASS64, EM_X86_64);
}

bool image_elf_match_32(const struct image *image)
{
	return elf_is(image, ELFCLASS32, EM_386);
}

static Elf *elf_open_program(const struct image *image, GElf_Ehdr *ehdr, size_t *nr_phdrs)
{
	Elf *elf = elf_open(image, ehdr);

	if (!elf)
		die("%s: a damaged ELF header: %s", image->path, elf_errmsg(-1));
	if (ehdr->e_type == ET_REL)
		die("%s: an object file: link it first", image->path);
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
		die("%s: not an executable (ELF type %u)", image->path, ehdr->e_type);
	if (!ehdr->e_phnum)
		die("%s: no program headers, so nothing to load", image->path);
	image_part(image, ehdr->e_phoff, (uint64_t)ehdr->e_phnum * ehdr->e_phentsize,
		   "the program headers");
	if (elf_getphdrnum(elf, nr_phdrs))
		die("%s: damaged program headers: %s", image->path, elf_errmsg(-1));
	return elf;
}

bool image_elf_find(const struct image *image, uint32_t type,
		    bool (*visit)(const uint8_t *data, size_t size))
{
	GElf_Ehdr ehdr;
	GElf_Phdr phdr;
	bool found = false;
	size_t nr, i;
	Elf *elf;

	elf = elf_open_program(image, &ehdr, &nr);
	for (i = 0; i < nr && !found; i++) {
		if (!gelf_getphdr(elf, i, &phdr) || phdr.p_type != type)
			continue;
		image_part(image, phdr.p_offset, phdr.p_filesz, "a segment");
		found = visit(image->data + phdr.p_offset, phdr.p_filesz);
	}
	elf_end(elf);
	return found;
}

/* In a segment: see elf(5). Names and descriptors are padded to 4 bytes. */
static const void *elf_find_note(const uint8_t *data, size_t left, const char *name,
				 uint32_t type, size_t *size)
{
	size_t name_room, desc_room;
	Elf64_Nhdr note;

	while (left >= sizeof(note)) {
		memcpy(&note, data, sizeof(note));
		data += sizeof(note);
		left -= sizeof(note);
		name_room = ((size_t)note.n_namesz + 3) & ~3UL;
		desc_room = ((size_t)note.n_descsz + 3) & ~3UL;
		if (name_room > left || note.n_descsz > left - name_room)
			return NULL;
		if (note.n_type == type && note.n_namesz == strlen(name) + 1 &&
		    !memcmp(data, name, note.n_namesz)) {
			*size = note.n_descsz;
			return data + name_room;
		}
		/* The last one may lack its padding. */
		if (desc_room > left - name_room)
			return NULL;
		data += name_room + desc_room;
		left -= name_room + desc_room;
	}
	return NULL;
}

/* What is damaged has none: loading says what it is. */
const void *image_elf_note(const struct image *image, const char *name, uint32_t type,
			   size_t *size)
{
	const void *note = NULL;
	GElf_Ehdr ehdr;
	GElf_Phdr phdr;
	size_t nr, i;
	Elf *elf;

	elf = elf_open(image, &ehdr);
	if (!elf || elf_getphdrnum(elf, &nr))
		nr = 0;
	for (i = 0; i < nr && !note; i++) {
		if (!gelf_getphdr(elf, i, &phdr) || phdr.p_type != PT_NOTE ||
		    phdr.p_offset > image->size || phdr.p_filesz > image->size - phdr.p_offset)
			continue;
		note = elf_find_note(image->data + phdr.p_offset, phdr.p_filesz, name, type, size);
	}
	elf_end(elf);
	return note;
}

bool image_elf_has_section(const struct image *image, const char *name)
{
	Elf_Scn *section = NULL;
	GElf_Shdr shdr;
	GElf_Ehdr ehdr;
	bool found = false;
	const char *is;
	size_t names;
	Elf *elf;

	elf = elf_open(image, &ehdr);
	if (elf && !elf_getshdrstrndx(elf, &names)) {
		while (!found && (section = elf_nextscn(elf, section))) {
			is = gelf_getshdr(section, &shdr) ?
			     elf_strptr(elf, names, shdr.sh_name) : NULL;
			found = is && !strcmp(is, name);
		}
	}
	elf_end(elf);
	return found;
}

static void elf_load_segment(struct vm *vm, const struct image *image, const GElf_Phdr *phdr,
			     size_t index)
{
	const void *data;
	char what[40];
	uint8_t *to;

	snprintf(what, sizeof(what), "segment %zu", index);
	data = image_part(image, phdr->p_offset, phdr->p_filesz, what);
	if (phdr->p_filesz > phdr->p_memsz)
		die("%s: %s is larger in the file than in memory", image->path, what);
	to = memory_claim(vm, phdr->p_paddr, phdr->p_memsz, what);
	/* Memory is new, so what lies behind the file's part is zero. */
	memcpy(to, data, phdr->p_filesz);
	vm_log(vm, "%s: 0x%llx bytes at 0x%llx", what, (unsigned long long)phdr->p_memsz,
	       (unsigned long long)phdr->p_paddr);
}

uint64_t image_elf_load(struct vm *vm, const struct image *image)
{
	GElf_Ehdr ehdr;
	GElf_Phdr phdr;
	bool any = false;
	size_t nr, i;
	Elf *elf;

	elf = elf_open_program(image, &ehdr, &nr);
	for (i = 0; i < nr; i++) {
		if (!gelf_getphdr(elf, i, &phdr))
			die("%s: a damaged program header: %s", image->path, elf_errmsg(-1));
		if (phdr.p_type != PT_LOAD || !phdr.p_memsz)
			continue;
		if (ehdr.e_type == ET_DYN && phdr.p_paddr < LOW_END)
			die("%s: position-independent: link it for a fixed address of 1 MiB (0x100000) or more",
			    image->path);
		elf_load_segment(vm, image, &phdr, i);
		any = true;
	}
	elf_end(elf);
	if (!any)
		die("%s: no PT_LOAD segment, so nothing to load", image->path);
	return ehdr.e_entry;
}

static bool elf64_is_named(const uint8_t *data, size_t size)
{
	(void)data;
	return size;
}

/* Our own contract: docs/ukrun.md. */
static void elf64_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	if (image_elf_find(image, PT_INTERP, elf64_is_named))
		die("%s: a program for an operating system (it names a dynamic linker), not a guest",
		    image->path);
	boot->long_mode = true;
	boot->rip = image_elf_load(vm, image);
	if (!memory_at(vm, boot->rip, 1))
		die("%s: the entry point 0x%llx is not a physical address with memory", image->path,
		    (unsigned long long)boot->rip);
	if (vm->config.initrd)
		die("-initrd: this type of image (%s) takes none", "ELF64");
	boot->rsp = LOW_STACK + LOW_STACK_SIZE;
	boot->rdi = memory_put_cmdline(vm, image_cmdline(vm, "", true));
	boot->rsi = vm->memory.size;
	boot->rdx = vm->config.nr_vcpus;
}

const struct image_type image_elf64 = {
	.name = "64-bit ELF",
	.fork_on = FORK_ON_UD2,
	.match = image_elf_match,
	.load = elf64_load,
};
