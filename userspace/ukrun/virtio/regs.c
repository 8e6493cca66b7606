// SPDX-License-Identifier: GPL-2.0-only
#include <linux/virtio_config.h>
#include <string.h>

#include "virtio/regs.h"
#include "virtio/virtio.h"

struct queue *regs_queue(struct virtio *virtio)
{
	if (virtio->state.queue_select >= virtio->class->nr_queues)
		return NULL;
	return &virtio->queues[virtio->state.queue_select];
}

/* Rings are changed before the driver is ready, not under the thread's feet. */
struct queue *regs_queue_to_set(struct virtio *virtio)
{
	return virtio->worker.running ? NULL : regs_queue(virtio);
}

uint32_t regs_features(const struct virtio *virtio)
{
	if (virtio->state.device_features_select > 1)
		return 0;
	return virtio->features >> (32 * virtio->state.device_features_select);
}

uint32_t regs_driver_features(const struct virtio *virtio)
{
	if (virtio->state.driver_features_select > 1)
		return 0;
	return virtio->state.driver_features >> (32 * virtio->state.driver_features_select);
}

void regs_set_driver_features(struct virtio *virtio, uint32_t value)
{
	struct virtio_state *state = &virtio->state;

	if (state->driver_features_select > 1 || virtio->worker.running ||
	    state->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	regs_set_half(&state->driver_features, value, state->driver_features_select);
}

uint32_t regs_pfn(const struct queue *queue, uint64_t page)
{
	return queue->state.ready ? queue->state.desc / page : 0;
}

void regs_set_pfn(struct queue *queue, uint32_t pfn, uint64_t page)
{
	struct queue_state *state = &queue->state;

	state->desc = pfn * page;
	state->avail = state->desc + 16 * (uint64_t)state->size;
	state->used = (state->avail + 6 + 2 * (uint64_t)state->size + page - 1) / page * page;
	state->ready = pfn;
}

uint64_t regs_config(struct virtio *virtio, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	if (offset < virtio->config_size && size <= virtio->config_size - offset)
		memcpy(&value, (uint8_t *)virtio->config + offset, size);
	if (virtio->class->config_read)
		virtio->class->config_read(virtio, offset);
	return value;
}

void regs_kick(struct virtio *virtio, uint64_t queue)
{
	if (queue < virtio->class->nr_queues)
		event_signal(virtio->queues[queue].kick_fd);
}

void regs_set_half(uint64_t *to, uint32_t value, bool high)
{
	if (high)
		*to = (*to & 0xffffffff) | (uint64_t)value << 32;
	else
		*to = (*to & ~0xffffffffULL) | value;
}
