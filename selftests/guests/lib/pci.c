// SPDX-License-Identifier: GPL-2.0-only
#include "pci.h"
#include "x86.h"

#define ADDRESS_PORT	0xcf8
#define DATA_PORT	0xcfc

uint64_t peek(uint64_t at, unsigned int size)
{
	switch (size) {
	case 1:
		return *(volatile uint8_t *)at;
	case 2:
		return *(volatile uint16_t *)at;
	case 4:
		return *(volatile uint32_t *)at;
	default:
		return *(volatile uint64_t *)at;
	}
}

void poke(uint64_t at, unsigned int size, uint64_t value)
{
	switch (size) {
	case 1:
		*(volatile uint8_t *)at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)at = value;
	}
}

uint32_t port_in(uint16_t port, unsigned int size)
{
	return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

void port_out(uint16_t port, unsigned int size, uint32_t value)
{
	if (size == 1)
		outb(port, (uint8_t)value);
	else if (size == 2)
		outw(port, (uint16_t)value);
	else
		outl(port, value);
}

static uint16_t address(unsigned int slot, unsigned int reg)
{
	outl(ADDRESS_PORT, 1U << 31 | slot << 11 | (reg & 0xfc));
	return (uint16_t)(DATA_PORT + (reg & 3));
}

uint32_t pci_get(unsigned int slot, unsigned int reg, unsigned int size)
{
	return port_in(address(slot, reg), size);
}

void pci_set(unsigned int slot, unsigned int reg, unsigned int size, uint32_t value)
{
	port_out(address(slot, reg), size, value);
}

uint32_t pci_ecam_get(unsigned int slot, unsigned int reg, unsigned int size)
{
	return (uint32_t)peek(PCI_ECAM + (slot << 15) + reg, size);
}

void pci_ecam_set(unsigned int slot, unsigned int reg, unsigned int size, uint32_t value)
{
	poke(PCI_ECAM + (slot << 15) + reg, size, value);
}
