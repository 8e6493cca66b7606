/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A driver's side of virtio, as small as tests can do with. It does what it is
 * told, also what a driver must not. Registers are called as those of MMIO; over PCI
 * (virtio_pci.c) the same are found elsewhere.
 */
#ifndef _VIRTIO_H
#define _VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_MAGIC		0x000
#define VIRTIO_VERSION		0x004
#define VIRTIO_ID		0x008
#define VIRTIO_FEATURES		0x010
#define VIRTIO_FEATURES_SEL	0x014
#define VIRTIO_DRIVER		0x020
#define VIRTIO_DRIVER_SEL	0x024
#define VIRTIO_PAGE_SIZE	0x028
#define VIRTIO_QUEUE_SEL	0x030
#define VIRTIO_QUEUE_MAX	0x034
#define VIRTIO_QUEUE_NUM	0x038
#define VIRTIO_QUEUE_ALIGN	0x03c
#define VIRTIO_QUEUE_PFN	0x040
#define VIRTIO_QUEUE_READY	0x044
#define VIRTIO_NOTIFY		0x050
#define VIRTIO_INTERRUPTS	0x060
#define VIRTIO_ACK		0x064
#define VIRTIO_STATUS		0x070
#define VIRTIO_QUEUE_DESC	0x080
#define VIRTIO_QUEUE_AVAIL	0x090
#define VIRTIO_QUEUE_USED	0x0a0
#define VIRTIO_CONFIG		0x100

#define STATUS_ACKNOWLEDGE	0x01
#define STATUS_DRIVER		0x02
#define STATUS_DRIVER_OK	0x04
#define STATUS_FEATURES_OK	0x08
#define STATUS_NEEDS_RESET	0x40

#define INTERRUPT_QUEUE		1
#define INTERRUPT_CONFIG	2

#define FEATURE_INDIRECT	(1ULL << 28)
#define FEATURE_EVENT_IDX	(1ULL << 29)
#define FEATURE_VERSION_1	(1ULL << 32)

#define VIRTIO_ID_NET		1
#define VIRTIO_ID_BLOCK		2
#define VIRTIO_ID_RNG		4
#define VIRTIO_ID_BALLOON	5

#define DESC_NEXT		1
#define DESC_WRITE		2
#define DESC_INDIRECT		4

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* That of disks, whose legacy function over PCI has no other. */
#define RING_SIZE	128

/* As a legacy device wants it: one piece, the used ring on a page of its own. */
struct ring {
	struct desc desc[RING_SIZE];
	uint16_t avail_flags, avail_idx, avail[RING_SIZE], used_event;
	uint8_t pad[4096 - 16 * RING_SIZE - 6 - 2 * RING_SIZE];
	uint16_t used_flags, used_idx;
	struct {
		uint32_t id, len;
	} used[RING_SIZE];
	uint16_t avail_event;
	uint8_t pad2[4096 - 6 - 8 * RING_SIZE];
} __attribute__((aligned(4096)));

struct virtio {
	uint64_t base;		/* over PCI: the BAR */
	unsigned int irq;
	uint32_t id;
	bool legacy;
	unsigned int slot;	/* of PCI; 0: over MMIO */
	uint64_t common, isr, config, notify;	/* modern, over PCI: addresses */
	unsigned int notify_each;
	uint32_t features_select;	/* legacy, over PCI, has but one half */
	/* Counted by the interrupt handler. */
	volatile unsigned int queue_irqs, config_irqs;
};

/*
 * The device with number @index on the command line and then on the PCI bus, where
 * the argument `legacy` asks for those registers. False: there is none.
 */
bool virtio_find(struct virtio *dev, unsigned int index);
/* The first with this id; ends the guest when there is none. */
void virtio_need(struct virtio *dev, uint32_t id);

uint32_t virtio_get(struct virtio *dev, unsigned int reg);
void virtio_set(struct virtio *dev, unsigned int reg, uint32_t value);
uint64_t virtio_features(struct virtio *dev);

/* Reset and settle features. Does the device take them? */
bool virtio_begin(struct virtio *dev, uint64_t features);
/* Clear and name queue @queue. */
void virtio_set_ring(struct virtio *dev, unsigned int queue, struct ring *ring);
void virtio_ready(struct virtio *dev);

/* Have interrupts of @dev counted and acknowledged; once for all, the last wins. */
void virtio_irq_init(struct virtio *dev);

/* virtio_pci.c */
bool virtio_pci_find(struct virtio *dev, unsigned int index);
/* Read again where BARs are. */
void virtio_pci_locate(struct virtio *dev);
uint32_t virtio_pci_get(struct virtio *dev, unsigned int reg);
void virtio_pci_set(struct virtio *dev, unsigned int reg, uint32_t value);

/* Put @head into the available ring. Kicks are the caller's. */
void ring_offer(struct ring *ring, uint16_t head);
/* Until the device has used @idx in all, up to ten seconds. */
bool ring_wait(const struct ring *ring, uint16_t idx);
/* Until @status has appeared. */
bool virtio_wait_status(struct virtio *dev, uint32_t status);

#endif
