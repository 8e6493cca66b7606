// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers of version 1.0 and later: "Virtio Structure PCI Capabilities" in the
 * standard. All are in one BAR, a page for each kind.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>

#include "virtio/pci.h"
#include "virtio/regs.h"
#include "virtio/virtio.h"

#define AREA		0x1000U
#define COMMON_AT	(0 * AREA)
#define ISR_AT		(1 * AREA)
#define CONFIG_AT	(2 * AREA)
#define NOTIFY_AT	(3 * AREA)
#define BAR_SIZE	(4 * AREA)
#define NOTIFY_EACH	4

#define CAPABILITIES_AT	0x40

uint64_t vpci_modern_kick(unsigned int queue)
{
	return NOTIFY_AT + queue * NOTIFY_EACH;
}

/* Returns where the next one goes. */
static uint8_t modern_put_capability(struct virtio_pci *pci, uint8_t at, uint8_t type,
				     uint32_t offset, uint32_t length)
{
	struct virtio_pci_notify_cap notify = {
		.cap = {
			.cap_vndr = PCI_CAP_ID_VNDR, .cfg_type = type, .bar = VPCI_BAR_MODERN,
			.offset = offset, .length = length,
		},
		.notify_off_multiplier = NOTIFY_EACH,
	};
	bool longer = type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG;
	uint8_t next;

	notify.cap.cap_len = longer ? sizeof(notify) : sizeof(notify.cap);
	next = at + notify.cap.cap_len;
	/* That of the window comes last. */
	notify.cap.cap_next = type == VIRTIO_PCI_CAP_PCI_CFG ? 0 : next;
	memcpy(pci->function.config + at, &notify, notify.cap.cap_len);
	return next;
}

void vpci_modern_setup(struct virtio_pci *pci)
{
	struct pci_function *function = &pci->function;
	uint8_t at = CAPABILITIES_AT;

	function->bars[VPCI_BAR_MODERN].size = BAR_SIZE;
	pci_set(function, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	pci_set(function, PCI_CAPABILITY_LIST, 1, at);
	at = modern_put_capability(pci, at, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_AT,
				   sizeof(struct virtio_pci_common_cfg));
	at = modern_put_capability(pci, at, VIRTIO_PCI_CAP_ISR_CFG, ISR_AT, 1);
	if (pci->virtio->config_size)
		at = modern_put_capability(pci, at, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG_AT,
					   pci->virtio->config_size);
	at = modern_put_capability(pci, at, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_AT,
				   pci->virtio->class->nr_queues * NOTIFY_EACH);
	pci->window = at;
	modern_put_capability(pci, at, VIRTIO_PCI_CAP_PCI_CFG, 0, 0);
	memset(function->writable + at + VIRTIO_PCI_CAP_BAR, 0xff, 1);
	memset(function->writable + at + VIRTIO_PCI_CAP_OFFSET, 0xff,
	       sizeof(struct virtio_pci_cfg_cap) - VIRTIO_PCI_CAP_OFFSET);
	pci->virtio->features |= VIRTIO_BIT(VIRTIO_F_VERSION_1);
}

static uint64_t modern_get_queue(const struct queue *queue, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return queue->state.size ?: queue->size_max;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return queue->state.ready;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return queue->state.desc;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return queue->state.desc >> 32;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return queue->state.avail;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return queue->state.avail >> 32;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return queue->state.used;
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return queue->state.used >> 32;
	default:
		return 0;
	}
}

static uint64_t modern_get(struct virtio *virtio, uint64_t offset)
{
	const struct virtio_state *state = &virtio->state;
	const struct queue *queue = regs_queue(virtio);

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return state->device_features_select;
	case VIRTIO_PCI_COMMON_DF:
		return regs_features(virtio);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return state->driver_features_select;
	case VIRTIO_PCI_COMMON_GF:
		return regs_driver_features(virtio);
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return VIRTIO_MSI_NO_VECTOR;
	case VIRTIO_PCI_COMMON_NUMQ:
		return virtio->class->nr_queues;
	case VIRTIO_PCI_COMMON_STATUS:
		return state->status;
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return state->generation;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return state->queue_select;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return queue ? state->queue_select : 0;
	default:
		return queue ? modern_get_queue(queue, offset) : 0;
	}
}

