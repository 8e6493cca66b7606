/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all virtio devices have in common: queues, a thread that serves them,
 * an interrupt. A class is one file, which says what it does with a kick; the
 * transport (mmio.c, pci.c) is how the guest sees it, and classes do not know of it.
 *
 * Registers are written by vCPUs, under @lock. All else is done on the
 * device's thread, which runs while the driver is ready and takes no lock.
 */
#ifndef UKRUN_VIRTIO_H
#define UKRUN_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "device.h"
#include "virtio/queue.h"
#include "worker.h"

#define VIRTIO_QUEUES_MAX	16
#define VIRTIO_BIT(n)		(1ULL << (n))

struct virtio;
struct virtio_pci;

/* All hooks but ->kicked() may be null. They run on the device's thread. */
struct virtio_class {
	const char *name;
	uint32_t id;		/* <linux/virtio_ids.h> */
	uint64_t features;	/* beside those of all devices */
	unsigned int nr_queues;
	uint16_t queue_size;
	/* The thread begins: features are settled, queues are to be looked at. */
	void (*start)(struct virtio *virtio);
	void (*kicked)(struct virtio *virtio, struct queue *queue);
	/* What else to wait for, and that the wait is over. */
	void (*poll)(struct virtio *virtio, struct poll_set *set);
	void (*polled)(struct virtio *virtio, const struct poll_set *set);
	/* Is anything in flight? The thread does not end before it is done. */
	bool (*busy)(struct virtio *virtio);
	/* The driver has read the configuration; on its vCPU's thread. */
	void (*config_read)(struct virtio *virtio, uint64_t offset);
	/* It writes there; the same. */
	void (*config_write)(struct virtio *virtio, uint64_t offset, uint32_t value);

	/* The driver has reset the device, whose thread has ended; on its vCPU's thread. */
	void (*reset)(struct virtio *virtio);

	/* As in struct device_type, on the main thread, with the device's thread ended. */
	void (*quiesced)(struct virtio *virtio);
	int (*forked)(struct virtio *virtio);
	void (*resume)(struct virtio *virtio);
	void (*end)(struct virtio *virtio);
};

/* Registers, and how kicks and interrupts go through KVM. */
struct virtio_transport {
	void (*create)(struct virtio *virtio);
	/* ->interrupts has grown. On any thread. */
	void (*interrupt)(struct virtio *virtio);

	/* As in struct device_type, those of the class to follow; the last two may be null. */
	int (*forked)(struct virtio *virtio);
	void (*resume)(struct virtio *virtio);
	void (*describe)(const struct virtio *virtio, struct aml *aml);
	char *(*cmdline)(const struct virtio *virtio);
};

extern const struct virtio_transport virtio_mmio, virtio_pci;

/* What the guest can change: device_add_state(). */
struct virtio_state {
	_Atomic uint32_t status;
	_Atomic uint32_t interrupts;
	_Atomic uint32_t generation;
	uint64_t driver_features;
	uint32_t device_features_select, driver_features_select;
	uint32_t queue_select;
	uint32_t page_size;	/* legacy MMIO only */
	bool legacy;		/* registers of before version 1.0 are in use */
};

struct virtio {
	struct vm *vm;
	const struct virtio_class *class;
	void *dev;
	const char *name;	/* for messages */
	uint64_t features;	/* offered */
	unsigned int index;
	void *config;
	size_t config_size;
	struct queue queues[VIRTIO_QUEUES_MAX];
	struct virtio_state state;

	pthread_mutex_t lock;
	struct worker worker;
	struct poll_set poll;
	bool broken;		/* the thread's: the driver has broken the rules */

	const struct virtio_transport *transport;
	/* Of MMIO. */
	uint64_t base;
	unsigned int irq;
	int irq_fd;
	/* Of PCI; null over MMIO. */
	struct virtio_pci *pci;
};

/*
 * Make a device, over PCI while vm->virtio_pci says so. The configuration is what
 * the guest reads; who changes it later calls virtio_config_changed().
 */
struct virtio *virtio_create(struct vm *vm, const struct virtio_class *class, void *dev,
			     const char *name, uint64_t features, void *config,
			     size_t config_size);

static inline bool virtio_has(const struct virtio *virtio, unsigned int feature)
{
	return virtio->state.driver_features & VIRTIO_BIT(feature);
}

/* Interrupt the driver if it wants to hear of what was pushed to @queue. */
void virtio_tell(struct virtio *virtio, struct queue *queue);
/* For what others have pushed. */
void virtio_interrupt_queues(struct virtio *virtio);
void virtio_config_changed(struct virtio *virtio);
/* The driver has broken the rules: nothing happens any more until it resets the device. */
void virtio_break(struct virtio *virtio, const char *why);

/* For the transport, under @lock: */
void virtio_set_status(struct virtio *virtio, uint32_t status);
bool virtio_is_running(const struct virtio *virtio);

#endif
