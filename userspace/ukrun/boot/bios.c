// SPDX-License-Identifier: GPL-2.0-only
/*
 * The BIOS data area is that of the IBM PC/AT Technical Reference, section 5:
 * xv6 looks for tables by it, Xen for the end of conventional memory. Code that
 * goes back to real mode to ask a BIOS (Xen, Linux's setup) meets handlers.
 */
#include <string.h>

#include "boot/bios.h"
#include "memory.h"
#include "vm.h"

#define VECTORS			256
/* Software calls: video, equipment, disks, ..., time of day. */
#define VECTOR_CALLS_FIRST	0x10
#define VECTOR_CALLS_LAST	0x1a

#define BDA_COM1		0x400
#define BDA_EBDA_SEGMENT	0x40e
#define BDA_EQUIPMENT		0x410
#define BDA_MEMORY_KIB		0x413
#define BDA_CRTC_PORT		0x463

#define EQUIPMENT_ONE_SERIAL	(1 << 9)

#define HANDLER_RETURN		0
#define HANDLER_REFUSE		0x10

static const uint8_t handler_return[] = {
	0xcf,			/* iret */
};

/* AH = 0x86 and carry: no such function. */
static const uint8_t handler_refuse[] = {
	0x55,			/* push bp */
	0x89, 0xe5,		/* mov bp, sp */
	0x80, 0x4e, 0x06, 0x01,	/* or byte [bp + 6], 1 */
	0x5d,			/* pop bp */
	0xb4, 0x86,		/* mov ah, 0x86 */
	0xcf,			/* iret */
};

static void bios_put_word(struct vm *vm, uint64_t gpa, uint16_t value)
{
	memcpy(memory_at(vm, gpa, sizeof(value)), &value, sizeof(value));
}

void bios_setup(struct vm *vm)
{
	uint16_t segment = LOW_BIOS >> 4;
	unsigned int i;

	memcpy(memory_at(vm, LOW_BIOS + HANDLER_RETURN, sizeof(handler_return)),
	       handler_return, sizeof(handler_return));
	memcpy(memory_at(vm, LOW_BIOS + HANDLER_REFUSE, sizeof(handler_refuse)),
	       handler_refuse, sizeof(handler_refuse));
	for (i = 0; i < VECTORS; i++) {
		bool call = i >= VECTOR_CALLS_FIRST && i <= VECTOR_CALLS_LAST;

		bios_put_word(vm, 4 * i, call ? HANDLER_REFUSE : HANDLER_RETURN);
		bios_put_word(vm, 4 * i + 2, segment);
	}
	bios_put_word(vm, BDA_COM1, 0x3f8);
	bios_put_word(vm, BDA_EBDA_SEGMENT, LOW_RAM_END >> 4);
	bios_put_word(vm, BDA_EQUIPMENT, EQUIPMENT_ONE_SERIAL);
	bios_put_word(vm, BDA_MEMORY_KIB, LOW_RAM_END >> 10);
	bios_put_word(vm, BDA_CRTC_PORT, 0x3d4);
	/* Its own size in KiB is the first byte. */
	bios_put_word(vm, LOW_RAM_END, 1);
}