uint64_t vpci_modern_read(struct virtio_pci *pci, uint64_t offset, unsigned int size)
{
	struct virtio *virtio = pci->virtio;
	uint64_t value;

	switch (offset & ~(AREA - 1ULL)) {
	case COMMON_AT:
		value = modern_get(virtio, offset - COMMON_AT);
		if (size == 8)
			value = (uint32_t)value | modern_get(virtio, offset - COMMON_AT + 4) << 32;
		return value;
	case ISR_AT:
		return offset == ISR_AT ? vpci_take_interrupts(pci) : 0;
	case CONFIG_AT:
		return regs_config(virtio, offset - CONFIG_AT, size);
	default:
		return 0;
	}
}

/* Of @size bytes where fields begin. A ring's address is written in one or two parts. */
static void modern_set_ring(uint64_t *address, bool high, unsigned int size, uint64_t value)
{
	if (size == 8 && !high)
		*address = value;
	else if (size == 4)
		regs_set_half(address, value, high);
}

static void modern_set_queue(struct queue *queue, uint64_t offset, unsigned int size,
			     uint64_t value)
{
	struct queue_state *state = &queue->state;

	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		/* One that it may not have stays one, for the queue to refuse. */
		state->size = (value & 0xffff) ?: UINT16_MAX;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		state->size = state->size ?: queue->size_max;
		state->ready = value & 1;
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		modern_set_ring(&state->desc, offset & 4, size, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		modern_set_ring(&state->avail, offset & 4, size, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		modern_set_ring(&state->used, offset & 4, size, value);
		break;
	}
}

static void modern_set(struct virtio_pci *pci, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio *virtio = pci->virtio;
	struct virtio_state *state = &virtio->state;
	struct queue *queue;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		state->device_features_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		state->driver_features_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		if (size == 4)
			regs_set_driver_features(virtio, value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		vpci_set_status(pci, value & 0xff, false);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		state->queue_select = value & 0xffff;
		break;
	default:
		queue = regs_queue_to_set(virtio);
		if (queue)
			modern_set_queue(queue, offset, size, value);
	}
}

void vpci_modern_write(struct virtio_pci *pci, uint64_t offset, unsigned int size, uint64_t value)
{
	switch (offset & ~(AREA - 1ULL)) {
	case COMMON_AT:
		modern_set(pci, offset - COMMON_AT, size, value);
		break;
	case NOTIFY_AT:
		/* KVM takes it to the eventfd itself, as a rule. */
		regs_kick(pci->virtio, (offset - NOTIFY_AT) / NOTIFY_EACH);
		break;
	}
}

/*
 * The access that the window stands for. The standard has it whole, aligned, in
 * the BAR, and with the last four bytes in the place of the data.
 */
static bool modern_window(const struct virtio_pci *pci, unsigned int offset, unsigned int size,
			  uint64_t *at)
{
	const struct pci_function *function = &pci->function;
	unsigned int window = pci->window;

	if (!pci->modern || offset != window + sizeof(struct virtio_pci_cap))
		return false;
	*at = pci_get(function, window + VIRTIO_PCI_CAP_OFFSET, 4);
	return pci_get(function, window + VIRTIO_PCI_CAP_BAR, 1) == VPCI_BAR_MODERN &&
	       pci_get(function, window + VIRTIO_PCI_CAP_LENGTH, 4) == size && size <= 4 &&
	       *at % size == 0 && *at <= BAR_SIZE - size;
}

void vpci_window_read(struct virtio_pci *pci, unsigned int offset, unsigned int size)
{
	uint64_t at;

	if (modern_window(pci, offset, size, &at))
		pci_set(&pci->function, offset, size, vpci_modern_read(pci, at, size));
}

void vpci_window_write(struct virtio_pci *pci, unsigned int offset, unsigned int size)
{
	uint64_t at;

	if (modern_window(pci, offset, size, &at))
		vpci_modern_write(pci, at, size, pci_get(&pci->function, offset, size));
}
