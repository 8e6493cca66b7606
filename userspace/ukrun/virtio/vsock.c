// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-vsock: sockets between guest and host, made by the host's kernel. It has the
 * rings of data as long as the device's thread runs, which hands on kicks and
 * interrupts; the ring of events is ours.
 *
 * A child has an address (CID) of its own. Its parent's connections are its
 * parent's, and it is told so.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "helper.h"
#include "log.h"
#include "props.h"
#include "sandbox.h"
#include "virtio/virtio.h"

#define QUEUES_DATA	2	/* in and out */
#define QUEUE_EVENT	2
#define CID_MIN		3
#define CID_MAX		0xfffffffeU
/* So many others may have the next addresses. */
#define CID_TRIES	1024

struct vsock {
	struct virtio *virtio;
	unsigned int offer;	/* of the helper: the host's device */
	int fd;
	uint64_t first_cid;	/* of VM 1 */
	int kick_fds[QUEUES_DATA], call_fds[QUEUES_DATA];
	bool running;
	unsigned int poll_at;
	struct chain chain;

	struct_group(state,
		struct virtio_vsock_config config;
		/* The guest is to hear that its connections are gone. */
		bool must_reset;
	);
};

static int vsock_call(const struct vsock *vsock, unsigned long request, const void *arg)
{
	return ioctl(vsock->fd, request, arg) < 0 ? -errno : 0;
}

/* From @cid on, the first that is nobody's. */
static int vsock_take_cid(struct vsock *vsock, uint64_t cid)
{
	uint64_t end = cid + CID_TRIES;
	int ret = -EADDRINUSE;

	for (; ret == -EADDRINUSE && cid < end && cid <= CID_MAX; cid++) {
		ret = vsock_call(vsock, VHOST_VSOCK_SET_GUEST_CID, &cid);
		vsock->config.guest_cid = cid;
	}
	return ret;
}

