// SPDX-License-Identifier: GPL-2.0-only
/* virtio-9p: messages of 9P in a queue. One is answered before the next is looked at. */
#include <linux/virtio_9p.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "9p/fsdev.h"
#include "9p/server.h"
#include "log.h"
#include "props.h"
#include "virtio/virtio.h"

#define TAG_MAX		255

struct p9 {
	struct virtio *virtio;
	struct p9_server server;
	struct chain chain;
	struct {
		uint16_t tag_size;
		char tag[TAG_MAX];
	} __packed config;
	/* The guest writes to its own memory when it likes: what is looked at is a copy. */
	uint8_t message[P9_MESSAGE_MAX], answer[P9_MESSAGE_MAX];
};

/* False, and the device is broken, when there is no message or no room for an answer. */
static bool p9_serve(struct p9 *p9, struct queue *queue)
{
	struct chain *chain = &p9->chain;
	struct iovec *out = chain->iov, *in = &chain->iov[chain->nr_out];
	size_t size = chain->out_size, room = chain->in_size;

	if (size > sizeof(p9->message) || room < P9_ERROR_SIZE) {
		virtio_break(p9->virtio, "a 9P message that is too long, or without room for an answer");
		return false;
	}
	size = iov_take(&out, &chain->nr_out, p9->message, size);
	if (room > sizeof(p9->answer))
		room = sizeof(p9->answer);
	size = p9_answer(&p9->server, p9->message, size, p9->answer, room);
	if (!size) {
		virtio_break(p9->virtio, "a 9P message of another size than it says");
		return false;
	}
	queue_push(queue, chain->head, iov_put(&in, &chain->nr_in, p9->answer, size));
	return true;
}

static void p9_kicked(struct virtio *virtio, struct queue *queue)
{
	struct p9 *p9 = virtio->dev;

	while (queue_pop(queue, &p9->chain) && p9_serve(p9, queue))
		virtio_tell(virtio, queue);
}

/* A driver that begins anew has forgotten what it had open. */
static void p9_reset(struct virtio *virtio)
{
	struct p9 *p9 = virtio->dev;

	fid_remove_all(&p9->server.fids);
	p9->server.message_max = 0;
}

static int p9_forked(struct virtio *virtio)
{
	struct p9 *p9 = virtio->dev;

	fid_forked_all(&p9->server.fids);
	return 0;
}

static void p9_create(struct vm *vm, struct props *props)
{
	static const struct virtio_class class = {
		.name = "virtio-9p",
		.id = VIRTIO_ID_9P,
		.features = VIRTIO_BIT(VIRTIO_9P_MOUNT_TAG),
		.nr_queues = 1,
		.queue_size = 128,
		.kicked = p9_kicked,
		.reset = p9_reset,
		.forked = p9_forked,
	};
	struct fsdev *fsdev = fsdev_open(vm, props_need(props, "fsdev"));
	const char *tag = props_need(props, "mount_tag");
	struct p9 *p9 = xcalloc(1, sizeof(*p9));
	size_t size = strlen(tag);

	props_get(props, "id");
	if (size > TAG_MAX)
		die("-device: mount_tag=%s: more than %d characters", tag, TAG_MAX);
	p9->config.tag_size = size;
	memcpy(p9->config.tag, tag, size);
	p9->server.root = fsdev->root;
	p9->server.read_only = fsdev->read_only;
	p9->virtio = virtio_create(vm, &class, p9, fsdev->id, 0, &p9->config,
				   sizeof(p9->config.tag_size) + size);
}

DECLARE_DEVICE(p9, {
	.name = "virtio-9p",
	.model = "virtio-9p-device",
	.create = p9_create,
});
