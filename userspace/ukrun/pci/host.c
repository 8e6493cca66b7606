// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of the bus: ports 0xcf8 and 0xcfc, memory-mapped configuration
 * (ECAM), what BARs can reach, a bridge in slot 0, and ACPI's words for it all.
 */
#include <linux/pci_regs.h>

#include "boot/aml.h"
#include "device.h"
#include "log.h"
#include "pci/pci.h"

#define CONFIG_PORT		0xcf8
#define CONFIG_PORTS		8
#define CONFIG_DATA		4	/* behind it */
#define CONFIG_ENABLE		(1U << 31)
/* Enable, bus, device and function, register. */
#define CONFIG_ADDRESS_MASK	0x80fffffc

/* QEMU's bridge of machines that are no PC of old. */
#define BRIDGE_VENDOR		0x1b36
#define BRIDGE_DEVICE		0x0008
#define CLASS_HOST_BRIDGE	0x0600

/* Bus 0 is the only one. */
static uint64_t host_read(struct pci *pci, uint32_t at, unsigned int size)
{
	return at >> 20 ? ~0ULL : pci_config_read(pci, at >> 12, at & 0xfff, size);
}

static void host_write(struct pci *pci, uint32_t at, unsigned int size, uint64_t value)
{
	if (!(at >> 20))
		pci_config_write(pci, at >> 12, at & 0xfff, size, value);
}

/* Ports have 8 bits of register where ECAM has 12. */
static uint32_t host_address(const struct pci *pci, uint64_t offset)
{
	uint32_t address = pci->address & ~CONFIG_ENABLE;

	return (address & 0xffff00) << 4 | (address & 0xff) | (offset - CONFIG_DATA);
}

static uint64_t host_ports_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci *pci = dev;
	uint64_t value = ~0ULL;

	pthread_mutex_lock(&pci->lock);
	if (!offset && size == 4)
		value = pci->address;
	else if (offset >= CONFIG_DATA && pci->address & CONFIG_ENABLE)
		value = host_read(pci, host_address(pci, offset), size);
	pthread_mutex_unlock(&pci->lock);
	return value;
}

static void host_ports_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci *pci = dev;

	pthread_mutex_lock(&pci->lock);
	if (!offset && size == 4)
		pci->address = value & CONFIG_ADDRESS_MASK;
	else if (offset >= CONFIG_DATA && pci->address & CONFIG_ENABLE)
		host_write(pci, host_address(pci, offset), size, value);
	pthread_mutex_unlock(&pci->lock);
}

static uint64_t host_ecam_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci *pci = dev;
	uint64_t value;

	pthread_mutex_lock(&pci->lock);
	value = host_read(pci, offset, size);
	pthread_mutex_unlock(&pci->lock);
	return value;
}

static void host_ecam_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci *pci = dev;

	pthread_mutex_lock(&pci->lock);
	host_write(pci, offset, size, value);
	pthread_mutex_unlock(&pci->lock);
}

static uint64_t host_memory_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci *pci = dev;
	uint64_t value;

	pthread_mutex_lock(&pci->lock);
	value = pci_bar_read(pci, false, PCI_MEMORY + offset, size);
	pthread_mutex_unlock(&pci->lock);
	return value;
}

static void host_memory_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci *pci = dev;

	pthread_mutex_lock(&pci->lock);
	pci_bar_write(pci, false, PCI_MEMORY + offset, size, value);
	pthread_mutex_unlock(&pci->lock);
}

static uint64_t host_bar_ports_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci *pci = dev;
	uint64_t value;

	pthread_mutex_lock(&pci->lock);
	value = pci_bar_read(pci, true, PCI_PORTS + offset, size);
	pthread_mutex_unlock(&pci->lock);
	return value;
}

static void host_bar_ports_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci *pci = dev;

	pthread_mutex_lock(&pci->lock);
	pci_bar_write(pci, true, PCI_PORTS + offset, size, value);
	pthread_mutex_unlock(&pci->lock);
}

