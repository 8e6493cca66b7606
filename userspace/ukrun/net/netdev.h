/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's end of a network card, -netdev. A backend is one file. All but
 * the hooks of a fork run on the device's thread.
 */
#ifndef UKRUN_NETDEV_H
#define UKRUN_NETDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "compiler.h"

struct netdev;
struct poll_set;
struct props;
struct vhost;
struct vm;

/* The longest frame, with what virtio has before it. */
#define NET_FRAME_MAX	(65536 + 64)

struct netdev_type {
	const char *name;	/* -netdev NAME,... */
	/* May give @netdev->features; dies when it is no good. */
	void (*create)(struct netdev *netdev, struct props *props);
	/* The driver's choice of features is known. */
	void (*start)(struct netdev *netdev, uint64_t features, unsigned int header);
	/*
	 * A frame from the guest; the first @header bytes are virtio's. What cannot
	 * be sent is lost, as on a wire.
	 */
	void (*send)(struct netdev *netdev, struct iovec *iov, unsigned int n);
	void (*poll)(struct netdev *netdev, struct poll_set *set);
	void (*polled)(struct netdev *netdev, const struct poll_set *set);
	/*
	 * May be null. At set-up, by a card with virtio's queues: who serves them in
	 * place of ->send(), ->poll() and ->polled(), while there is a link, or null.
	 */
	struct vhost *(*vhost)(struct netdev *netdev);
	/* The child's end. Returns whether it has one, or a negative errno. */
	int (*forked)(struct netdev *netdev);
};

struct netdev {
	struct vm *vm;
	const struct netdev_type *type;
	const char *id;
	uint64_t features;	/* of virtio-net: offloads */
	unsigned int header;	/* bytes before each frame */
	void *backend;
	/* The card's: is there a buffer, and fill one. Frames come with their header. */
	bool (*can_receive)(void *card);
	void (*receive)(void *card, const void *frame, size_t size);
	void *card;
};

#define DECLARE_NETDEV(id, ...)						\
	static const struct netdev_type declared_netdev_##id = __VA_ARGS__; \
	static const struct netdev_type *const declared_netdev_ptr_##id	\
	__section("ukrun_netdevs") __used = &declared_netdev_##id

/* That of -netdev id=@id, which must be nobody else's. Dies when it is no good. */
struct netdev *netdev_open(struct vm *vm, const char *id);

#endif
