// SPDX-License-Identifier: GPL-2.0-only
#include <linux/pci_regs.h>
#include <string.h>

#include "device.h"
#include "log.h"
#include "pci/pci.h"

#define BAR_AT(bar)	(PCI_BASE_ADDRESS_0 + 4 * (bar))
#define BAR_PORTS_FLAGS	0x3
#define BAR_MEMORY_FLAGS 0xf
#define COMMAND		(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

void pci_set(struct pci_function *function, unsigned int offset, unsigned int size,
	     uint32_t value)
{
	memcpy(function->config + offset, &value, size);
}

uint32_t pci_get(const struct pci_function *function, unsigned int offset, unsigned int size)
{
	uint32_t value = 0;

	memcpy(&value, function->config + offset, size);
	return value;
}

uint64_t pci_bar_address(const struct pci_function *function, unsigned int bar)
{
	bool ports = function->bars[bar].ports;
	uint32_t enable = ports ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	uint32_t flags = ports ? BAR_PORTS_FLAGS : BAR_MEMORY_FLAGS;

	if (!function->bars[bar].size || !(pci_get(function, PCI_COMMAND, 2) & enable))
		return 0;
	return pci_get(function, BAR_AT(bar), 4) & ~flags;
}

static struct pci_function *pci_function(struct pci *pci, unsigned int devfn)
{
	return devfn & 7 ? NULL : pci->functions[devfn >> 3];
}

uint64_t pci_config_read(struct pci *pci, unsigned int devfn, unsigned int offset,
			 unsigned int size)
{
	struct pci_function *function = pci_function(pci, devfn);
	uint64_t value = 0;

	if (!function || offset + size > PCI_CONFIG_SIZE)
		return ~0ULL;
	if (function->ops && function->ops->config_read)
		function->ops->config_read(function->dev, offset, size);
	memcpy(&value, function->config + offset, size);
	return value;
}

void pci_config_write(struct pci *pci, unsigned int devfn, unsigned int offset,
		      unsigned int size, uint64_t value)
{
	struct pci_function *function = pci_function(pci, devfn);
	unsigned int i;

	if (!function || offset + size > PCI_CONFIG_SIZE)
		return;
	for (i = offset; i < offset + size; i++, value >>= 8)
		function->config[i] = (function->config[i] & ~function->writable[i]) |
				      (value & function->writable[i]);
	if (function->ops && function->ops->config_written)
		function->ops->config_written(function->dev, offset, size);
}

/* Which function answers there. Of those that overlap, the first. */
static struct pci_function *pci_decode(struct pci *pci, bool ports, uint64_t address,
				       unsigned int size, unsigned int *bar, uint64_t *offset)
{
	struct pci_function *function;
	unsigned int slot, i;
	uint64_t base;

	for (slot = 0; slot < PCI_SLOTS; slot++) {
		function = pci->functions[slot];
		for (i = 0; function && i < PCI_BARS; i++) {
			base = pci_bar_address(function, i);
			if (!base || function->bars[i].ports != ports || address < base ||
			    address - base >= function->bars[i].size ||
			    size > function->bars[i].size - (address - base))
				continue;
			*bar = i;
			*offset = address - base;
			return function;
		}
	}
	return NULL;
}

uint64_t pci_bar_read(struct pci *pci, bool ports, uint64_t address, unsigned int size)
{
	struct pci_function *function;
	unsigned int bar;
	uint64_t offset;

	function = pci_decode(pci, ports, address, size, &bar, &offset);
	return function ? function->ops->read(function->dev, bar, offset, size) : ~0ULL;
}

void pci_bar_write(struct pci *pci, bool ports, uint64_t address, unsigned int size,
		   uint64_t value)
{
	struct pci_function *function;
	unsigned int bar;
	uint64_t offset;

	function = pci_decode(pci, ports, address, size, &bar, &offset);
	if (function)
		function->ops->write(function->dev, bar, offset, size, value);
}

void pci_update_line(struct pci_function *function, bool (*wanted)(void *dev), bool told)
{
	bool off, line;

	pthread_mutex_lock(&function->line_lock);
	off = pci_get(function, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
	line = wanted(function->dev) && !off;
	if (line != function->line || told)
		kvm_irq_line(function->vm, function->irq, line);
	function->line = line;
	pthread_mutex_unlock(&function->line_lock);
}

static void pci_place_bar(struct pci *pci, struct pci_function *function, unsigned int bar)
{
	const struct pci_bar *is = &function->bars[bar];
	uint32_t *next = is->ports ? &pci->next_port : &pci->next_memory;
	uint32_t end = is->ports ? PCI_PORTS_END : PCI_MEMORY_END;
	uint32_t flags = is->ports ? PCI_BASE_ADDRESS_SPACE_IO : PCI_BASE_ADDRESS_SPACE_MEMORY;
	uint32_t base = (*next + is->size - 1) & ~(is->size - 1);
	uint32_t mask = ~(is->size - 1);

	if (base > end - is->size)
		die("-device: no room for another device on the PCI bus");
	*next = base + is->size;
	pci_set(function, BAR_AT(bar), 4, base | flags);
	memcpy(function->writable + BAR_AT(bar), &mask, sizeof(mask));
}

static unsigned int pci_place(const struct pci *pci, unsigned int slot)
{
	unsigned int i;

	if (slot < PCI_SLOTS && pci->functions[slot])
		die("-device: addr=%x: another device is there", slot);
	for (i = 0; slot == PCI_SLOT_ANY && i < PCI_SLOTS; i++)
		if (!pci->functions[i])
			slot = i;
	if (slot == PCI_SLOT_ANY)
		die("-device: no room for another device on the PCI bus");
	return slot;
}

void pci_add(struct vm *vm, struct pci_function *function, unsigned int slot)
{
	unsigned int bar;

	if (!vm->pci)
		pci_host_create(vm);
	function->vm = vm;
	function->slot = pci_place(vm->pci, slot);
	vm->pci->functions[function->slot] = function;
	pthread_mutex_init(&function->line_lock, NULL);
	for (bar = 0; bar < PCI_BARS; bar++)
		if (function->bars[bar].size)
			pci_place_bar(vm->pci, function, bar);
	pci_set(function, PCI_COMMAND, 2, COMMAND);
	function->writable[PCI_COMMAND] = COMMAND;
	function->writable[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
	function->writable[PCI_INTERRUPT_LINE] = 0xff;
	function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	function->writable[PCI_LATENCY_TIMER] = 0xff;
	device_add_state(vm, function->config, sizeof(function->config));
	if (!function->ops)
		return;
	function->irq = device_take_irq(vm);
	kvm_irq_level(vm, function->irq);
	pci_set(function, PCI_INTERRUPT_LINE, 1, function->irq);
	pci_set(function, PCI_INTERRUPT_PIN, 1, 1);
}
