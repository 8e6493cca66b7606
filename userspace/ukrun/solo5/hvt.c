// SPDX-License-Identifier: GPL-2.0-only
#include <stdatomic.h>
#include <string.h>

#include "clock.h"
#include "device.h"
#include "disk/disk.h"
#include "log.h"
#include "props.h"
#include "solo5/hvt.h"

/* Null, with the VM ended: not memory. */
static void *hvt_memory(struct hvt *hvt, uint64_t gpa, uint64_t size)
{
	void *at = memory_at(hvt->vm, gpa, size);

	if (!at) {
		vm_warn(hvt->vm, "a Solo5 call with 0x%llx, which is no memory of 0x%llx bytes",
			(unsigned long long)gpa, (unsigned long long)size);
		vm_end(hvt->vm, STATUS_GUEST_SHUTDOWN);
	}
	return at;
}

/* Once: devices may write there while the call is made. */
static void hvt_take(void *call, const void *args, size_t size)
{
	memcpy(call, args, size);
	atomic_signal_fence(memory_order_seq_cst);
}

static void hvt_walltime(struct hvt *hvt, void *args)
{
	struct solo5_walltime *call = args;

	(void)hvt;
	call->ns = clock_ns(CLOCK_REALTIME);
}

static void hvt_puts(struct hvt *hvt, void *args)
{
	struct solo5_puts call;
	const void *text;

	hvt_take(&call, args, sizeof(call));
	text = hvt_memory(hvt, call.data, call.size);

	if (text)
		console_write(hvt->vm, &hvt->vm->console, text, call.size);
}

static void hvt_poll(struct hvt *hvt, void *args)
{
	struct solo5_poll *call = args;
	uint64_t ready = hvt_net_wait(hvt, call->timeout_ns);

	call->ready_set = ready;
	call->ret = __builtin_popcountll(ready);
}

/* The arguments are copied: other vCPUs there are none, but forks' parents and devices. */
static void hvt_block(struct hvt *hvt, void *args, bool write)
{
	const struct solo5_block call = *(struct solo5_block *)args;
	int32_t *ret = &((struct solo5_block *)args)->ret;
	void *data;

	if (call.handle >= SOLO5_ENTRIES_MAX || !hvt->disks[call.handle]) {
		*ret = SOLO5_EINVAL;
		return;
	}
	data = hvt_memory(hvt, call.data, call.size);
	if (data)
		*ret = hvt_block_move(hvt->disks[call.handle], &call, data, write);
}

static void hvt_block_write(struct hvt *hvt, void *args)
{
	hvt_block(hvt, args, true);
}

static void hvt_block_read(struct hvt *hvt, void *args)
{
	hvt_block(hvt, args, false);
}

static struct hvt_net *hvt_find_net(struct hvt *hvt, const struct solo5_net *call)
{
	return call->handle < SOLO5_ENTRIES_MAX ? hvt->nets[call->handle] : NULL;
}

static void hvt_send(struct hvt *hvt, void *args)
{
	struct solo5_net call, *answer = args;
	struct hvt_net *net;
	const void *data;

	hvt_take(&call, args, sizeof(call));
	net = hvt_find_net(hvt, &call);
	data = net ? hvt_memory(hvt, call.data, call.size) : NULL;
	if (data)
		hvt_net_write(net, data, call.size);
	answer->ret = data ? SOLO5_OK : SOLO5_EINVAL;
}

static void hvt_receive(struct hvt *hvt, void *args)
{
	struct solo5_net call, *answer = args;
	struct hvt_net *net;
	uint64_t size;
	void *data;

	hvt_take(&call, args, sizeof(call));
	net = hvt_find_net(hvt, &call);
	data = net ? hvt_memory(hvt, call.data, call.size) : NULL;
	if (!data) {
		answer->ret = SOLO5_EINVAL;
		return;
	}
	hvt_net_wait(hvt, 0);
	size = hvt_net_read(net, data, call.size);
	if (size)
		answer->size = size;
	answer->ret = size ? SOLO5_OK : SOLO5_AGAIN;
}

static void hvt_halt(struct hvt *hvt, void *args)
{
	const struct solo5_halt *call = args;

	vm_log(hvt->vm, "Solo5 halt with %d", call->status);
	vm_end(hvt->vm, call->status & 0xff);
}

