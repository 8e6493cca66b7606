// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-net: one pair of queues in front of a netdev. In a child the card has
 * an address of its own and the link goes down and up again, so that the guest
 * asks the new network who it is.
 */
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "net/netdev.h"
#include "props.h"
#include "virtio/vhost.h"
#include "virtio/virtio.h"

#define QUEUE_RX	0
#define QUEUE_TX	1

struct net {
	struct virtio *virtio;
	struct netdev *netdev;
	struct vhost *vhost;	/* null: the netdev is served here */
	struct virtio_net_config config;
	/* A frame that is sent may be answered at once. */
	struct chain rx, tx;
	bool link;		/* the netdev has one */
	/* The guest is to see that the link is down, before it comes up. */
	_Atomic bool blinks, seen_down;
};

static void net_set_link(struct net *net, bool up)
{
	net->config.status = up ? VIRTIO_NET_S_LINK_UP : 0;
	virtio_config_changed(net->virtio);
}

static bool net_can_receive(void *card)
{
	struct net *net = card;

	return net->link && !net->virtio->broken && queue_has(&net->virtio->queues[QUEUE_RX]);
}

static void net_receive(void *card, const void *frame, size_t size)
{
	struct net *net = card;
	struct queue *queue = &net->virtio->queues[QUEUE_RX];
	struct chain *chain = &net->rx;
	struct iovec *iov = chain->iov;
	/* Of the modern header only; the legacy one ends before it. */
	const uint16_t one = 1;
	size_t done;

	if (!queue_pop(queue, chain)) {
		if (queue->error)
			virtio_break(net->virtio, queue->error);
		return;
	}
	if (chain->nr_out || chain->in_size < size) {
		/* Too small for what may come: lost, but the buffer goes back. */
		queue_push(queue, chain->head, 0);
		return;
	}
	done = iov_put(&iov, &chain->nr_in, frame, size < 10 ? size : 10);
	if (net->netdev->header > 10)
		done += iov_put(&iov, &chain->nr_in, &one, sizeof(one));
	done += iov_put(&iov, &chain->nr_in, (const uint8_t *)frame + done, size - done);
	queue_push(queue, chain->head, done);
}

static void net_send_all(struct net *net, struct queue *queue)
{
	struct chain *chain = &net->tx;

	while (queue_pop(queue, chain)) {
		if (chain->nr_in || chain->out_size < net->netdev->header) {
			virtio_break(net->virtio, "a frame without a header");
			return;
		}
		if (net->link)
			net->netdev->type->send(net->netdev, chain->iov, chain->nr_out);
		queue_push(queue, chain->head, 0);
	}
	virtio_tell(net->virtio, queue);
}

/* The queues are the host's kernel's. */
static struct vhost *net_vhost(const struct net *net)
{
	return net->link ? net->vhost : NULL;
}

static void net_kicked(struct virtio *virtio, struct queue *queue)
{
	struct net *net = virtio->dev;

	if (net_vhost(net)) {
		vhost_kicked(net_vhost(net), virtio, queue - virtio->queues);
		return;
	}
	/* That there is room to receive is looked at before each wait. */
	if (queue == &virtio->queues[QUEUE_TX])
		net_send_all(net, queue);
}

static void net_poll(struct virtio *virtio, struct poll_set *set)
{
	struct net *net = virtio->dev;

	if (net->blinks && net->seen_down) {
		net->blinks = false;
		net_set_link(net, true);
	}
	if (net_vhost(net)) {
		vhost_poll(net_vhost(net), set);
		return;
	}
	if (net->link)
		net->netdev->type->poll(net->netdev, set);
	virtio_tell(virtio, &virtio->queues[QUEUE_RX]);
}

static void net_polled(struct virtio *virtio, const struct poll_set *set)
{
	struct net *net = virtio->dev;

	if (net_vhost(net)) {
		vhost_polled(net_vhost(net), virtio, set);
		return;
	}
	if (net->link)
		net->netdev->type->polled(net->netdev, set);
	virtio_tell(virtio, &virtio->queues[QUEUE_RX]);
	virtio_tell(virtio, &virtio->queues[QUEUE_TX]);
}

/* Without VERSION_1 the header lacks the number of buffers. */
static void net_start(struct virtio *virtio)
{
	struct net *net = virtio->dev;
	struct netdev *netdev = net->netdev;

	netdev->header = virtio_has(virtio, VIRTIO_F_VERSION_1) ?
			 sizeof(struct virtio_net_hdr_mrg_rxbuf) : sizeof(struct virtio_net_hdr);
	if (netdev->type->start)
		netdev->type->start(netdev, virtio->state.driver_features, netdev->header);
}

static void net_reset(struct virtio *virtio)
{
	struct net *net = virtio->dev;

	if (net_vhost(net))
		vhost_stop(net_vhost(net), virtio);
}

static void net_quiesced(struct virtio *virtio)
{
	struct net *net = virtio->dev;

	if (net_vhost(net))
		vhost_quiesced(net_vhost(net), virtio);
}

static void net_config_read(struct virtio *virtio, uint64_t offset)
{
	struct net *net = virtio->dev;

	if (offset != offsetof(struct virtio_net_config, status) || !net->blinks)
		return;
	net->seen_down = true;
	event_signal(virtio->queues[QUEUE_TX].kick_fd);
}

static int net_forked(struct virtio *virtio)
{
	struct net *net = virtio->dev;
	uint64_t id = virtio->vm->id;
	uint8_t *mac = net->config.mac;
	int ret = net->netdev->type->forked(net->netdev);

	if (ret < 0)
		return ret;
	/* No two of a family are the same, nor two cards of one VM. */
	mac[0] |= 2;
	mac[1] ^= id >> 16;
	mac[2] ^= id >> 8;
	mac[3] ^= id;
	net->link = ret;
	net->blinks = net->link;
	net->seen_down = false;
	net_set_link(net, false);
	return 0;
}

static const struct virtio_class net_class = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.features = VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(VIRTIO_NET_F_STATUS),
	.nr_queues = 2,
	.queue_size = 256,
	.start = net_start,
	.kicked = net_kicked,
	.poll = net_poll,
	.polled = net_polled,
	.config_read = net_config_read,
	.reset = net_reset,
	.quiesced = net_quiesced,
	.forked = net_forked,
};

static void net_parse_mac(struct net *net, const char *text)
{
	static unsigned int cards;
	static const uint8_t first[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	uint8_t *mac = net->config.mac;
	char rest;

	if (!text) {
		memcpy(mac, first, sizeof(first));
		mac[5] += cards++;
		return;
	}
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &rest) != 6)
		die("-device: mac=%s: six numbers, such as 52:54:00:12:34:56", text);
	if (mac[0] & 1)
		die("-device: mac=%s: that is the address of a group", text);
}

static void net_create(struct vm *vm, struct props *props)
{
	struct net *net = xcalloc(1, sizeof(*net));

	net_parse_mac(net, props_get(props, "mac"));
	net->netdev = netdev_open(vm, props_need(props, "netdev"));
	props_get(props, "id");
	net->vhost = net->netdev->type->vhost ? net->netdev->type->vhost(net->netdev) : NULL;
	net->netdev->card = net;
	net->netdev->can_receive = net_can_receive;
	net->netdev->receive = net_receive;
	net->link = true;
	net->config.status = VIRTIO_NET_S_LINK_UP;
	net->virtio = virtio_create(vm, &net_class, net, net->netdev->id, net->netdev->features,
				    &net->config, sizeof(net->config));
}

DECLARE_DEVICE(net, {
	.name = "virtio-net",
	.model = "virtio-net-device",
	.create = net_create,
});
