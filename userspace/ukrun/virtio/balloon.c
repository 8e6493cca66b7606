// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-balloon: memory that the guest does without goes back to the host, by
 * holes in the memory's file. The guest gives pages when it is asked to (QMP's
 * "balloon"), and says of free ones that they are so (free-page-reporting=on).
 * What is used again is found to be zero.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "props.h"
#include "qmp/qmp.h"
#include "virtio/virtio.h"

#define PAGE_SIZE	(1UL << VIRTIO_BALLOON_PFN_SHIFT)
#define QUEUE_INFLATE	0
#define QUEUE_DEFLATE	1
/* There are no statistics: what is there is numbered without gaps. */
#define QUEUE_REPORTING	2
#define NUMBERS		256

struct balloon {
	struct virtio *virtio;
	struct virtio_balloon_config config;
	struct chain chain;
	/* A hole that grows as long as pages lie side by side. */
	uint64_t start, end;
	bool warned;
};

/* A VM has one, as QMP names none. */
static struct balloon *the_balloon;

static void balloon_punch(struct balloon *balloon)
{
	const struct memory *memory = &balloon->virtio->vm->memory;
	uint64_t size = balloon->end - balloon->start;

	if (size && fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      balloon->start, size) && !balloon->warned) {
		vm_warn(balloon->virtio->vm, "%s: memory does not go back to the host: %s",
			balloon->virtio->name, strerror(errno));
		balloon->warned = true;
	}
	balloon->start = 0;
	balloon->end = 0;
}

/* Memory that is the guest's, at @at: it is mapped in one piece, as it is in its file. */
static void balloon_add(struct balloon *balloon, const uint8_t *at, uint64_t size)
{
	uint64_t start = at - balloon->virtio->vm->memory.base;

	if (start == balloon->end) {
		balloon->end += size;
	} else if (start + size == balloon->start) {
		balloon->start = start;
	} else {
		balloon_punch(balloon);
		balloon->start = start;
		balloon->end = start + size;
	}
}

/* What was said before counts no more either. */
static void balloon_refuse(struct balloon *balloon, const char *why)
{
	balloon->start = 0;
	balloon->end = 0;
	virtio_break(balloon->virtio, why);
}

/* Numbers of pages. */
static void balloon_inflate(struct balloon *balloon, struct queue *queue)
{
	struct chain *chain = &balloon->chain;
	uint32_t numbers[NUMBERS];
	struct iovec *iov;
	size_t size, i;
	void *at;

	while (queue_pop(queue, chain)) {
		iov = chain->iov;
		while ((size = iov_take(&iov, &chain->nr_out, numbers, sizeof(numbers)))) {
			for (i = 0; i < size / sizeof(*numbers); i++) {
				at = memory_at(balloon->virtio->vm,
					       (uint64_t)numbers[i] << VIRTIO_BALLOON_PFN_SHIFT,
					       PAGE_SIZE);
				if (!at) {
					balloon_refuse(balloon, "a page that is not in memory");
					return;
				}
				balloon_add(balloon, at, PAGE_SIZE);
			}
		}
		balloon_punch(balloon);
		queue_push(queue, chain->head, 0);
	}
}

/* They come back when the guest uses them. */
static void balloon_deflate(struct balloon *balloon, struct queue *queue)
{
	while (queue_pop(queue, &balloon->chain))
		queue_push(queue, balloon->chain.head, 0);
}

/* The buffers themselves are what is free, until they are given back. */
static void balloon_report(struct balloon *balloon, struct queue *queue)
{
	struct chain *chain = &balloon->chain;
	const struct iovec *iov;
	unsigned int i;

	while (queue_pop(queue, chain)) {
		for (i = 0; i < chain->nr_in; i++) {
			iov = &chain->iov[chain->nr_out + i];
			if (((uintptr_t)iov->iov_base | iov->iov_len) & (PAGE_SIZE - 1)) {
				balloon_refuse(balloon, "free memory that is not whole pages");
				return;
			}
			balloon_add(balloon, iov->iov_base, iov->iov_len);
		}
		balloon_punch(balloon);
		queue_push(queue, chain->head, 0);
	}
}

static void balloon_kicked(struct virtio *virtio, struct queue *queue)
{
	struct balloon *balloon = virtio->dev;

	if (queue == &virtio->queues[QUEUE_INFLATE])
		balloon_inflate(balloon, queue);
	else if (queue == &virtio->queues[QUEUE_DEFLATE])
		balloon_deflate(balloon, queue);
	else if (virtio_has(virtio, VIRTIO_BALLOON_F_REPORTING))
		balloon_report(balloon, queue);
	virtio_tell(virtio, queue);
}

/* How many pages the guest has given. */
static void balloon_config_write(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct balloon *balloon = virtio->dev;

	if (offset == offsetof(struct virtio_balloon_config, actual))
		balloon->config.actual = value;
}

static void balloon_reset(struct virtio *virtio)
{
	struct balloon *balloon = virtio->dev;

	balloon->config.actual = 0;
}

static void balloon_create(struct vm *vm, struct props *props)
{
	static const struct virtio_class class = {
		.name = "virtio-balloon",
		.id = VIRTIO_ID_BALLOON,
		.nr_queues = 3,
		.queue_size = 128,
		.kicked = balloon_kicked,
		.reset = balloon_reset,
		.config_write = balloon_config_write,
	};
	struct balloon *balloon = xcalloc(1, sizeof(*balloon));
	uint64_t features = 0;

	if (the_balloon)
		die("-device virtio-balloon-device: there is one already");
	the_balloon = balloon;
	if (props_bool(props, "deflate-on-oom", false))
		features |= VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	if (props_bool(props, "free-page-reporting", false))
		features |= VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING);
	/* The last two of its fields belong to features that are not there. */
	balloon->virtio = virtio_create(vm, &class, balloon, props_get(props, "id") ?: "balloon",
					features, &balloon->config, 2 * sizeof(uint32_t));
	device_add_state(vm, &balloon->config, sizeof(balloon->config));
}

DECLARE_DEVICE(balloon, {
	.name = "virtio-balloon",
	.model = "virtio-balloon-device",
	.create = balloon_create,
});

static struct json_object *balloon_absent(struct qmp_error *error)
{
	error->class = "DeviceNotActive";
	snprintf(error->text, sizeof(error->text),
		 "No balloon device has been activated: -device virtio-balloon-device");
	return NULL;
}

static struct json_object *balloon_query(struct vm *vm, struct qmp_error *error)
{
	struct json_object *result;

	if (!the_balloon)
		return balloon_absent(error);
	result = json_object_new_object();
	json_object_object_add(result, "actual",
			       json_object_new_uint64(vm->memory.size -
						      the_balloon->config.actual * PAGE_SIZE));
	return result;
}

/* So much memory is the guest to have. */
static struct json_object *balloon_set(struct vm *vm, uint64_t value, struct qmp_error *error)
{
	if (!the_balloon)
		return balloon_absent(error);
	if (value > vm->memory.size)
		value = vm->memory.size;
	the_balloon->config.num_pages = (vm->memory.size - value) / PAGE_SIZE;
	virtio_config_changed(the_balloon->virtio);
	return json_object_new_object();
}

DECLARE_QMP_COMMAND(balloon, { "balloon", .argument = "value", .set = balloon_set });
DECLARE_QMP_COMMAND(query_balloon, { "query-balloon", .run = balloon_query });
