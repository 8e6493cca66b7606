// SPDX-License-Identifier: GPL-2.0-only
/* Random bytes of the host's. Nothing to share in a fork: there is no state. */
#include <linux/virtio_ids.h>
#include <sys/random.h>

#include "log.h"
#include "props.h"
#include "virtio/virtio.h"

/* What one request may have: enough for any, and soon done. */
#define RNG_MAX		65536
/* getrandom() gives so many whole. */
#define RNG_PIECE	256

static uint32_t rng_fill(const struct chain *chain)
{
	size_t want = chain->in_size < RNG_MAX ? chain->in_size : RNG_MAX;
	struct iovec in[QUEUE_SIZE_MAX], *iov = in;
	unsigned int n = chain->nr_in, i;
	uint8_t bytes[RNG_PIECE];
	size_t done = 0, part;

	for (i = 0; i < n; i++)
		in[i] = chain->iov[chain->nr_out + i];
	while (done < want) {
		part = want - done < sizeof(bytes) ? want - done : sizeof(bytes);
		if (getrandom(bytes, part, 0) != (ssize_t)part)
			break;
		done += iov_put(&iov, &n, bytes, part);
	}
	return done;
}

static void rng_kicked(struct virtio *virtio, struct queue *queue)
{
	struct chain *chain = virtio->dev;

	while (queue_pop(queue, chain)) {
		queue_push(queue, chain->head, rng_fill(chain));
		virtio_tell(virtio, queue);
	}
}

static void rng_create(struct vm *vm, struct props *props)
{
	static const struct virtio_class class = {
		.name = "virtio-rng",
		.id = VIRTIO_ID_RNG,
		.nr_queues = 1,
		.queue_size = 8,
		.kicked = rng_kicked,
	};

	virtio_create(vm, &class, xcalloc(1, sizeof(struct chain)),
		      props_get(props, "id") ?: "rng", 0, NULL, 0);
}

DECLARE_DEVICE(rng, {
	.name = "virtio-rng",
	.model = "virtio-rng-device",
	.create = rng_create,
});
