/* SPDX-License-Identifier: GPL-2.0-only */
/* Config space, by ports and by memory. Of 1, 2 or 4 bytes. */
#ifndef _PCI_H
#define _PCI_H

#include <stdint.h>

#define PCI_SLOTS	32
#define PCI_ECAM	0xb0000000UL

#define PCI_VENDOR	0x00
#define PCI_DEVICE	0x02
#define PCI_COMMAND	0x04
#define PCI_STATUS	0x06
#define PCI_REVISION	0x08
#define PCI_CLASS	0x0a
#define PCI_BAR(n)	(0x10U + 4 * (n))
#define PCI_SUBSYSTEM	0x2e
#define PCI_CAPABILITIES 0x34
#define PCI_LINE	0x3c
#define PCI_PIN		0x3d

#define COMMAND_PORTS	1
#define COMMAND_MEMORY	2
#define COMMAND_INTX_OFF 0x400

/* Of bus 0, function 0. */
uint32_t pci_get(unsigned int slot, unsigned int reg, unsigned int size);
void pci_set(unsigned int slot, unsigned int reg, unsigned int size, uint32_t value);

uint32_t pci_ecam_get(unsigned int slot, unsigned int reg, unsigned int size);
void pci_ecam_set(unsigned int slot, unsigned int reg, unsigned int size, uint32_t value);

/* Memory and ports, where the size is not known before. */
uint64_t peek(uint64_t at, unsigned int size);
void poke(uint64_t at, unsigned int size, uint64_t value);
uint32_t port_in(uint16_t port, unsigned int size);
void port_out(uint16_t port, unsigned int size, uint32_t value);

#endif
