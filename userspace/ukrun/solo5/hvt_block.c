// SPDX-License-Identifier: GPL-2.0-only
/* Disks of a Solo5 guest: the -drive whose id is the name in the manifest. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "disk/disk.h"
#include "log.h"
#include "props.h"
#include "solo5/hvt.h"
#include "vm.h"
#include "worker.h"

/* What Solo5's own host has unless it is told otherwise. */
#define HVT_BLOCK_SIZE	512

void hvt_block_attach(struct hvt *hvt, uint32_t handle)
{
	struct solo5_entry *entry = &hvt->manifest.entries[handle];

	if (!props_find(hvt->vm->config.drives, entry->name))
		die("%s: its manifest asks for a block device: give it one by -drive file=FILE,id=%s",
		    hvt->vm->config.image, entry->name);
	hvt->disks[handle] = disk_open(hvt->vm, entry->name);
	entry->block.capacity = hvt->disks[handle]->size;
	entry->block.block_size = HVT_BLOCK_SIZE;
}

static void hvt_block_done(struct disk_request *request)
{
	(void)request;
}

/* The guest waits, and so do we: also when the VM is to stop. */
static void hvt_block_wait(struct disk *disk)
{
	struct poll_set set = {};

	disk_submit_end(disk);
	while (disk->in_flight) {
		set.used = 0;
		disk_poll(disk, &set);
		poll(set.fds, set.used, -1);
		disk_reap(disk);
	}
	free(set.fds);
}

int hvt_block_move(struct disk *disk, const struct solo5_block *call, void *data, bool write)
{
	struct iovec iov = { .iov_base = data, .iov_len = call->size };
	struct disk_request request = {
		.op = write ? DISK_WRITE : DISK_READ,
		.offset = call->offset,
		.size = call->size,
		.iov = &iov,
		.nr_iov = 1,
		.done = hvt_block_done,
	};

	if (!call->size || call->size > disk->size || call->offset > disk->size - call->size ||
	    call->offset % HVT_BLOCK_SIZE || call->size % HVT_BLOCK_SIZE || (write && disk->read_only))
		return SOLO5_EINVAL;
	disk_submit(disk, &request);
	hvt_block_wait(disk);
	if (!request.error)
		return SOLO5_OK;
	vm_warn(disk->vm, "-drive id=%s: %s at 0x%llx: %s", disk->id, write ? "writing" : "reading",
		(unsigned long long)call->offset, strerror(-request.error));
	return SOLO5_EUNSPEC;
}