static const struct {
	void (*handle)(struct hvt *hvt, void *args);
	size_t size;
} hvt_calls[SOLO5_CALLS] = {
	[SOLO5_WALLTIME] = { hvt_walltime, sizeof(struct solo5_walltime) },
	[SOLO5_PUTS] = { hvt_puts, sizeof(struct solo5_puts) },
	[SOLO5_POLL] = { hvt_poll, sizeof(struct solo5_poll) },
	[SOLO5_BLOCK_WRITE] = { hvt_block_write, sizeof(struct solo5_block) },
	[SOLO5_BLOCK_READ] = { hvt_block_read, sizeof(struct solo5_block) },
	[SOLO5_NET_WRITE] = { hvt_send, sizeof(struct solo5_net) },
	[SOLO5_NET_READ] = { hvt_receive, sizeof(struct solo5_net) },
	[SOLO5_HALT] = { hvt_halt, sizeof(struct solo5_halt) },
};

static void hvt_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct hvt *hvt = dev;
	void *args;

	if (size != 4 || offset >= SOLO5_CALLS || !hvt_calls[offset].handle) {
		vm_warn(hvt->vm, "no Solo5 call: %u bytes to port 0x%llx", size,
			SOLO5_PORT + (unsigned long long)offset);
		vm_end(hvt->vm, STATUS_GUEST_SHUTDOWN);
		return;
	}
	args = hvt_memory(hvt, value, hvt_calls[offset].size);
	if (args)
		hvt_calls[offset].handle(hvt, args);
}

static void hvt_quiesce(struct vm *vm, void *dev)
{
	struct hvt *hvt = dev;
	unsigned int i;

	(void)vm;
	for (i = 0; i < SOLO5_ENTRIES_MAX; i++)
		if (hvt->disks[i])
			disk_quiesced(hvt->disks[i]);
}

static int hvt_forked(struct vm *vm, void *dev)
{
	struct hvt *hvt = dev;
	unsigned int i;
	int ret = 0;

	(void)vm;
	for (i = 0; i < SOLO5_ENTRIES_MAX && !ret; i++) {
		if (hvt->disks[i])
			ret = disk_forked(hvt->disks[i]);
		if (hvt->nets[i])
			ret = hvt_net_forked(hvt->nets[i]);
	}
	return ret;
}

static void hvt_end(struct vm *vm, void *dev)
{
	struct hvt *hvt = dev;
	unsigned int i;

	(void)vm;
	for (i = 0; i < SOLO5_ENTRIES_MAX; i++)
		if (hvt->disks[i])
			disk_end(hvt->disks[i]);
}

/* As tenders/common/mft.c of Solo5 checks it. */
static void hvt_check_manifest(const struct vm *vm, const struct solo5_manifest *manifest)
{
	uint32_t i;

	if (manifest->entries[0].type != SOLO5_ENTRY_FIRST)
		die("%s: a damaged Solo5 manifest: entry 0", vm->config.image);
	for (i = 1; i < manifest->nr_entries; i++) {
		const struct solo5_entry *entry = &manifest->entries[i];

		if (entry->name[SOLO5_NAME_SIZE - 1] || entry->attached)
			die("%s: a damaged Solo5 manifest: entry %u", vm->config.image, i);
		if (entry->type != SOLO5_ENTRY_BLOCK && entry->type != SOLO5_ENTRY_NET)
			die("%s: its manifest asks for %s, of an unknown type %u",
			    vm->config.image, entry->name, entry->type);
	}
}

/* They would become virtio devices, of which the guest knows nothing. */
static void hvt_check_options(const struct vm *vm)
{
	const struct props *drive, *netdev;

	for (drive = vm->config.drives; drive; drive = drive->next)
		if (!drive->used)
			die("-drive: the manifest of %s has no block device of that id",
			    vm->config.image);
	for (netdev = vm->config.netdevs; netdev; netdev = netdev->next)
		if (!netdev->used)
			die("-netdev: the manifest of %s has no network of that id",
			    vm->config.image);
}

struct hvt *hvt_create(struct vm *vm, const struct solo5_manifest *manifest)
{
	static const struct device_type type = {
		.name = "Solo5", .quiesce = hvt_quiesce, .forked = hvt_forked, .end = hvt_end,
	};
	static const struct io_ops ops = { NULL, hvt_write };
	struct hvt *hvt = xcalloc(1, sizeof(*hvt));
	uint32_t i;

	hvt->vm = vm;
	hvt->manifest = *manifest;
	hvt_check_manifest(vm, manifest);
	if (vm->config.nr_vcpus != 1)
		die("-smp: a Solo5 guest has one CPU");
	for (i = 1; i < manifest->nr_entries; i++) {
		if (hvt->manifest.entries[i].type == SOLO5_ENTRY_BLOCK)
			hvt_block_attach(hvt, i);
		else
			hvt_net_attach(hvt, i);
		hvt->manifest.entries[i].attached = true;
	}
	hvt_check_options(vm);
	device_add(vm, &type, hvt);
	/* An access is of 4 bytes, also at the last of the ports. */
	io_add(vm, IO_PORT, SOLO5_PORT, SOLO5_CALLS + 3, &ops, hvt);
	return hvt;
}
