// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-vsock: sockets between guest and host, made by the host's kernel, which
 * has the rings of data; the ring of events is ours.
 *
 * A child has an address (CID) of its own. Its parent's connections are its
 * parent's, and it is told so.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "props.h"
#include "virtio/vhost.h"
#include "virtio/virtio.h"

#define QUEUE_EVENT	VHOST_QUEUES
#define CID_MIN		3
#define CID_MAX		0xfffffffeU
/* So many others may have the next addresses. */
#define CID_TRIES	1024

struct vsock {
	struct virtio *virtio;
	struct vhost vhost;
	uint64_t first_cid;	/* of VM 1 */
	struct chain chain;

	struct_group(state,
		struct virtio_vsock_config config;
		/* The guest is to hear that its connections are gone. */
		bool must_reset;
	);
};

static int vsock_run(struct vhost *vhost, bool on)
{
	int value = on;

	return vhost_call(vhost, VHOST_VSOCK_SET_RUNNING, &value);
}

/* From @cid on, the first that is nobody's. */
static int vsock_take_cid(struct vsock *vsock, uint64_t cid)
{
	uint64_t end = cid + CID_TRIES;
	int ret = -EADDRINUSE;

	for (; ret == -EADDRINUSE && cid < end && cid <= CID_MAX; cid++) {
		ret = vhost_call(&vsock->vhost, VHOST_VSOCK_SET_GUEST_CID, &cid);
		vsock->config.guest_cid = cid;
	}
	return ret;
}

/* Connections are gone, and the address may be another: once the guest has room for the news. */
static void vsock_tell_reset(struct vsock *vsock, struct queue *queue)
{
	const struct virtio_vsock_event event = { .id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	struct chain *chain = &vsock->chain;
	struct iovec *iov;

	if (!vsock->must_reset || !queue_pop(queue, chain))
		return;
	iov = &chain->iov[chain->nr_out];
	queue_push(queue, chain->head, iov_put(&iov, &chain->nr_in, &event, sizeof(event)));
	vsock->must_reset = false;
	virtio_tell(vsock->virtio, queue);
}

static void vsock_kicked(struct virtio *virtio, struct queue *queue)
{
	struct vsock *vsock = virtio->dev;
	unsigned int index = queue - virtio->queues;

	if (index == QUEUE_EVENT) {
		vsock_tell_reset(vsock, queue);
		return;
	}
	vhost_kicked(&vsock->vhost, virtio, index);
}

static void vsock_poll(struct virtio *virtio, struct poll_set *set)
{
	struct vsock *vsock = virtio->dev;

	vhost_poll(&vsock->vhost, set);
}

static void vsock_polled(struct virtio *virtio, const struct poll_set *set)
{
	struct vsock *vsock = virtio->dev;

	vhost_polled(&vsock->vhost, virtio, set);
}

static void vsock_reset(struct virtio *virtio)
{
	struct vsock *vsock = virtio->dev;

	vhost_stop(&vsock->vhost, virtio);
}

static void vsock_quiesced(struct virtio *virtio)
{
	struct vsock *vsock = virtio->dev;

	vhost_quiesced(&vsock->vhost, virtio);
}

static int vsock_forked(struct virtio *virtio)
{
	struct vsock *vsock = virtio->dev;
	int ret;

	ret = vhost_forked(&vsock->vhost, virtio->vm);
	ret = ret ?: vsock_take_cid(vsock, vsock->first_cid + virtio->vm->id - 1);
	if (ret) {
		vm_warn(virtio->vm, "%s: /dev/vhost-vsock: %s", virtio->name, strerror(-ret));
		return ret;
	}
	vm_log(virtio->vm, "%s: CID %llu", virtio->name,
	       (unsigned long long)vsock->config.guest_cid);
	vsock->must_reset = true;
	return 0;
}

static void vsock_create(struct vm *vm, struct props *props)
{
	static const struct virtio_class class = {
		.name = "vhost-vsock",
		.id = VIRTIO_ID_VSOCK,
		.nr_queues = VHOST_QUEUES + 1,
		.queue_size = 128,
		.kicked = vsock_kicked,
		.poll = vsock_poll,
		.polled = vsock_polled,
		.reset = vsock_reset,
		.quiesced = vsock_quiesced,
		.forked = vsock_forked,
	};
	const char *cid = props_need(props, "guest-cid");
	struct vsock *vsock = xcalloc(1, sizeof(*vsock));
	char *end;

	vsock->first_cid = strtoull(cid, &end, 10);
	if (*cid < '0' || *cid > '9' || *end || vsock->first_cid < CID_MIN ||
	    vsock->first_cid > CID_MAX)
		die("-device: guest-cid=%s: a number from %u to %u", cid, CID_MIN, CID_MAX);
	if (vm->config.reset_on_exit)
		die("--reset-on-exit: goes without vhost-vsock-device, whose connections would not be taken back");
	vsock->vhost = (struct vhost){ .name = "vsock", .run = vsock_run };
	errno = -vhost_create(&vsock->vhost);
	if (!errno)
		vhost_offer(&vsock->vhost);
	if (errno == ENOENT || errno == ENODEV)
		die("/dev/vhost-vsock: %s: load it with 'modprobe vhost_vsock'", strerror(errno));
	if (errno)
		die_errno("/dev/vhost-vsock");
	errno = -vhost_call(&vsock->vhost, VHOST_VSOCK_SET_GUEST_CID, &vsock->first_cid);
	if (errno)
		die_errno("-device: guest-cid=%s", cid);
	vsock->config.guest_cid = vsock->first_cid;
	vsock->virtio = virtio_create(vm, &class, vsock, props_get(props, "id") ?: "vsock", 0,
				      &vsock->config, sizeof(vsock->config));
	device_add_state(vm, &vsock->state, sizeof(vsock->state));
}

DECLARE_DEVICE(vsock, {
	.name = "vhost-vsock",
	.model = "vhost-vsock-device",
	.create = vsock_create,
});
