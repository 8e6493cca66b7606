// SPDX-License-Identifier: GPL-2.0-only
/* Registers of virtio over PCI, by the names of those over MMIO. */
#include "guest.h"
#include "pci.h"
#include "virtio.h"

#define VENDOR		0x1af4
#define ID_MODERN	0x1040
#define BAR_LEGACY	0

#define CAP_VENDOR	9
#define CAP_COMMON	1
#define CAP_NOTIFY	2
#define CAP_ISR		3
#define CAP_CONFIG	4

#define LEGACY_CONFIG	20
#define KICKS		1024

/* Where a register is, and its size; 0: nowhere. */
struct place {
	uint8_t offset, size;
};

static const struct place modern[] = {
	[VIRTIO_FEATURES_SEL / 4] = { 0, 4 },
	[VIRTIO_FEATURES / 4] = { 4, 4 },
	[VIRTIO_DRIVER_SEL / 4] = { 8, 4 },
	[VIRTIO_DRIVER / 4] = { 12, 4 },
	[VIRTIO_STATUS / 4] = { 20, 1 },
	[VIRTIO_QUEUE_SEL / 4] = { 22, 2 },
	[VIRTIO_QUEUE_MAX / 4] = { 24, 2 },
	[VIRTIO_QUEUE_NUM / 4] = { 24, 2 },
	[VIRTIO_QUEUE_READY / 4] = { 28, 2 },
	[VIRTIO_QUEUE_DESC / 4] = { 32, 4 },
	[VIRTIO_QUEUE_DESC / 4 + 1] = { 36, 4 },
	[VIRTIO_QUEUE_AVAIL / 4] = { 40, 4 },
	[VIRTIO_QUEUE_AVAIL / 4 + 1] = { 44, 4 },
	[VIRTIO_QUEUE_USED / 4] = { 48, 4 },
	[VIRTIO_QUEUE_USED / 4 + 1] = { 52, 4 },
};

static const struct place legacy[] = {
	[VIRTIO_FEATURES / 4] = { 0, 4 },
	[VIRTIO_DRIVER / 4] = { 4, 4 },
	[VIRTIO_QUEUE_PFN / 4] = { 8, 4 },
	[VIRTIO_QUEUE_MAX / 4] = { 12, 2 },
	[VIRTIO_QUEUE_SEL / 4] = { 14, 2 },
	[VIRTIO_NOTIFY / 4] = { 16, 2 },
	[VIRTIO_STATUS / 4] = { 18, 1 },
	[VIRTIO_INTERRUPTS / 4] = { 19, 1 },
};

static struct place find_place(const struct virtio *dev, unsigned int reg)
{
	struct place nowhere = { 0, 0 };

	if (dev->legacy)
		return reg / 4 < ARRAY_SIZE(legacy) ? legacy[reg / 4] : nowhere;
	return reg / 4 < ARRAY_SIZE(modern) ? modern[reg / 4] : nowhere;
}

static uint64_t bar_address(const struct virtio *dev, unsigned int bar)
{
	return pci_get(dev->slot, PCI_BAR(bar), 4) & ~0xfU;
}

void virtio_pci_locate(struct virtio *dev)
{
	unsigned int at = pci_get(dev->slot, PCI_CAPABILITIES, 1);

	dev->base = bar_address(dev, BAR_LEGACY);
	dev->common = 0;
	for (; at; at = pci_get(dev->slot, at + 1, 1)) {
		unsigned int type = pci_get(dev->slot, at + 3, 1);
		uint64_t to = bar_address(dev, pci_get(dev->slot, at + 4, 1) % 6) +
			      pci_get(dev->slot, at + 8, 4);

		if (pci_get(dev->slot, at, 1) != CAP_VENDOR)
			continue;
		if (type == CAP_COMMON)
			dev->common = to;
		else if (type == CAP_ISR)
			dev->isr = to;
		else if (type == CAP_CONFIG)
			dev->config = to;
		else if (type == CAP_NOTIFY)
			dev->notify = to;
		if (type == CAP_NOTIFY)
			dev->notify_each = pci_get(dev->slot, at + 16, 4);
	}
	dev->legacy = !dev->common || arg_flag("legacy");
	if (!dev->legacy)
		dev->base = dev->common;
}

bool virtio_pci_find(struct virtio *dev, unsigned int index)
{
	unsigned int slot, id;

	for (slot = 1; slot < PCI_SLOTS; slot++) {
		if (pci_get(slot, PCI_VENDOR, 2) != VENDOR || index--)
			continue;
		id = pci_get(slot, PCI_DEVICE, 2);
		dev->slot = slot;
		dev->id = id < ID_MODERN ? pci_get(slot, PCI_SUBSYSTEM, 2) : id - ID_MODERN;
		dev->irq = pci_get(slot, PCI_LINE, 1);
		virtio_pci_locate(dev);
		return true;
	}
	return false;
}

static uint32_t get_legacy(const struct virtio *dev, unsigned int reg)
{
	struct place place = find_place(dev, reg);
	uint16_t port = (uint16_t)dev->base;

	if (reg >= VIRTIO_CONFIG)
		return reg - VIRTIO_CONFIG > 0x80 ? 0 :
		       port_in((uint16_t)(port + LEGACY_CONFIG + reg - VIRTIO_CONFIG), 4);
	if (reg == VIRTIO_FEATURES && dev->features_select)
		return 0;
	return place.size ? port_in((uint16_t)(port + place.offset), place.size) : 0;
}

uint32_t virtio_pci_get(struct virtio *dev, unsigned int reg)
{
	struct place place = find_place(dev, reg);

	if (reg == VIRTIO_MAGIC)
		return 0x74726976;
	if (reg == VIRTIO_VERSION)
		return dev->legacy ? 1 : 2;
	if (reg == VIRTIO_ID)
		return dev->id;
	if (dev->legacy)
		return get_legacy(dev, reg);
	if (reg == VIRTIO_INTERRUPTS)
		return (uint32_t)peek(dev->isr, 1);
	if (reg >= VIRTIO_CONFIG)
		return (uint32_t)peek(dev->config + reg - VIRTIO_CONFIG, 4);
	return place.size ? (uint32_t)peek(dev->common + place.offset, place.size) : 0;
}

void virtio_pci_set(struct virtio *dev, unsigned int reg, uint32_t value)
{
	struct place place = find_place(dev, reg);

	if (reg == VIRTIO_FEATURES_SEL)
		dev->features_select = value;
	if (dev->legacy && place.size)
		port_out((uint16_t)(dev->base + place.offset), place.size, value);
	else if (!dev->legacy && reg == VIRTIO_NOTIFY)
		poke(dev->notify + value % KICKS * dev->notify_each, 2, value);
	else if (!dev->legacy && place.size)
		poke(dev->common + place.offset, place.size, value);
}
