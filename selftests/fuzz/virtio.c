// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: the queues of virtio devices, and what these make of the
 * chains in them. The input is a struct input, and then guest memory from
 * address 0 on, which a hostile driver has filled.
 *
 * Guest memory lies between pages that cannot be touched, and the disk's
 * content is compared with what it may be, so that not only crashes are found.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The handlers are static. */
#include "virtio/blk.c"
#undef QUEUE_SIZE
#include "virtio/net.c"
#include "virtio/rng.c"
#include "disk/cow.c"

#include "input.h"

#define GUEST_MEMORY	0x10000
#define DISK_SIZE	0x8000
/* So many interrupts and frames are enough for anything to happen. */
#define ROUNDS		3

static struct vm vm;
static int disk_fd;
static uint8_t *guest;
static size_t sent;

static void fuzz_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	const volatile uint8_t *at;
	size_t i;

	(void)netdev;
	for (; n; n--, iov++)
		for (at = iov->iov_base, i = 0; i < iov->iov_len; i++)
			sent += at[i];
}

static const struct netdev_type fuzz_netdev = { .name = "fuzz", .send = fuzz_send };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t *area = mmap(NULL, 3 * GUEST_MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)argc;
	(void)argv;
	guest = area + GUEST_MEMORY;
	assert(area != MAP_FAILED && !mprotect(guest, GUEST_MEMORY, PROT_READ | PROT_WRITE));
	vm.memory.base = guest;
	vm.memory.size = GUEST_MEMORY;
	vm.memory.low = GUEST_MEMORY;
	disk_fd = memfd_create("disk", 0);
	assert(disk_fd >= 0);
	return 0;
}

static void fuzz_queue(struct virtio *virtio, struct queue *queue, const struct input *input)
{
	queue->vm = &vm;
	queue->kick_fd = -1;
	queue->size_max = virtio->class->queue_size;
	queue->state = (struct queue_state){
		.desc = input->desc, .avail = input->avail, .used = input->used,
		.size = 1 << (input->size_log % 10), .ready = true,
		.next_avail = input->next_avail, .next_used = input->next_avail,
	};
}

static void fuzz_virtio(struct virtio *virtio, const struct virtio_class *class, void *dev,
			const struct input *input)
{
	unsigned int i;

	virtio->vm = &vm;
	virtio->class = class;
	virtio->dev = dev;
	virtio->name = "fuzz";
	virtio->irq_fd = -1;
	virtio->state.driver_features = VIRTIO_BIT(VIRTIO_F_VERSION_1);
	for (i = 0; i < class->nr_queues; i++)
		fuzz_queue(virtio, &virtio->queues[i], input);
	if (class->start)
		class->start(virtio);
	for (i = 0; i < class->nr_queues; i++)
		if (!queue_start(&virtio->queues[i], input->event_idx & 1))
			virtio_break(virtio, virtio->queues[i].error);
}

static void fuzz_kick(struct virtio *virtio)
{
	unsigned int i;

	for (i = 0; i < virtio->class->nr_queues && !virtio->broken; i++) {
		virtio->class->kicked(virtio, &virtio->queues[i]);
		if (virtio->queues[i].error)
			virtio_break(virtio, virtio->queues[i].error);
	}
}

/* A child of the time before; what it sees does not change. */
static void fuzz_check_child(struct cow *owner, struct snapshot *origin, int alive)
{
	struct cow child = *owner;
	uint8_t content[DISK_SIZE];
	struct iovec iov = { content, sizeof(content) };
	size_t i;

	child.origin = origin;
	assert(cow_become_mapped(&child));
	assert(!cow_read(&child, 0, DISK_SIZE, &iov, 1));
	for (i = 0; i < sizeof(content); i++)
		assert(content[i] == 0xa5);
	munmap(child.map, child.nr_blocks * sizeof(*child.map));
	munmap(child.owned, child.nr_blocks / 8 + 1);
	/* It was the only one. */
	close(alive);
	cow_drop(owner);
	assert(!owner->older);
}

static void fuzz_blk(const struct input *input, enum target target)
{
	static struct disk disk = { .vm = &vm, .id = "fuzz", .size = DISK_SIZE, .sector = 512 };
	static uint8_t before[DISK_SIZE], after[DISK_SIZE];
	static struct cow *owner, *mapped;
	static struct blk blk;
	struct snapshot *origin = NULL;
	struct virtio virtio = {};
	int alive = -1;

	memset(before, 0xa5, sizeof(before));
	assert(pwrite(disk_fd, before, sizeof(before), 0) == sizeof(before));
	disk.fd = disk_fd;
	disk.discard = input->event_idx & 2;
	disk.read_only = target == TARGET_BLK_READ_ONLY;
	if (!owner) {
		owner = cow_create(&disk, false);
		mapped = cow_create(&disk, true);
	}
	disk.cow = target == TARGET_BLK_FORKED ? mapped : owner;
	*disk.cow->next_slot = SLOT_FIRST;
	if (target == TARGET_BLK_KEEPS) {
		cow_quiesced(owner);
		origin = owner->latest;
		alive = dup(origin->alive[1]);
	}
	memset(&blk, 0, sizeof(blk));
	blk.disk = &disk;
	blk.virtio = &virtio;
	fuzz_virtio(&virtio, &blk_class, &blk, input);
	fuzz_kick(&virtio);
	fuzz_kick(&virtio);
	assert(pread(disk_fd, after, sizeof(after), 0) == sizeof(after));
	if (target == TARGET_BLK_READ_ONLY || target == TARGET_BLK_FORKED)
		assert(!memcmp(before, after, sizeof(before)));
	if (target == TARGET_BLK_KEEPS)
		fuzz_check_child(owner, origin, alive);
	/* Nothing is left over for the next input. */
	if (target == TARGET_BLK_FORKED)
		assert(!cow_zero(mapped, 0, DISK_SIZE));
	if (target == TARGET_BLK_FORKED)
		memset(mapped->map, 0, mapped->nr_blocks * sizeof(*mapped->map));
}

static void fuzz_net(const struct input *input)
{
	static struct net net;
	struct netdev netdev = { .vm = &vm, .type = &fuzz_netdev, .id = "fuzz" };
	struct virtio virtio = {};
	uint8_t frame[1526] = {};
	unsigned int i;

	memset(&net, 0, sizeof(net));
	net.virtio = &virtio;
	net.netdev = &netdev;
	net.link = true;
	fuzz_virtio(&virtio, &net_class, &net, input);
	for (i = 0; i < ROUNDS; i++) {
		fuzz_kick(&virtio);
		if (net_can_receive(&net))
			net_receive(&net, frame, i ? sizeof(frame) : 60);
	}
}

static void fuzz_rng(const struct input *input)
{
	static const struct virtio_class class = {
		.name = "virtio-rng", .nr_queues = 1, .queue_size = 8, .kicked = rng_kicked,
	};
	struct virtio virtio = {};
	struct chain chain;

	fuzz_virtio(&virtio, &class, &chain, input);
	fuzz_kick(&virtio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input;
	enum target target;

	if (size < sizeof(input) || size - sizeof(input) > GUEST_MEMORY)
		return -1;
	memcpy(&input, data, sizeof(input));
	memset(guest, 0, GUEST_MEMORY);
	memcpy(guest, data + sizeof(input), size - sizeof(input));
	target = input.target % NR_TARGETS;
	if (target == TARGET_NET)
		fuzz_net(&input);
	else if (target == TARGET_RNG)
		fuzz_rng(&input);
	else
		fuzz_blk(&input, target);
	return 0;
}
