// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers of before version 1.0: ports, "Legacy Interfaces: A Note on PCI Device
 * Layout" in the standard. The size of a queue is the device's choice.
 */
#include <linux/virtio_pci.h>

#include "virtio/pci.h"
#include "virtio/regs.h"
#include "virtio/virtio.h"

#define CONFIG		VIRTIO_PCI_CONFIG_OFF(0)
#define PAGE		VIRTIO_PCI_VRING_ALIGN

void vpci_legacy_setup(struct virtio_pci *pci)
{
	struct pci_bar *bar = &pci->function.bars[VPCI_BAR_LEGACY];

	bar->ports = true;
	for (bar->size = 32; bar->size < CONFIG + pci->virtio->config_size; bar->size *= 2)
		;
}

uint64_t vpci_legacy_read(struct virtio_pci *pci, uint64_t offset, unsigned int size)
{
	struct virtio *virtio = pci->virtio;
	const struct queue *queue = regs_queue(virtio);

	if (offset >= CONFIG)
		return regs_config(virtio, offset - CONFIG, size);
	switch (offset) {
	case VIRTIO_PCI_HOST_FEATURES:
		return (uint32_t)virtio->features;
	case VIRTIO_PCI_GUEST_FEATURES:
		return (uint32_t)virtio->state.driver_features;
	case VIRTIO_PCI_QUEUE_PFN:
		return queue ? regs_pfn(queue, PAGE) : 0;
	case VIRTIO_PCI_QUEUE_NUM:
		return queue ? queue->size_max : 0;
	case VIRTIO_PCI_QUEUE_SEL:
		return virtio->state.queue_select;
	case VIRTIO_PCI_STATUS:
		return virtio->state.status;
	case VIRTIO_PCI_ISR:
		return vpci_take_interrupts(pci);
	default:
		return 0;
	}
}

static void legacy_set_pfn(struct queue *queue, uint32_t pfn)
{
	queue->state.size = queue->size_max;
	regs_set_pfn(queue, pfn, PAGE);
}

void vpci_legacy_write(struct virtio_pci *pci, uint64_t offset, unsigned int size,
		       uint64_t value)
{
	struct virtio *virtio = pci->virtio;
	struct queue *queue = regs_queue_to_set(virtio);

	switch (offset) {
	case VIRTIO_PCI_GUEST_FEATURES:
		virtio->state.driver_features_select = 0;
		if (size == 4)
			regs_set_driver_features(virtio, value);
		break;
	case VIRTIO_PCI_QUEUE_PFN:
		if (size == 4 && queue)
			legacy_set_pfn(queue, value);
		break;
	case VIRTIO_PCI_QUEUE_SEL:
		virtio->state.queue_select = value & 0xffff;
		break;
	case VIRTIO_PCI_QUEUE_NOTIFY:
		/* KVM takes it to the eventfd itself, as a rule. */
		regs_kick(virtio, value & 0xffff);
		break;
	case VIRTIO_PCI_STATUS:
		vpci_set_status(pci, value & 0xff, true);
		break;
	}
}
