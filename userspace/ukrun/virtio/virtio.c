// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "virtio/virtio.h"

#define FEATURES_ALL	(VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |	\
			 VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX))

#define STATUS_RUNS	(VIRTIO_CONFIG_S_DRIVER_OK)
#define STATUS_STOPPED	(VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET)

static void virtio_interrupt(struct virtio *virtio, uint32_t cause)
{
	atomic_fetch_or(&virtio->state.interrupts, cause);
	virtio->transport->interrupt(virtio);
}

void virtio_tell(struct virtio *virtio, struct queue *queue)
{
	if (queue_must_tell(queue))
		virtio_interrupt(virtio, VIRTIO_MMIO_INT_VRING);
}

void virtio_interrupt_queues(struct virtio *virtio)
{
	virtio_interrupt(virtio, VIRTIO_MMIO_INT_VRING);
}

void virtio_config_changed(struct virtio *virtio)
{
	atomic_fetch_add(&virtio->state.generation, 1);
	virtio_interrupt(virtio, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_break(struct virtio *virtio, const char *why)
{
	if (virtio->broken)
		return;
	virtio->broken = true;
	vm_warn(virtio->vm, "%s: %s: the device stops until the guest resets it", virtio->name,
		why);
	atomic_fetch_or(&virtio->state.status, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_config_changed(virtio);
}

static void virtio_serve(struct virtio *virtio, struct queue *queue)
{
	virtio->class->kicked(virtio, queue);
	if (queue->error)
		virtio_break(virtio, queue->error);
}

/* What may have come while nobody looked. */
static void virtio_serve_all(struct virtio *virtio)
{
	unsigned int i;

	for (i = 0; i < virtio->class->nr_queues && !virtio->broken; i++)
		virtio_serve(virtio, &virtio->queues[i]);
}

static bool virtio_busy(struct virtio *virtio)
{
	return virtio->class->busy && virtio->class->busy(virtio);
}

static void virtio_poll(struct virtio *virtio, bool stopping)
{
	const struct virtio_class *class = virtio->class;
	struct poll_set *set = &virtio->poll;
	unsigned int i;

	set->used = 0;
	set->timeout_ms = -1;
	/* Where they are is fixed: the first for the end, then the queues. */
	poll_set_add(set, stopping ? -1 : virtio->worker.stop_fd, POLLIN);
	for (i = 0; i < class->nr_queues; i++)
		poll_set_add(set, stopping || virtio->broken ? -1 : virtio->queues[i].kick_fd,
			     POLLIN);
	if (class->poll && (!virtio->broken || virtio_busy(virtio)))
		class->poll(virtio, set);
	if (poll(set->fds, set->used, set->timeout_ms) < 0)
		return;
	for (i = 0; i < class->nr_queues; i++)
		queue_begin_turn(&virtio->queues[i]);
	for (i = 0; i < class->nr_queues && !virtio->broken; i++) {
		if (!set->fds[1 + i].revents)
			continue;
		event_clear(virtio->queues[i].kick_fd);
		virtio_serve(virtio, &virtio->queues[i]);
	}
	if (class->polled && (!virtio->broken || virtio_busy(virtio)))
		class->polled(virtio, set);
}

static void virtio_run(void *arg)
{
	struct virtio *virtio = arg;
	bool event_idx = virtio_has(virtio, VIRTIO_RING_F_EVENT_IDX);
	bool stopping = false;
	unsigned int i;

	virtio->broken = false;
	if (virtio->class->start)
		virtio->class->start(virtio);
	for (i = 0; i < virtio->class->nr_queues; i++)
		if (!queue_start(&virtio->queues[i], event_idx))
			virtio_break(virtio, virtio->queues[i].error);
	virtio_serve_all(virtio);
	while (!stopping || virtio_busy(virtio)) {
		virtio_poll(virtio, stopping);
		stopping = stopping || virtio->poll.fds[0].revents;
	}
}

bool virtio_is_running(const struct virtio *virtio)
{
	return virtio->state.status & STATUS_RUNS && !(virtio->state.status & STATUS_STOPPED);
}

static void virtio_reset(struct virtio *virtio)
{
	struct virtio_state fresh = {
		.generation = virtio->state.generation, .legacy = virtio->state.legacy,
	};
	unsigned int i;

	if (virtio->class->reset)
		virtio->class->reset(virtio);
	virtio->state = fresh;
	for (i = 0; i < virtio->class->nr_queues; i++)
		virtio->queues[i].state = (struct queue_state){};
}

/*
 * What a driver takes that was not offered is left out, as QEMU and Firecracker do: Unikraft's
 * takes VIRTIO_NET_F_GUEST_ANNOUNCE, and does not look for FEATURES_OK. Nor is it an error, as
 * it may be (6.1 of the standard), to leave VIRTIO_F_VERSION_1 out: ArceOS does.
 */
static void virtio_settle_features(struct virtio *virtio)
{
	struct virtio_state *state = &virtio->state;

	if (state->driver_features & ~virtio->features)
		vm_log(virtio->vm, "%s: the driver takes features that are not offered: 0x%llx",
		       virtio->name,
		       (unsigned long long)(state->driver_features & ~virtio->features));
	state->driver_features &= virtio->features;
}

void virtio_set_status(struct virtio *virtio, uint32_t status)
{
	struct virtio_state *state = &virtio->state;

	if (!status) {
		worker_stop(&virtio->worker);
		virtio_reset(virtio);
		return;
	}
	status &= ~VIRTIO_CONFIG_S_NEEDS_RESET;
	virtio_settle_features(virtio);
	/* What the driver leaves out comes off by a reset alone. */
	atomic_fetch_or(&state->status, status);
	if (virtio_is_running(virtio))
		worker_start(&virtio->worker);
}

static void virtio_quiesce(struct vm *vm, void *dev)
{
	struct virtio *virtio = dev;

	(void)vm;
	pthread_mutex_lock(&virtio->lock);
	worker_stop(&virtio->worker);
	if (virtio->class->quiesced)
		virtio->class->quiesced(virtio);
	pthread_mutex_unlock(&virtio->lock);
}

static int virtio_forked(struct vm *vm, void *dev)
{
	struct virtio *virtio = dev;
	unsigned int i;
	int ret;

	(void)vm;
	ret = worker_forked(&virtio->worker);
	for (i = 0; i < virtio->class->nr_queues && !ret; i++) {
		close(virtio->queues[i].kick_fd);
		virtio->queues[i].kick_fd = event_create();
		ret = virtio->queues[i].kick_fd < 0 ? -errno : 0;
	}
	if (ret)
		return ret;
	ret = virtio->transport->forked(virtio);
	if (!ret && virtio->class->forked)
		ret = virtio->class->forked(virtio);
	return ret;
}

static void virtio_resume(struct vm *vm, void *dev)
{
	struct virtio *virtio = dev;

	(void)vm;
	if (virtio->class->resume)
		virtio->class->resume(virtio);
	virtio->transport->resume(virtio);
	if (virtio_is_running(virtio))
		worker_start(&virtio->worker);
}

static void virtio_end(struct vm *vm, void *dev)
{
	struct virtio *virtio = dev;

	(void)vm;
	/* What the guest was told is written, and what is under way ends. */
	pthread_mutex_lock(&virtio->lock);
	worker_stop(&virtio->worker);
	pthread_mutex_unlock(&virtio->lock);
	if (virtio->class->end)
		virtio->class->end(virtio);
}

static void virtio_describe(struct vm *vm, void *dev, struct aml *aml)
{
	const struct virtio *virtio = dev;

	(void)vm;
	if (virtio->transport->describe)
		virtio->transport->describe(virtio, aml);
}

static char *virtio_cmdline(struct vm *vm, void *dev)
{
	const struct virtio *virtio = dev;

	(void)vm;
	return virtio->transport->cmdline ? virtio->transport->cmdline(virtio) : NULL;
}

static const struct device_type virtio_type = {
	.name = "virtio",
	.describe = virtio_describe,
	.cmdline = virtio_cmdline,
	.quiesce = virtio_quiesce,
	.forked = virtio_forked,
	.resume = virtio_resume,
	.end = virtio_end,
};

struct virtio *virtio_create(struct vm *vm, const struct virtio_class *class, void *dev,
			     const char *name, uint64_t features, void *config,
			     size_t config_size)
{
	struct virtio *virtio = xcalloc(1, sizeof(*virtio));
	struct queue *queue;
	unsigned int i;

	virtio->vm = vm;
	virtio->class = class;
	virtio->dev = dev;
	virtio->name = name;
	virtio->features = class->features | features | FEATURES_ALL;
	virtio->config = config;
	virtio->config_size = config_size;
	pthread_mutex_init(&virtio->lock, NULL);
	worker_init(&virtio->worker, name, virtio_run, virtio);
	for (i = 0; i < class->nr_queues; i++) {
		queue = &virtio->queues[i];
		queue->vm = vm;
		queue->size_max = class->queue_size;
		queue->kick_fd = event_create();
		if (queue->kick_fd < 0)
			die_errno("-device: %s", name);
		device_add_state(vm, &queue->state, sizeof(queue->state));
	}
	device_add_state(vm, &virtio->state, sizeof(virtio->state));
	virtio->index = vm->nr_virtio++;
	virtio->pci = vm->virtio_pci;
	virtio->transport = virtio->pci ? &virtio_pci : &virtio_mmio;
	virtio->transport->create(virtio);
	device_add(vm, &virtio_type, virtio);
	return virtio;
}
