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
#include <unistd.h>

#include "boot/aml.h"
#include "log.h"
#include "option.h"
#include "props.h"
#include "virtio/regs.h"
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

/* What the driver has set, or what it means that has set none, or nonsense. */
static uint64_t mmio_page_size(const struct virtio *virtio)
{
	return virtio->state.page_size ?: 4096;
}

static uint32_t mmio_get(struct virtio *virtio, uint64_t offset)
{
	const struct virtio_state *state = &virtio->state;
	const struct queue *queue = regs_queue(virtio);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return state->legacy ? 1 : 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return virtio->class->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return regs_features(virtio);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? queue->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return !state->legacy && queue && queue->state.ready;
	case VIRTIO_MMIO_QUEUE_PFN:
		return state->legacy && queue ? regs_pfn(queue, mmio_page_size(virtio)) : 0;
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

static void mmio_set_queue(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct queue *queue = regs_queue_to_set(virtio);

	if (!queue)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		queue->state.size = value > QUEUE_SIZE_MAX ? 0 : value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		queue->state.ready = !virtio->state.legacy && value & 1;
		break;
	case VIRTIO_MMIO_QUEUE_PFN:
		if (virtio->state.legacy)
			regs_set_pfn(queue, value, mmio_page_size(virtio));
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		regs_set_half(&queue->state.desc, value, offset & 4);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		regs_set_half(&queue->state.avail, value, offset & 4);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		regs_set_half(&queue->state.used, value, offset & 4);
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
		regs_set_driver_features(virtio, value);
		break;
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
		if (state->legacy && value && !(value & (value - 1)))
			state->page_size = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		state->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		/* KVM takes it to the eventfd itself; this is for odd accesses. */
		regs_kick(virtio, value);
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

/* All registers are of 32 bits; the configuration is read as its fields are. */
static uint64_t mmio_read(void *dev, uint64_t offset, unsigned int size)
{
	struct virtio *virtio = dev;
	uint64_t value = 0;

	pthread_mutex_lock(&virtio->lock);
	if (offset >= VIRTIO_MMIO_CONFIG)
		value = regs_config(virtio, offset - VIRTIO_MMIO_CONFIG, size);
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

/* Give KVM the eventfds. 0 or a negative errno. */
static int mmio_connect(struct virtio *virtio)
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

static void mmio_create(struct virtio *virtio)
{
	static const struct io_ops ops = { mmio_read, mmio_write };
	struct vm *vm = virtio->vm;

	virtio->state.legacy = mmio_force_legacy;
	if (!mmio_force_legacy)
		virtio->features |= VIRTIO_BIT(VIRTIO_F_VERSION_1);
	virtio->base = MMIO_BASE + (uint64_t)virtio->index * MMIO_SIZE;
	virtio->irq = device_take_irq(vm);
	virtio->irq_fd = event_create();
	io_add(vm, IO_MMIO, virtio->base, MMIO_SIZE, &ops, virtio);
	errno = virtio->irq_fd < 0 ? errno : -mmio_connect(virtio);
	if (errno)
		die_errno("-device: %s: eventfds for KVM", virtio->name);
	vm_log(vm, "%s: %s at 0x%llx, interrupt %u", virtio->name, virtio->class->name,
	       (unsigned long long)virtio->base, virtio->irq);
}

static void mmio_interrupt(struct virtio *virtio)
{
	event_signal(virtio->irq_fd);
}

static int mmio_forked(struct virtio *virtio)
{
	close(virtio->irq_fd);
	virtio->irq_fd = event_create();
	return virtio->irq_fd < 0 ? -errno : mmio_connect(virtio);
}

/*
 * An interrupt may have been on its way when the VM was frozen, and has not come
 * to this copy. One too many does no harm.
 */
static void mmio_resume(struct virtio *virtio)
{
	if (virtio->state.interrupts)
		event_signal(virtio->irq_fd);
}

static void mmio_describe(const struct virtio *virtio, struct aml *aml)
{
	struct aml resources = {};
	char name[5];
	size_t device;

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

static char *mmio_cmdline(const struct virtio *virtio)
{
	if (virtio->irq >= DEVICE_LEGACY_LINES)
		vm_warn(virtio->vm, "%s: interrupt %u takes a guest with an IOAPIC", virtio->name,
			virtio->irq);
	return xasprintf("virtio_mmio.device=%u@0x%llx:%u", MMIO_SIZE,
			 (unsigned long long)virtio->base, virtio->irq);
}

const struct virtio_transport virtio_mmio = {
	.create = mmio_create,
	.interrupt = mmio_interrupt,
	.forked = mmio_forked,
	.resume = mmio_resume,
	.describe = mmio_describe,
	.cmdline = mmio_cmdline,
};