static int vsock_open_device(void *arg)
{
	int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int vsock_open(struct vsock *vsock)
{
	unsigned int i;

	for (i = 0; i < QUEUES_DATA; i++) {
		vsock->kick_fds[i] = event_create();
		vsock->call_fds[i] = event_create();
		if (vsock->kick_fds[i] < 0 || vsock->call_fds[i] < 0)
			return -errno;
	}
	vsock->fd = helper_open(vsock->offer);
	if (vsock->fd < 0)
		return vsock->fd;
	return vsock_call(vsock, VHOST_SET_OWNER, NULL);
}

static void vsock_close(struct vsock *vsock)
{
	unsigned int i;

	for (i = 0; i < QUEUES_DATA; i++) {
		close(vsock->kick_fds[i]);
		close(vsock->call_fds[i]);
	}
	close(vsock->fd);
}

static int vsock_set_memory(const struct vsock *vsock)
{
	const struct memory *memory = &vsock->virtio->vm->memory;
	struct {
		struct vhost_memory head;
		struct vhost_memory_region regions[2];
	} table = {
		.head.nregions = memory->size > memory->low ? 2 : 1,
		.regions = {
			{ .memory_size = memory->low, .userspace_addr = (uintptr_t)memory->base },
			{
				.guest_phys_addr = MEMORY_HIGH_START,
				.memory_size = memory->size - memory->low,
				.userspace_addr = (uintptr_t)memory->base + memory->low,
			},
		},
	};

	return vsock_call(vsock, VHOST_SET_MEM_TABLE, &table);
}

static int vsock_set_queue(const struct vsock *vsock, unsigned int index)
{
	const struct queue *queue = &vsock->virtio->queues[index];
	struct vhost_vring_state size = { index, queue->state.size };
	struct vhost_vring_state base = { index, queue->state.next_avail };
	struct vhost_vring_file kick = { index, vsock->kick_fds[index] };
	struct vhost_vring_file call = { index, vsock->call_fds[index] };
	struct vhost_vring_addr addr = {
		.index = index,
		.desc_user_addr = (uintptr_t)queue->desc,
		.avail_user_addr = (uintptr_t)queue->avail,
		.used_user_addr = (uintptr_t)queue->used,
	};
	int ret;

	ret = vsock_call(vsock, VHOST_SET_VRING_NUM, &size);
	ret = ret ?: vsock_call(vsock, VHOST_SET_VRING_BASE, &base);
	ret = ret ?: vsock_call(vsock, VHOST_SET_VRING_ADDR, &addr);
	ret = ret ?: vsock_call(vsock, VHOST_SET_VRING_KICK, &kick);
	return ret ?: vsock_call(vsock, VHOST_SET_VRING_CALL, &call);
}

/* Give the rings to the kernel, which checks them by the table of memory. */
static void vsock_start(struct vsock *vsock)
{
	const struct virtio *virtio = vsock->virtio;
	uint64_t features = virtio->state.driver_features;
	int on = 1, ret;
	unsigned int i;

	ret = vsock_call(vsock, VHOST_SET_FEATURES, &features);
	ret = ret ?: vsock_set_memory(vsock);
	for (i = 0; i < QUEUES_DATA && !ret; i++)
		ret = vsock_set_queue(vsock, i);
	ret = ret ?: vsock_call(vsock, VHOST_VSOCK_SET_RUNNING, &on);
	if (ret) {
		vm_warn(virtio->vm, "%s: /dev/vhost-vsock: %s", virtio->name, strerror(-ret));
		virtio_break(vsock->virtio, "the host's kernel refuses its rings");
		return;
	}
	vsock->running = true;
	/* What came before may not have been told. */
	virtio_interrupt_queues(vsock->virtio);
}

/* Take them back, as far as they have been served. */
static void vsock_stop(struct virtio *virtio)
{
	struct vsock *vsock = virtio->dev;
	struct vhost_vring_state base;
	unsigned int i;
	int off = 0;

	if (!vsock->running)
		return;
	vsock->running = false;
	vsock_call(vsock, VHOST_VSOCK_SET_RUNNING, &off);
	for (i = 0; i < QUEUES_DATA; i++) {
		base = (struct vhost_vring_state){ .index = i };
		if (!vsock_call(vsock, VHOST_GET_VRING_BASE, &base))
			virtio->queues[i].state.next_avail = base.num;
	}
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
	if (!vsock->running && virtio->queues[0].running && virtio->queues[1].running)
		vsock_start(vsock);
	event_signal(vsock->kick_fds[index]);
}

static void vsock_poll(struct virtio *virtio, struct poll_set *set)
{
	struct vsock *vsock = virtio->dev;

	vsock->poll_at = poll_set_add(set, vsock->call_fds[0], POLLIN);
	poll_set_add(set, vsock->call_fds[1], POLLIN);
}

static void vsock_polled(struct virtio *virtio, const struct poll_set *set)
{
	struct vsock *vsock = virtio->dev;
	unsigned int i;

	for (i = 0; i < QUEUES_DATA; i++) {
		if (!set->fds[vsock->poll_at + i].revents)
			continue;
		event_clear(vsock->call_fds[i]);
		virtio_interrupt_queues(virtio);
	}
}

static int vsock_forked(struct virtio *virtio)
{
	struct vsock *vsock = virtio->dev;
	int ret;

	vsock_close(vsock);
	ret = vsock_open(vsock);
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
		.nr_queues = QUEUES_DATA + 1,
		.queue_size = 128,
		.kicked = vsock_kicked,
		.poll = vsock_poll,
		.polled = vsock_polled,
		.reset = vsock_stop,
		.quiesced = vsock_stop,
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
	vsock->offer = helper_offer(vsock_open_device, NULL);
	errno = -vsock_open(vsock);
	if (errno == ENOENT || errno == ENODEV)
		die("/dev/vhost-vsock: %s: load it with 'modprobe vhost_vsock'", strerror(errno));
	if (errno)
		die_errno("/dev/vhost-vsock");
	errno = -vsock_call(vsock, VHOST_VSOCK_SET_GUEST_CID, &vsock->first_cid);
	if (errno)
		die_errno("-device: guest-cid=%s", cid);
	vsock->config.guest_cid = vsock->first_cid;
	sandbox_allow_if(SCMP_SYS(ioctl), 1, 0xff00, VHOST_VIRTIO << 8);
	vsock->virtio = virtio_create(vm, &class, vsock, props_get(props, "id") ?: "vsock", 0,
				      &vsock->config, sizeof(vsock->config));
	device_add_state(vm, &vsock->state, sizeof(vsock->state));
}

DECLARE_DEVICE(vsock, {
	.name = "vhost-vsock",
	.model = "vhost-vsock-device",
	.create = vsock_create,
});
