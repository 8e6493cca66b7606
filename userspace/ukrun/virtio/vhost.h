/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device's first two queues in the hands of the host's kernel, by /dev/vhost-NAME. It
 * has them while the device's thread runs, which hands on kicks and interrupts.
 * Buffers it looks up in the table of the guest's memory; but the rings are pointers
 * that it trusts: that they lie in guest memory is queue_start()'s to see to.
 *
 * A class that has one calls these from its hooks of the same name.
 */
#ifndef UKRUN_VHOST_H
#define UKRUN_VHOST_H

#include <stdbool.h>

#include "virtio/virtio.h"

#define VHOST_QUEUES	2

struct vhost {
	const char *name;	/* as in /dev/vhost-NAME */
	/*
	 * The last word of giving the rings, the first of taking them back. 0 or a
	 * negative errno.
	 */
	int (*run)(struct vhost *vhost, bool on);
	void *dev;		/* for ->run() */

	/* Private to vhost.c. */
	unsigned int offer;	/* of the helper: the host's device */
	int fd;
	int kick_fds[VHOST_QUEUES], call_fds[VHOST_QUEUES];
	bool running;
	unsigned int poll_at;
};

/*
 * During set-up, with @name, @run and @dev filled in. 0 or a negative errno: of
 * -ENOENT and -ENODEV, that the host has no such device.
 */
int vhost_create(struct vhost *vhost);
/* Children will have one, too: vhost_forked(). */
void vhost_offer(struct vhost *vhost);

/* ioctl() on the host's device: 0 or a negative errno. */
int vhost_call(const struct vhost *vhost, unsigned long request, const void *arg);

/* Of queue @index, below VHOST_QUEUES. */
void vhost_kicked(struct vhost *vhost, struct virtio *virtio, unsigned int index);
void vhost_poll(struct vhost *vhost, struct poll_set *set);
void vhost_polled(struct vhost *vhost, struct virtio *virtio, const struct poll_set *set);
/* Take the rings back, as far as they have been served. */
void vhost_stop(struct vhost *vhost, struct virtio *virtio);
/* The same; whoever goes on with them, the driver is told of what has been done. */
void vhost_quiesced(struct vhost *vhost, struct virtio *virtio);
/* In a child that has none: it is the parent's. */
void vhost_close(struct vhost *vhost);
/* The child's own. 0 or a negative errno. */
int vhost_forked(struct vhost *vhost, const struct vm *vm);

#endif
