// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio over PCI: what the function says of itself, its interrupt, and its kicks.
 * The interrupt is INTA, a level: up while there are causes that the driver has
 * not taken. There is no MSI-X.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "device.h"
#include "log.h"
#include "props.h"
#include "virtio/pci.h"
#include "virtio/virtio.h"

#define VENDOR			0x1af4
#define SUBSYSTEM_MODERN	0x1100
#define DEVICE_MODERN		0x1040	/* and the type */

#define CLASS_DISK		0x0100
#define CLASS_NETWORK		0x0200
#define CLASS_OTHER		0x00ff

#define SUFFIX			"-pci"

/* As numbered before version 1.0; 0: that type came later. */
static uint16_t vpci_legacy_id(uint32_t type)
{
	switch (type) {
	case VIRTIO_ID_NET:
		return 0x1000;
	case VIRTIO_ID_BLOCK:
		return 0x1001;
	case VIRTIO_ID_BALLOON:
		return 0x1002;
	case VIRTIO_ID_CONSOLE:
		return 0x1003;
	case VIRTIO_ID_SCSI:
		return 0x1004;
	case VIRTIO_ID_RNG:
		return 0x1005;
	case VIRTIO_ID_9P:
		return 0x1009;
	default:
		return 0;
	}
}

static uint16_t vpci_class(uint32_t type)
{
	return type == VIRTIO_ID_BLOCK ? CLASS_DISK : type == VIRTIO_ID_NET ? CLASS_NETWORK :
	       CLASS_OTHER;
}

static bool vpci_line_wanted(void *dev)
{
	const struct virtio_pci *pci = dev;

	return pci->virtio->state.interrupts;
}

static void vpci_update_line(struct virtio_pci *pci, bool told)
{
	pci_update_line(&pci->function, vpci_line_wanted, told);
}

static void vpci_interrupt(struct virtio *virtio)
{
	vpci_update_line(virtio->pci, false);
}

uint8_t vpci_take_interrupts(struct virtio_pci *pci)
{
	uint8_t causes = atomic_exchange(&pci->virtio->state.interrupts, 0);

	vpci_update_line(pci, false);
	return causes;
}

/* Where there are none kicks come as other accesses do, which takes longer. */
static bool vpci_ioeventfds(struct virtio_pci *pci, uint64_t at, bool ports, uint32_t flags)
{
	struct virtio *virtio = pci->virtio;
	struct kvm_ioeventfd kick = { .len = 2, .flags = flags };
	unsigned int i;

	if (ports)
		kick.flags |= KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH;
	for (i = 0; i < virtio->class->nr_queues; i++) {
		kick.addr = at + (ports ? VIRTIO_PCI_QUEUE_NOTIFY : vpci_modern_kick(i));
		kick.datamatch = i;
		kick.fd = virtio->queues[i].kick_fd;
		if (ioctl(virtio->vm->vm_fd, KVM_IOEVENTFD, &kick))
			return false;
	}
	return true;
}

/*
 * KVM's eventfds follow the BAR that the driver uses. Where a guest puts two BARs on
 * top of each other there is room for those of one.
 */
static void vpci_move_kicks(struct virtio_pci *pci)
{
	bool ports = pci->virtio->state.legacy;
	uint64_t at;

	at = pci_bar_address(&pci->function, ports ? VPCI_BAR_LEGACY : VPCI_BAR_MODERN);
	if (at == pci->kicks_at && ports == pci->kicks_ports)
		return;
	if (pci->kicks_at)
		vpci_ioeventfds(pci, pci->kicks_at, pci->kicks_ports,
				KVM_IOEVENTFD_FLAG_DEASSIGN);
	pci->kicks_at = at;
	pci->kicks_ports = ports;
	if (at && !vpci_ioeventfds(pci, at, ports, 0))
		vm_log(pci->virtio->vm, "%s: eventfds for KVM: %s", pci->virtio->name,
		       strerror(errno));
}

void vpci_set_status(struct virtio_pci *pci, uint8_t status, bool legacy)
{
	struct virtio *virtio = pci->virtio;

	virtio->state.legacy = legacy;
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		vpci_move_kicks(pci);
	virtio_set_status(virtio, status);
	vpci_update_line(pci, false);
}

static uint64_t vpci_read(void *dev, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct virtio_pci *pci = dev;
	uint64_t value;

	pthread_mutex_lock(&pci->virtio->lock);
	value = bar == VPCI_BAR_LEGACY ? vpci_legacy_read(pci, offset, size) :
		vpci_modern_read(pci, offset, size);
	pthread_mutex_unlock(&pci->virtio->lock);
	return value;
}

static void vpci_write(void *dev, unsigned int bar, uint64_t offset, unsigned int size,
		       uint64_t value)
{
	struct virtio_pci *pci = dev;

	pthread_mutex_lock(&pci->virtio->lock);
	if (bar == VPCI_BAR_LEGACY)
		vpci_legacy_write(pci, offset, size, value);
	else
		vpci_modern_write(pci, offset, size, value);
	pthread_mutex_unlock(&pci->virtio->lock);
}

