/* SPDX-License-Identifier: GPL-2.0-only */
/* What registers mean in each transport, wherever they are. All under @lock. */
#ifndef UKRUN_VIRTIO_REGS_H
#define UKRUN_VIRTIO_REGS_H

#include <stdbool.h>
#include <stdint.h>

struct queue;
struct virtio;

/* The one that the driver has selected. Null: there is none of that number. */
struct queue *regs_queue(struct virtio *virtio);
/* The same, null also while the device's thread uses the rings. */
struct queue *regs_queue_to_set(struct virtio *virtio);

/* Features that the driver has selected, offered and taken. */
uint32_t regs_features(const struct virtio *virtio);
uint32_t regs_driver_features(const struct virtio *virtio);
void regs_set_driver_features(struct virtio *virtio, uint32_t value);

/* Before version 1.0: one number of a page for all three rings, which lie behind each other. */
uint32_t regs_pfn(const struct queue *queue, uint64_t page);
void regs_set_pfn(struct queue *queue, uint32_t pfn, uint64_t page);

/* The device's configuration, from @offset in it. Zero behind its end. */
uint64_t regs_config(struct virtio *virtio, uint64_t offset, unsigned int size);

/* Rings have been added to. */
void regs_kick(struct virtio *virtio, uint64_t queue);

/* The low or the high half of @to. */
void regs_set_half(uint64_t *to, uint32_t value, bool high);

#endif
