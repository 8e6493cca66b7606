/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: one file, mapped in one piece. RAM lies below the PCI hole
 * and, what is more, from 4 GiB up. A guest-physical address is a uint64_t and
 * becomes a pointer in memory_at() alone.
 */
#ifndef UKRUN_MEMORY_H
#define UKRUN_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct vm;

/* From there to 4 GiB are devices, the first of them what pci/pci.h has. */
#define MEMORY_LOW_MAX		0xb0000000ULL
#define MEMORY_HIGH_START	(4ULL << 30)
/* What the page tables of the boot contract reach. */
#define MEMORY_SIZE_MAX		(96ULL << 30)

/* The first MiB is ukrun's until the guest makes it its own. */
#define LOW_GDT			0x1000
#define LOW_ZERO_PAGE		0x2000
#define LOW_MULTIBOOT		0x3000
#define LOW_AP_CODE		0x4000	/* free for the guest */
#define LOW_PAGE_TABLES		0x10000
#define LOW_STACK		0x80000
#define LOW_STACK_SIZE		0x10000
#define LOW_CMDLINE		0x90000
#define LOW_CMDLINE_SIZE	0xf000
#define LOW_RAM_END		0x9fc00	/* the EBDA, 1 KiB, is behind it */
#define LOW_ACPI		0xe0000
#define LOW_MPTABLE		0xf0000
#define LOW_BIOS		0xfe000
#define LOW_END			0x100000

struct memory_claim {
	uint64_t start, end;
	char what[40];
};

/* As e820, multiboot and PVH number them. */
#define MEMORY_RAM		1
#define MEMORY_RESERVED		2

struct memory_range {
	uint64_t base, size;
	uint32_t type;
};

#define MEMORY_RANGES_MAX	5

struct memory {
	uint8_t *base;
	int fd;		/* kept for who looks at us from outside */
	uint64_t size;
	uint64_t low;	/* bytes below the PCI hole */
	/*
	 * Of the first MiB an image may have what lies from LOW_AP_CODE up to
	 * here. Zero: nothing.
	 */
	uint64_t low_free;
	/* What image and initrd occupy; only until the guest runs. */
	struct memory_claim *claims;
	unsigned int nr_claims;
};

/* Make the memory and give it to the VM. */
void memory_create(struct vm *vm);

/* The guest will not run again. */
void memory_release(struct vm *vm);

/* Null unless all of it is RAM. */
void *memory_at(const struct vm *vm, uint64_t gpa, uint64_t size);

/* What guests are told of memory. Returns how many ranges there are. */
unsigned int memory_ranges(const struct vm *vm, struct memory_range *ranges);

/*
 * A few bytes, by the file: a page that is not mapped here stays so, for to map it
 * costs several times as much. 0, -EFAULT (as memory_at()), -EIO.
 */
int memory_read(const struct vm *vm, uint64_t gpa, void *to, size_t size);
int memory_write(const struct vm *vm, uint64_t gpa, const void *from, size_t size);

/*
 * Take memory for a part of the image: dies, with the -m it takes, unless it
 * is RAM above the first MiB, or free in there, that nothing else has taken.
 */
void *memory_claim(struct vm *vm, uint64_t gpa, uint64_t size, const char *what);

/*
 * Take a page-aligned place, the highest below @limit or (@limit zero) the
 * lowest above all that is taken.
 */
uint64_t memory_claim_free(struct vm *vm, uint64_t size, uint64_t limit, const char *what);

/* The first page behind all that is taken below the PCI hole. */
uint64_t memory_claimed_end(const struct vm *vm);

/* Copy @text and its NUL to LOW_CMDLINE. Returns the address. */
uint64_t memory_put_cmdline(struct vm *vm, const char *text);

#endif
