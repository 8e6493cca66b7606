// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "helper.h"
#include "log.h"
#include "sandbox.h"
#include "virtio/vhost.h"

int vhost_call(const struct vhost *vhost, unsigned long request, const void *arg)
{
	return ioctl(vhost->fd, request, arg) < 0 ? -errno : 0;
}

static int vhost_open_device(void *arg, uint64_t id)
{
	const struct vhost *vhost = arg;
	char path[64];
	int fd;

	(void)id;
	snprintf(path, sizeof(path), "/dev/vhost-%s", vhost->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void vhost_close(struct vhost *vhost)
{
	unsigned int i;

	for (i = 0; i < VHOST_QUEUES; i++) {
		close(vhost->kick_fds[i]);
		close(vhost->call_fds[i]);
	}
	close(vhost->fd);
}

/* Takes @fd, or what went wrong with opening it. */
static int vhost_open(struct vhost *vhost, int fd)
{
	unsigned int i;

	if (fd < 0)
		return fd;
	vhost->fd = fd;
	for (i = 0; i < VHOST_QUEUES; i++) {
		vhost->kick_fds[i] = event_create();
		vhost->call_fds[i] = event_create();
		if (vhost->kick_fds[i] < 0 || vhost->call_fds[i] < 0)
			return -errno;
	}
	return vhost_call(vhost, VHOST_SET_OWNER, NULL);
}

int vhost_create(struct vhost *vhost)
{
	int ret;

	vhost->fd = -1;
	ret = vhost_open(vhost, vhost_open_device(vhost, 0));
	if (ret) {
		close(vhost->fd);
		return ret;
	}
	sandbox_allow_if(SCMP_SYS(ioctl), 1, 0xff00, VHOST_VIRTIO << 8);
	return 0;
}

void vhost_offer(struct vhost *vhost)
{
	vhost->offer = helper_offer(vhost_open_device, vhost);
}

int vhost_forked(struct vhost *vhost, const struct vm *vm)
{
	vhost_close(vhost);
	return vhost_open(vhost, helper_open(vm, vhost->offer));
}

static int vhost_set_features(const struct vhost *vhost, const struct virtio *virtio)
{
	uint64_t features = 0;
	int ret = vhost_call(vhost, VHOST_GET_FEATURES, &features);

	/* What else the driver has chosen is no matter of rings and data. */
	features &= virtio->state.driver_features;
	return ret ?: vhost_call(vhost, VHOST_SET_FEATURES, &features);
}

static int vhost_set_memory(const struct vhost *vhost, const struct memory *memory)
{
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

	return vhost_call(vhost, VHOST_SET_MEM_TABLE, &table);
}

static int vhost_set_queue(const struct vhost *vhost, const struct queue *queue,
			   unsigned int index)
{
	struct vhost_vring_state size = { index, queue->state.size };
	struct vhost_vring_state base = { index, queue->state.next_avail };
	struct vhost_vring_file kick = { index, vhost->kick_fds[index] };
	struct vhost_vring_file call = { index, vhost->call_fds[index] };
	struct vhost_vring_addr addr = {
		.index = index,
		.desc_user_addr = (uintptr_t)queue->desc,
		.avail_user_addr = (uintptr_t)queue->avail,
		.used_user_addr = (uintptr_t)queue->used,
	};
	int ret;

	ret = vhost_call(vhost, VHOST_SET_VRING_NUM, &size);
	ret = ret ?: vhost_call(vhost, VHOST_SET_VRING_BASE, &base);
	ret = ret ?: vhost_call(vhost, VHOST_SET_VRING_ADDR, &addr);
	ret = ret ?: vhost_call(vhost, VHOST_SET_VRING_KICK, &kick);
	return ret ?: vhost_call(vhost, VHOST_SET_VRING_CALL, &call);
}

static void vhost_start(struct vhost *vhost, struct virtio *virtio)
{
	unsigned int i;
	int ret;

	ret = vhost_set_features(vhost, virtio);
	ret = ret ?: vhost_set_memory(vhost, &virtio->vm->memory);
	for (i = 0; i < VHOST_QUEUES && !ret; i++)
		ret = vhost_set_queue(vhost, &virtio->queues[i], i);
	ret = ret ?: vhost->run(vhost, true);
	if (ret) {
		/* Of several queues one may run. */
		vhost->run(vhost, false);
		vm_warn(virtio->vm, "%s: /dev/vhost-%s: %s", virtio->name, vhost->name,
			strerror(-ret));
		virtio_break(virtio, "the host's kernel refuses its rings");
		return;
	}
	vhost->running = true;
	vm_log(virtio->vm, "%s: served by /dev/vhost-%s", virtio->name, vhost->name);
}

void vhost_stop(struct vhost *vhost, struct virtio *virtio)
{
	struct vhost_vring_state base;
	unsigned int i;

	if (!vhost->running)
		return;
	vhost->running = false;
	vhost->run(vhost, false);
	for (i = 0; i < VHOST_QUEUES; i++) {
		base = (struct vhost_vring_state){ .index = i };
		if (!vhost_call(vhost, VHOST_GET_VRING_BASE, &base))
			queue_take_back(&virtio->queues[i], base.num);
	}
}

void vhost_quiesced(struct vhost *vhost, struct virtio *virtio)
{
	if (!vhost->running)
		return;
	vhost_stop(vhost, virtio);
	/* What has been done may not have been told. */
	virtio_interrupt_queues(virtio);
}

void vhost_kicked(struct vhost *vhost, struct virtio *virtio, unsigned int index)
{
	if (!vhost->running && virtio->queues[0].running && virtio->queues[1].running)
		vhost_start(vhost, virtio);
	event_signal(vhost->kick_fds[index]);
}

void vhost_poll(struct vhost *vhost, struct poll_set *set)
{
	vhost->poll_at = poll_set_add(set, vhost->call_fds[0], POLLIN);
	poll_set_add(set, vhost->call_fds[1], POLLIN);
}

void vhost_polled(struct vhost *vhost, struct virtio *virtio, const struct poll_set *set)
{
	unsigned int i;

	for (i = 0; i < VHOST_QUEUES; i++) {
		if (!set->fds[vhost->poll_at + i].revents)
			continue;
		event_clear(vhost->call_fds[i]);
		virtio_interrupt_queues(virtio);
	}
}
