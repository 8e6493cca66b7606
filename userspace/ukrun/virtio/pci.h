/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio over PCI: a function with the registers of version 1.0 and later, of
 * before, or with both (pci_modern.c, pci_legacy.c).
 */
#ifndef UKRUN_VIRTIO_PCI_H
#define UKRUN_VIRTIO_PCI_H

#include "pci/pci.h"

struct virtio;

/* As QEMU's devices have them. */
#define VPCI_BAR_LEGACY		0
#define VPCI_BAR_MODERN		4

struct virtio_pci {
	struct pci_function function;
	struct virtio *virtio;
	unsigned int slot;	/* as asked for */
	bool legacy, modern;	/* what there is */
	uint8_t window;		/* of pci_modern.c: where that capability is */
	/* Where KVM takes kicks for us, and whether that is a port; 0: nowhere. */
	uint64_t kicks_at;
	bool kicks_ports;
};

/* The status, by whichever registers. */
void vpci_set_status(struct virtio_pci *pci, uint8_t status, bool legacy);
/* The causes of the interrupt, which is over with that. */
uint8_t vpci_take_interrupts(struct virtio_pci *pci);

/* pci_modern.c */
void vpci_modern_setup(struct virtio_pci *pci);
uint64_t vpci_modern_read(struct virtio_pci *pci, uint64_t offset, unsigned int size);
void vpci_modern_write(struct virtio_pci *pci, uint64_t offset, unsigned int size,
		       uint64_t value);
/* The window to the BAR in the config space: before it is read, and when it is written. */
void vpci_window_read(struct virtio_pci *pci, unsigned int offset, unsigned int size);
void vpci_window_write(struct virtio_pci *pci, unsigned int offset, unsigned int size);
/* Where kicks of @queue go, from the BAR. */
uint64_t vpci_modern_kick(unsigned int queue);

/* pci_legacy.c */
void vpci_legacy_setup(struct virtio_pci *pci);
uint64_t vpci_legacy_read(struct virtio_pci *pci, uint64_t offset, unsigned int size);
void vpci_legacy_write(struct virtio_pci *pci, uint64_t offset, unsigned int size,
		       uint64_t value);

#endif
