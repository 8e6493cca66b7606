/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host of a Solo5 guest: its calls, and the devices behind them. The guest
 * has one vCPU, whose thread does it all; a network moves only while the guest
 * asks for it or waits.
 */
#ifndef UKRUN_HVT_H
#define UKRUN_HVT_H

#include <stdbool.h>
#include <stdint.h>

#include "solo5/solo5.h"

struct disk;
struct hvt_net;
struct vm;

struct hvt {
	struct vm *vm;
	/* With what is attached filled in. */
	struct solo5_manifest manifest;
	/* By the index of the entry, which is the guest's handle; null: another type. */
	struct disk *disks[SOLO5_ENTRIES_MAX];
	struct hvt_net *nets[SOLO5_ENTRIES_MAX];
};

/* Make the device, with what @manifest asks for. Dies when it is not there. */
struct hvt *hvt_create(struct vm *vm, const struct solo5_manifest *manifest);

/* hvt_block.c */
void hvt_block_attach(struct hvt *hvt, uint32_t handle);
/* The result for the guest; @data is of @call->size bytes. */
int hvt_block_move(struct disk *disk, const struct solo5_block *call, void *data, bool write);

/* hvt_net.c */
void hvt_net_attach(struct hvt *hvt, uint32_t handle);
void hvt_net_write(struct hvt_net *net, const void *data, uint64_t size);
/* Wait up to @timeout_ns for frames. The handles which have one, as bits. */
uint64_t hvt_net_wait(struct hvt *hvt, uint64_t timeout_ns);
/* The next frame, cut to @size. 0: there is none. */
uint64_t hvt_net_read(struct hvt_net *net, void *data, uint64_t size);
/* In a child: 0 or a negative errno. */
int hvt_net_forked(struct hvt_net *net);

#endif