/* INTA of each slot has a line of the IOAPIC. */
static void host_describe_interrupts(const struct pci *pci, struct aml *aml)
{
	unsigned int slot, n = 0;
	size_t all, one;

	for (slot = 0; slot < PCI_SLOTS; slot++)
		n += pci->functions[slot] && pci->functions[slot]->irq;
	all = aml_name_package_begin(aml, "_PRT", n);
	for (slot = 0; slot < PCI_SLOTS; slot++) {
		if (!pci->functions[slot] || !pci->functions[slot]->irq)
			continue;
		one = aml_package_begin(aml, 4);
		aml_number(aml, slot << 16 | 0xffff);
		aml_number(aml, 0);
		aml_number(aml, 0);
		aml_number(aml, pci->functions[slot]->irq);
		aml_end(aml, one);
	}
	aml_end(aml, all);
}

static void host_describe(struct vm *vm, void *dev, struct aml *aml)
{
	struct aml resources = {};
	size_t device;

	(void)vm;
	device = aml_device_begin(aml, "PCI0");
	aml_name_eisa(aml, "_HID", "PNP0A03");
	aml_name_number(aml, "_UID", 0);
	aml_name_number(aml, "_BBN", 0);
	aml_resource_window(&resources, AML_WINDOW_BUSES, 0, 0);
	aml_resource_ports(&resources, CONFIG_PORT, CONFIG_PORTS);
	aml_resource_window(&resources, AML_WINDOW_PORTS, PCI_PORTS, PCI_PORTS_END - 1);
	aml_resource_window(&resources, AML_WINDOW_MEMORY, PCI_MEMORY, PCI_MEMORY_END - 1);
	aml_name_resources(aml, &resources);
	host_describe_interrupts(dev, aml);
	aml_end(aml, device);

	/* Linux believes MCFG when a motherboard's device claims the same. */
	device = aml_device_begin(aml, "ECAM");
	aml_name_eisa(aml, "_HID", "PNP0C02");
	aml_name_number(aml, "_UID", 0);
	aml_resource_mmio(&resources, PCI_ECAM, PCI_ECAM_SIZE);
	aml_name_resources(aml, &resources);
	aml_end(aml, device);
}

void pci_host_create(struct vm *vm)
{
	static const struct device_type type = { .name = "PCI", .describe = host_describe };
	static const struct io_ops ports = { host_ports_read, host_ports_write };
	static const struct io_ops ecam = { host_ecam_read, host_ecam_write };
	static const struct io_ops memory = { host_memory_read, host_memory_write };
	static const struct io_ops bar_ports = { host_bar_ports_read, host_bar_ports_write };
	struct pci_function *bridge = xcalloc(1, sizeof(*bridge));
	struct pci *pci = xcalloc(1, sizeof(*pci));

	pci->vm = vm;
	pci->next_port = PCI_PORTS;
	pci->next_memory = PCI_MEMORY_BARS;
	pthread_mutex_init(&pci->lock, NULL);
	vm->pci = pci;
	io_add(vm, IO_PORT, CONFIG_PORT, CONFIG_PORTS, &ports, pci);
	io_add(vm, IO_PORT, PCI_PORTS, PCI_PORTS_END - PCI_PORTS, &bar_ports, pci);
	io_add(vm, IO_MMIO, PCI_ECAM, PCI_ECAM_ALL, &ecam, pci);
	io_add(vm, IO_MMIO, PCI_MEMORY, PCI_MEMORY_END - PCI_MEMORY, &memory, pci);
	device_add(vm, &type, pci);
	device_add_state(vm, &pci->state, sizeof(pci->state));
	pci_set(bridge, PCI_VENDOR_ID, 2, BRIDGE_VENDOR);
	pci_set(bridge, PCI_DEVICE_ID, 2, BRIDGE_DEVICE);
	pci_set(bridge, PCI_CLASS_DEVICE, 2, CLASS_HOST_BRIDGE);
	pci_add(vm, bridge, 0);
}
