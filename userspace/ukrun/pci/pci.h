/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A bus of conventional PCI functions, one in each slot, as a BIOS leaves it: BARs
 * and interrupt lines are set. Without functions there is no bus (host.c).
 *
 * All that a guest does to any of it is done under one lock.
 */
#ifndef UKRUN_PCI_H
#define UKRUN_PCI_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "compiler.h"
#include "io.h"

struct vm;

#define PCI_SLOTS		32
#define PCI_BARS		6
#define PCI_CONFIG_SIZE		256

/*
 * Behind the RAM below 4 GiB, where ArceOS looks: it maps these addresses and no others. It
 * looks for 256 buses, which are not there.
 */
#define PCI_ECAM		0xb0000000
#define PCI_ECAM_SIZE		0x100000
#define PCI_ECAM_ALL		0x10000000
#define PCI_MEMORY		0xc0000000
/* BARs as we set them, and up to where virtio over MMIO is. */
#define PCI_MEMORY_BARS		0xfe000000
#define PCI_MEMORY_END		0xfeb00000
#define PCI_PORTS		0xc000
#define PCI_PORTS_END		0x10000

struct pci_ops {
	/* By a BAR that is decoded. The access is whole within it. */
	uint64_t (*read)(void *dev, unsigned int bar, uint64_t offset, unsigned int size);
	void (*write)(void *dev, unsigned int bar, uint64_t offset, unsigned int size,
		      uint64_t value);
	/* The config space: is going to be read, has been written. */
	void (*config_read)(void *dev, unsigned int offset, unsigned int size);
	void (*config_written)(void *dev, unsigned int offset, unsigned int size);
};

struct pci_bar {
	uint32_t size;		/* a power of two; 0: there is none */
	bool ports;
};

struct pci_function {
	const struct pci_ops *ops;
	void *dev;
	struct pci_bar bars[PCI_BARS];
	uint8_t config[PCI_CONFIG_SIZE];	/* device_add_state() */
	/* Bits that the guest can change. */
	uint8_t writable[PCI_CONFIG_SIZE];
	unsigned int slot;

	struct vm *vm;
	pthread_mutex_t line_lock;
	unsigned int irq;	/* of INTA; 0: none */
	bool line;		/* as KVM has been told */
};

struct pci {
	struct vm *vm;
	pthread_mutex_t lock;
	struct pci_function *functions[PCI_SLOTS];
	uint32_t next_port, next_memory;

	struct_group(state,
		uint32_t address;	/* of port 0xcf8 */
	);
};

#define PCI_SLOT_ANY	PCI_SLOTS

/*
 * Put @function, with its ops, BARs and what is fixed in its config space, into
 * a slot, on a bus that is made if there is none. Its interrupt is a line of its own.
 */
void pci_add(struct vm *vm, struct pci_function *function, unsigned int slot);

/* Both for values of 1, 2 and 4 bytes. */
void pci_set(struct pci_function *function, unsigned int offset, unsigned int size,
	     uint32_t value);
uint32_t pci_get(const struct pci_function *function, unsigned int offset, unsigned int size);

/* Where a BAR is, or 0: the guest has switched it off. */
uint64_t pci_bar_address(const struct pci_function *function, unsigned int bar);

/*
 * Set INTA to what @wanted says then: several threads may call this, and the last
 * one is right. @told: KVM may have another level than we think.
 */
void pci_update_line(struct pci_function *function, bool (*wanted)(void *dev), bool told);

/* host.c, for pci_add(): the ways to the config space, and the bridge. */
void pci_host_create(struct vm *vm);

/* pci.c, for host.c: under the lock. @devfn is a byte. */
uint64_t pci_config_read(struct pci *pci, unsigned int devfn, unsigned int offset,
			 unsigned int size);
void pci_config_write(struct pci *pci, unsigned int devfn, unsigned int offset,
		      unsigned int size, uint64_t value);
uint64_t pci_bar_read(struct pci *pci, bool ports, uint64_t address, unsigned int size);
void pci_bar_write(struct pci *pci, bool ports, uint64_t address, unsigned int size,
		   uint64_t value);

#endif
