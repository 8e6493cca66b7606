// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio over memory-mapped registers: version 2 of the register layout, and
 * version 1 for guests that know no other (-global virtio-mmio.force-legacy=on).
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "boot/aml.h"
#include "log.h"
#include "option.h"
#include "props.h"
#include "virtio/virtio.h"

/* As on QEMU's microvm; below the IOAPIC. */
#define MMIO_BASE	0xfeb00000
#define MMIO_SIZE	0x200

#define MMIO_MAGIC	0x74726976	/* "virt" */
#define MMIO_VENDOR	0x46564b	/* "KVF" */

static bool mmio_force_legacy;

static void mmio_option_global(struct vm *vm, const char *arg)
{
	struct props *props = NULL;

	(void)vm;
	props_add(&props, "-global", arg, NULL);
	mmio_force_legacy = props_bool(props, "virtio-mmio.force-legacy", mmio_force_legacy);
	props_finish(props);
}

DECLARE_OPTION(global, {
	.name = "global",
	.arg = "KEY=VALUE",
	.help = "virtio-mmio.force-legacy=on: registers of virtio before 1.0",
	.handle = mmio_option_global,
});

static struct queue *mmio_queue(struct virtio *virtio)
{
	if (virtio->state.queue_select >= virtio->class->nr_queues)
		return NULL;
	return &virtio->queues[virtio->state.queue_select];
}

static uint32_t mmio_legacy_pfn(const struct virtio *virtio, const struct queue *queue)
{
	return queue->state.ready ? queue->state.desc / (virtio->state.page_size ?: 4096) : 0;
}

static uint32_t mmio_get(struct virtio *virtio, uint64_t offset)
{
	const struct virtio_state *state = &virtio->state;
	const struct queue *queue = mmio_queue(virtio);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return virtio->legacy ? 1 : 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return virtio->class->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		if (state->device_features_select > 1)
			return 0;
		return virtio->features >> (32 * state->device_features_select);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? queue->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return !virtio->legacy && queue && queue->state.ready;
	case VIRTIO_MMIO_QUEUE_PFN:
		return virtio->legacy && queue ? mmio_legacy_pfn(virtio, queue) : 0;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return state->interrupts;
	case VIRTIO_MMIO_STATUS:
		return state->status;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return state->generation;
	default:
		return 0;
	}
}

/* Rings are changed before the driver is ready, not under the thread's feet. */
static struct queue *mmio_queue_to_set(struct virtio *virtio)
{
	return virtio->worker.running ? NULL : mmio_queue(virtio);
}

static void mmio_set_half(uint64_t *to, uint32_t value, bool high)
{
	if (high)
		*to = (*to & 0xffffffff) | (uint64_t)value << 32;
	else
		*to = (*to & ~0xffffffffULL) | value;
}

/* One page number for all three rings, which lie behind each other. */
static void mmio_set_legacy_pfn(struct virtio *virtio, struct queue *queue, uint32_t pfn)
{
	struct queue_state *state = &queue->state;
	uint64_t page = virtio->state.page_size;
	/* The guest has set none, or nonsense: QUEUE_ALIGN is a page as well. */
	uint64_t align = page ?: 4096;

	state->desc = pfn * align;
	state->avail = state->desc + 16 * (uint64_t)state->size;
	state->used = (state->avail + 6 + 2 * (uint64_t)state->size + align - 1) / align * align;
	state->ready = pfn;
}

static void mmio_set_queue(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct queue *queue = mmio_queue_to_set(virtio);

	if (!queue)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		queue->state.size = value > QUEUE_SIZE_MAX ? 0 : value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		queue->state.ready = !virtio->legacy && value & 1;
		break;
	case VIRTIO_MMIO_QUEUE_PFN:
		if (virtio->legacy)
			mmio_set_legacy_pfn(virtio, queue, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		mmio_set_half(&queue->state.desc, value, offset & 4);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		mmio_set_half(&queue->state.avail, value, offset & 4);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		mmio_set_half(&queue->state.used, value, offset & 4);
		break;
	}
}

static void mmio_set(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct virtio_state *state = &virtio->state;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		state->device_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		state->driver_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (state->driver_features_select < 2 &&
		    !(state->status & VIRTIO_CONFIG_S_FEATURES_OK) && !virtio->worker.running)
			mmio_set_half(&state->driver_features, value,
				      state->driver_features_select);
		break;
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
		if (virtio->legacy && value && !(value & (value - 1)))
			state->page_size = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		state->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		/* KVM takes it to the eventfd itself; this is for odd accesses. */
		if (value < virtio->class->nr_queues)
			event_signal(virtio->queues[value].kick_fd);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and(&state->interrupts, ~value);
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_set_status(virtio, value & 0xff);
		break;
	default:
		if (offset < VIRTIO_MMIO_CONFIG)
			mmio_set_queue(virtio, offset, value);
		else if (virtio->class->config_write)
			virtio->class->config_write(virtio, offset - VIRTIO_MMIO_CONFIG, value);
	}
}

