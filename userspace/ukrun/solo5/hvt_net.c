// SPDX-License-Identifier: GPL-2.0-only
/* Networks of a Solo5 guest: the -netdev whose id is the name in the manifest. */
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "net/netdev.h"
#include "props.h"
#include "solo5/hvt.h"
#include "vcpu.h"
#include "vm.h"
#include "worker.h"

#define NS_PER_MS	1000000ULL
#define MTU		1500
/* Before each frame on the host's side; all zero: a plain frame. */
#define HEADER_SIZE	sizeof(struct virtio_net_hdr)

struct hvt_net {
	struct netdev *netdev;
	bool link;
	/* The next frame for the guest; those behind it wait in the netdev. */
	size_t size;
	uint8_t frame[NET_FRAME_MAX];
};

static bool hvt_net_can_receive(void *card)
{
	const struct hvt_net *net = card;

	return !net->size;
}

static void hvt_net_receive(void *card, const void *frame, size_t size)
{
	struct hvt_net *net = card;

	if (size <= HEADER_SIZE || size - HEADER_SIZE > sizeof(net->frame))
		return;
	net->size = size - HEADER_SIZE;
	memcpy(net->frame, (const uint8_t *)frame + HEADER_SIZE, net->size);
}

void hvt_net_attach(struct hvt *hvt, uint32_t handle)
{
	struct solo5_entry *entry = &hvt->manifest.entries[handle];
	const uint8_t mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 + handle - 1 };
	struct hvt_net *net = xcalloc(1, sizeof(*net));

	if (!props_find(hvt->vm->config.netdevs, entry->name))
		die("%s: its manifest asks for a network: give it one by -netdev user,id=%s",
		    hvt->vm->config.image, entry->name);
	net->netdev = netdev_open(hvt->vm, entry->name);
	net->netdev->card = net;
	net->netdev->can_receive = hvt_net_can_receive;
	net->netdev->receive = hvt_net_receive;
	net->netdev->header = HEADER_SIZE;
	/* Without offloads: the guest knows of none. */
	if (net->netdev->type->start)
		net->netdev->type->start(net->netdev, 0, HEADER_SIZE);
	net->link = true;
	hvt->nets[handle] = net;
	memcpy(entry->net.mac, mac, sizeof(mac));
	entry->net.mtu = MTU;
}

void hvt_net_write(struct hvt_net *net, const void *data, uint64_t size)
{
	struct virtio_net_hdr header = {};
	struct iovec iov[] = {
		{ .iov_base = &header, .iov_len = HEADER_SIZE },
		{ .iov_base = (void *)data, .iov_len = size },
	};

	if (net->link)
		net->netdev->type->send(net->netdev, iov, 2);
}

uint64_t hvt_net_read(struct hvt_net *net, void *data, uint64_t size)
{
	if (size > net->size)
		size = net->size;
	memcpy(data, net->frame, size);
	net->size = 0;
	return size;
}

static uint64_t hvt_net_ready(const struct hvt *hvt)
{
	uint64_t ready = 0;
	uint32_t i;

	for (i = 0; i < hvt->manifest.nr_entries; i++)
		if (hvt->nets[i] && hvt->nets[i]->size)
			ready |= 1ULL << i;
	return ready;
}

static void hvt_net_poll(struct hvt *hvt, struct poll_set *set)
{
	uint32_t i;

	set->used = 0;
	set->timeout_ms = -1;
	for (i = 0; i < hvt->manifest.nr_entries; i++)
		if (hvt->nets[i] && hvt->nets[i]->link)
			hvt->nets[i]->netdev->type->poll(hvt->nets[i]->netdev, set);
}

static void hvt_net_polled(struct hvt *hvt, const struct poll_set *set)
{
	uint32_t i;

	for (i = 0; i < hvt->manifest.nr_entries; i++)
		if (hvt->nets[i] && hvt->nets[i]->link)
			hvt->nets[i]->netdev->type->polled(hvt->nets[i]->netdev, set);
}

/*
 * A VM that is to stop gives an early end of the wait, with nothing ready: the
 * guest then waits again for what is left, as it has to with any frame that is
 * not the one it waits for.
 */
uint64_t hvt_net_wait(struct hvt *hvt, uint64_t timeout_ns)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), passed = 0, left;
	struct poll_set set = {};
	struct timespec timeout;
	bool looked = false;
	uint64_t ready;

	for (;;) {
		/* May have frames that wait for room. */
		hvt_net_poll(hvt, &set);
		ready = hvt_net_ready(hvt);
		if (ready || (looked && passed >= timeout_ns))
			break;
		left = passed < timeout_ns ? timeout_ns - passed : 0;
		if (set.timeout_ms >= 0 && left > set.timeout_ms * NS_PER_MS)
			left = set.timeout_ms * NS_PER_MS;
		timeout.tv_sec = left / NS_PER_S;
		timeout.tv_nsec = left % NS_PER_S;
		if (vcpu_poll(hvt->vm, set.fds, set.used, &timeout) < 0)
			break;
		hvt_net_polled(hvt, &set);
		looked = true;
		passed = clock_ns(CLOCK_MONOTONIC) - start;
	}
	free(set.fds);
	return ready;
}

int hvt_net_forked(struct hvt_net *net)
{
	int ret = net->netdev->type->forked(net->netdev);

	if (ret < 0)
		return ret;
	/* What came before was for the parent. */
	net->link = ret;
	net->size = 0;
	return 0;
}
