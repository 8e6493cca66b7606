// SPDX-License-Identifier: GPL-2.0-only
/*
 * -netdev tap: an interface of the host, whose other end is the guest's card.
 * Sums and segments are left to whoever is last, host or guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "helper.h"
#include "log.h"
#include "net/netdev.h"
#include "props.h"
#include "sandbox.h"
#include "virtio/vhost.h"
#include "virtio/virtio.h"
#include "worker.h"

struct tap {
	const char *pattern;
	char name[IFNAMSIZ];
	bool own_clone;
	unsigned int offer;	/* for a child */
	int fd;			/* -1: none, in a child */
	const char *how_vhost;	/* on, off; null: if the host has it */
	struct vhost vhost;
	bool has_vhost;
	unsigned int at;	/* in the poll set */
	uint8_t buffer[NET_FRAME_MAX];
};

static int tap_make(void *arg, uint64_t id)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	const struct tap *tap = arg;
	int fd, error;

	(void)id;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tap->pattern);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && !ioctl(fd, TUNSETIFF, &request))
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
	return -error;
}

/* Takes the descriptor of tap_make(). 0 or a negative errno. */
static int tap_take(struct tap *tap, int fd)
{
	struct ifreq request = {};

	if (fd < 0)
		return fd;
	tap->fd = fd;
	if (ioctl(fd, TUNGETIFF, &request))
		return -errno;
	snprintf(tap->name, sizeof(tap->name), "%s", request.ifr_name);
	return 0;
}

static void tap_start(struct netdev *netdev, uint64_t features, unsigned int header)
{
	struct tap *tap = netdev->backend;
	unsigned int offload = 0;

	if (features & VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM))
		offload |= TUN_F_CSUM;
	if (features & VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4))
		offload |= TUN_F_TSO4;
	if (features & VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6))
		offload |= TUN_F_TSO6;
	if (tap->fd >= 0 && (ioctl(tap->fd, TUNSETVNETHDRSZ, &header) ||
			     ioctl(tap->fd, TUNSETOFFLOAD, offload)))
		vm_warn(netdev->vm, "-netdev tap,id=%s: %s: %s", netdev->id, tap->name,
			strerror(errno));
}

static void tap_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	struct tap *tap = netdev->backend;

	if (tap->fd >= 0 && writev(tap->fd, iov, n) < 0 && errno != EAGAIN)
		vm_log(netdev->vm, "%s: %s", tap->name, strerror(errno));
}

static void tap_poll(struct netdev *netdev, struct poll_set *set)
{
	struct tap *tap = netdev->backend;

	/* Without room in the guest frames wait in the host's queue. */
	tap->at = poll_set_add(set, netdev->can_receive(netdev->card) ? tap->fd : -1, POLLIN);
}

static void tap_polled(struct netdev *netdev, const struct poll_set *set)
{
	struct tap *tap = netdev->backend;
	ssize_t size;

	if (!(set->fds[tap->at].revents & POLLIN))
		return;
	while (netdev->can_receive(netdev->card)) {
		size = read(tap->fd, tap->buffer, sizeof(tap->buffer));
		if (size <= 0)
			break;
		netdev->receive(netdev->card, tap->buffer, size);
	}
}

static int tap_run_vhost(struct vhost *vhost, bool on)
{
	const struct tap *tap = vhost->dev;
	struct vhost_vring_file backend = { .fd = on ? tap->fd : -1 };
	int ret = 0;

	for (; backend.index < VHOST_QUEUES; backend.index++)
		ret = vhost_call(vhost, VHOST_NET_SET_BACKEND, &backend) ?: ret;
	return ret;
}

static int tap_forked(struct netdev *netdev)
{
	struct tap *tap = netdev->backend;
	int ret;

	close(tap->fd);
	tap->fd = -1;
	if (!tap->own_clone) {
		if (tap->has_vhost)
			vhost_close(&tap->vhost);
		tap->has_vhost = false;
		return 0;
	}
	ret = tap_take(tap, helper_open(netdev->vm, tap->offer));
	if (!ret && tap->has_vhost)
		ret = vhost_forked(&tap->vhost, netdev->vm);
	if (ret)
		vm_warn(netdev->vm, "-netdev tap,id=%s: ifname=%s: %s", netdev->id, tap->pattern,
			strerror(-ret));
	else
		vm_log(netdev->vm, "%s: is %s", netdev->id, tap->name);
	return ret ?: 1;
}

static struct vhost *tap_vhost(struct netdev *netdev)
{
	struct tap *tap = netdev->backend;
	const char *how = tap->how_vhost;

	if (how && !strcmp(how, "off"))
		return NULL;
	tap->vhost = (struct vhost){ .name = "net", .run = tap_run_vhost, .dev = tap };
	errno = -vhost_create(&tap->vhost);
	if (errno && how)
		die("-netdev tap: vhost=on: /dev/vhost-net: %s: load it with 'modprobe vhost_net', or leave vhost=on out",
		    strerror(errno));
	if (errno) {
		vm_log(netdev->vm, "%s: /dev/vhost-net: %s", netdev->id, strerror(errno));
		return NULL;
	}
	tap->has_vhost = true;
	if (tap->own_clone)
		vhost_offer(&tap->vhost);
	return &tap->vhost;
}

static void tap_create(struct netdev *netdev, struct props *props)
{
	struct tap *tap = xcalloc(1, sizeof(*tap));

	netdev->backend = tap;
	tap->pattern = props_need(props, "ifname");
	if (strlen(tap->pattern) >= IFNAMSIZ)
		die("-netdev tap: ifname=%s: more than %d characters", tap->pattern, IFNAMSIZ - 1);
	tap->own_clone = strcmp(props_word(props, "clone", "tap none", "none"), "none");
	if (tap->own_clone && !strstr(tap->pattern, "%d"))
		die("-netdev tap: clone=tap: a child's interface needs a name: use ifname=%s%%d",
		    tap->pattern);
	/* Scripts are not run: the interface is whoever's who has made it. */
	props_word(props, "script", "no", NULL);
	props_word(props, "downscript", "no", NULL);
	tap->how_vhost = props_word(props, "vhost", "on off", NULL);
	errno = -tap_take(tap, tap_make(tap, netdev->vm->id));
	if (errno == ENOENT || errno == ENODEV)
		die("-netdev tap: /dev/net/tun: %s: load it with 'modprobe tun'", strerror(errno));
	if (errno)
		die_errno("-netdev tap: ifname=%s", tap->pattern);
	if (tap->own_clone)
		tap->offer = helper_offer(tap_make, tap);
	sandbox_allow_ioctl(TUNGETIFF);
	sandbox_allow_ioctl(TUNSETVNETHDRSZ);
	sandbox_allow_ioctl(TUNSETOFFLOAD);
	netdev->features = VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) |
			   VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |
			   VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) |
			   VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |
			   VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6);
	vm_log(netdev->vm, "%s: is %s", netdev->id, tap->name);
}

DECLARE_NETDEV(tap, {
	.name = "tap",
	.create = tap_create,
	.start = tap_start,
	.send = tap_send,
	.poll = tap_poll,
	.polled = tap_polled,
	.vhost = tap_vhost,
	.forked = tap_forked,
});