static void vpci_config_read(void *dev, unsigned int offset, unsigned int size)
{
	struct virtio_pci *pci = dev;

	pthread_mutex_lock(&pci->virtio->lock);
	vpci_window_read(pci, offset, size);
	pthread_mutex_unlock(&pci->virtio->lock);
}

static void vpci_config_written(void *dev, unsigned int offset, unsigned int size)
{
	struct virtio_pci *pci = dev;

	pthread_mutex_lock(&pci->virtio->lock);
	vpci_window_write(pci, offset, size);
	/* A driver that has not begun asks for sizes, and needs no kicks. */
	if (pci->kicks_at || virtio_is_running(pci->virtio))
		vpci_move_kicks(pci);
	vpci_update_line(pci, false);
	pthread_mutex_unlock(&pci->virtio->lock);
}

static void vpci_identify(struct virtio_pci *pci)
{
	struct pci_function *function = &pci->function;
	uint32_t type = pci->virtio->class->id;
	uint16_t legacy = vpci_legacy_id(type);

	if (!legacy && !pci->modern)
		die("-device: %s: this type has no legacy registers", pci->virtio->name);
	pci->legacy = pci->legacy && legacy;
	pci_set(function, PCI_VENDOR_ID, 2, VENDOR);
	pci_set(function, PCI_DEVICE_ID, 2, pci->legacy ? legacy : DEVICE_MODERN + type);
	pci_set(function, PCI_REVISION_ID, 1, !pci->legacy);
	pci_set(function, PCI_CLASS_DEVICE, 2, vpci_class(type));
	pci_set(function, PCI_SUBSYSTEM_VENDOR_ID, 2, VENDOR);
	pci_set(function, PCI_SUBSYSTEM_ID, 2, pci->legacy ? type : SUBSYSTEM_MODERN);
}

static void vpci_create(struct virtio *virtio)
{
	static const struct pci_ops ops = {
		.read = vpci_read,
		.write = vpci_write,
		.config_read = vpci_config_read,
		.config_written = vpci_config_written,
	};
	struct virtio_pci *pci = virtio->pci;

	pci->virtio = virtio;
	pci->function.ops = &ops;
	pci->function.dev = pci;
	vpci_identify(pci);
	if (pci->legacy)
		vpci_legacy_setup(pci);
	if (pci->modern)
		vpci_modern_setup(pci);
	pci_add(virtio->vm, &pci->function, pci->slot);
	vm_log(virtio->vm, "%s: %s at PCI 00:%02x.0, interrupt %u", virtio->name,
	       virtio->class->name, pci->function.slot, pci->function.irq);
}

/* KVM is another one. */
static int vpci_forked(struct virtio *virtio)
{
	virtio->pci->kicks_at = 0;
	return 0;
}

/* In a VM that has been reset, KVM's eventfds are where the last run had them. */
static void vpci_resume(struct virtio *virtio)
{
	if (virtio_is_running(virtio))
		vpci_move_kicks(virtio->pci);
	vpci_update_line(virtio->pci, true);
}

const struct virtio_transport virtio_pci = {
	.create = vpci_create,
	.interrupt = vpci_interrupt,
	.forked = vpci_forked,
	.resume = vpci_resume,
};

static void vpci_take_address(struct virtio_pci *pci, const char *text)
{
	unsigned long slot;
	char *end;

	pci->slot = PCI_SLOT_ANY;
	if (!text)
		return;
	slot = strtoul(text, &end, 16);
	if (!strcmp(end, ".0"))
		end += 2;
	if (end == text || *end || !slot || slot >= PCI_SLOTS)
		die("-device: addr=%s: a slot from 1 to 1f, and no function but 0", text);
	pci->slot = slot;
}

/* QEMU's names: virtio-blk-pci is a virtio-blk-device in a slot. */
static bool vpci_create_of(struct vm *vm, const char *model, struct props *props)
{
	int stem = strlen(model) - strlen(SUFFIX);
	struct virtio_pci *pci = xcalloc(1, sizeof(*pci));
	bool made;

	pci->legacy = !props_bool(props, "disable-legacy", false);
	pci->modern = !props_bool(props, "disable-modern", false);
	if (!pci->legacy && !pci->modern)
		die("-device %s: neither legacy nor modern", model);
	props_word(props, "bus", "pci.0 pcie.0", "pci.0");
	vpci_take_address(pci, props_get(props, "addr"));
	vm->virtio_pci = pci;
	made = device_create(vm, xasprintf("%.*s-device", stem, model), props);
	vm->virtio_pci = NULL;
	return made;
}

DECLARE_DEVICE(virtio_pci, {
	.name = "virtio over PCI",
	.suffix = SUFFIX,
	.create_of = vpci_create_of,
});