static uint64_t mmio_get_config(struct virtio *virtio, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	if (offset < virtio->config_size && size <= virtio->config_size - offset)
		memcpy(&value, (uint8_t *)virtio->config + offset, size);
	if (virtio->class->config_read)
		virtio->class->config_read(virtio, offset);
	return value;
}

/* All registers are of 32 bits; the configuration is read as its fields are. */
static uint64_t mmio_read(void *dev, uint64_t offset, unsigned int size)
{
	struct virtio *virtio = dev;
	uint64_t value = 0;

	pthread_mutex_lock(&virtio->lock);
	if (offset >= VIRTIO_MMIO_CONFIG)
		value = mmio_get_config(virtio, offset - VIRTIO_MMIO_CONFIG, size);
	else if (size == 4)
		value = mmio_get(virtio, offset);
	pthread_mutex_unlock(&virtio->lock);
	return value;
}

static void mmio_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio *virtio = dev;

	if (size != 4)
		return;
	pthread_mutex_lock(&virtio->lock);
	mmio_set(virtio, offset, value);
	pthread_mutex_unlock(&virtio->lock);
}

int virtio_mmio_connect(struct virtio *virtio)
{
	struct kvm_irqfd irqfd = { .fd = virtio->irq_fd, .gsi = virtio->irq };
	struct kvm_ioeventfd kick = {
		.addr = virtio->base + VIRTIO_MMIO_QUEUE_NOTIFY,
		.len = 4,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};
	unsigned int i;

	if (ioctl(virtio->vm->vm_fd, KVM_IRQFD, &irqfd))
		return -errno;
	for (i = 0; i < virtio->class->nr_queues; i++) {
		kick.datamatch = i;
		kick.fd = virtio->queues[i].kick_fd;
		if (ioctl(virtio->vm->vm_fd, KVM_IOEVENTFD, &kick))
			return -errno;
	}
	return 0;
}

void virtio_mmio_create(struct virtio *virtio)
{
	static const struct io_ops ops = { mmio_read, mmio_write };
	struct vm *vm = virtio->vm;

	virtio->legacy = mmio_force_legacy;
	if (!virtio->legacy)
		virtio->features |= VIRTIO_BIT(VIRTIO_F_VERSION_1);
	virtio->irq = device_take_irq(vm);
	virtio->index = vm->nr_virtio++;
	virtio->base = MMIO_BASE + (uint64_t)virtio->index * MMIO_SIZE;
	io_add(vm, IO_MMIO, virtio->base, MMIO_SIZE, &ops, virtio);
	errno = -virtio_mmio_connect(virtio);
	if (errno)
		die_errno("-device: %s: eventfds for KVM", virtio->name);
	vm_log(vm, "%s: %s at 0x%llx, interrupt %u", virtio->name, virtio->class->name,
	       (unsigned long long)virtio->base, virtio->irq);
}

void virtio_mmio_describe(struct vm *vm, void *dev, struct aml *aml)
{
	const struct virtio *virtio = dev;
	struct aml resources = {};
	char name[5];
	size_t device;

	(void)vm;
	snprintf(name, sizeof(name), "VR%02X", virtio->index & 0xff);
	device = aml_device_begin(aml, name);
	aml_name_string(aml, "_HID", "LNRO0005");
	aml_name_number(aml, "_UID", virtio->index);
	aml_name_number(aml, "_CCA", 1);
	aml_resource_mmio(&resources, virtio->base, MMIO_SIZE);
	aml_resource_gsi(&resources, virtio->irq);
	aml_name_resources(aml, &resources);
	aml_end(aml, device);
}

char *virtio_mmio_cmdline(struct vm *vm, void *dev)
{
	const struct virtio *virtio = dev;

	if (virtio->irq >= DEVICE_LEGACY_LINES)
		vm_warn(vm, "%s: interrupt %u takes a guest with an IOAPIC", virtio->name,
			virtio->irq);
	return xasprintf("virtio_mmio.device=%u@0x%llx:%u", MMIO_SIZE,
			 (unsigned long long)virtio->base, virtio->irq);
}
