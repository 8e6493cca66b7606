// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: the queues of virtio devices, and what these make of the
 * chains in them. The input is a struct input, and then guest memory from
 * address 0 on, which a hostile driver has filled.
 *
 * Guest memory lies between pages that cannot be touched, and the disk's
 * content is compared with what it may be, and what lies beside the directory of 9P
 * with what was there, so that not only crashes are found.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The handlers are static. */
#include "virtio/blk.c"
#undef QUEUE_SIZE
#include "virtio/net.c"
#include "virtio/rng.c"
#include "virtio/9p.c"
#include "virtio/console.c"
#include "virtio/balloon.c"
#include "virtio/vsock.c"
#include "9p/file.h"
#include "disk/cow.c"

#include "input.h"

#define GUEST_MEMORY	0x10000
#define DISK_SIZE	0x8000
/* So many interrupts and frames are enough for anything to happen. */
#define ROUNDS		3

#define SECRET		"nobody is to read this"

static struct vm vm;
static int disk_fd;
static uint8_t *guest;
static size_t sent;
static char outside[] = "/tmp/ukrun-fuzz.XXXXXX";

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

static int fuzz_remove(const char *path, const struct stat *stat, int type, struct FTW *at)
{
	(void)stat;
	(void)type;
	(void)at;
	return remove(path);
}

static void fuzz_remove_outside(void)
{
	nftw(outside, fuzz_remove, 16, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t *area = mmap(NULL, 3 * GUEST_MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)argc;
	(void)argv;
	guest = area + GUEST_MEMORY;
	vm.memory.fd = memfd_create("guest memory", 0);
	assert(area != MAP_FAILED && !ftruncate(vm.memory.fd, GUEST_MEMORY) &&
	       mmap(guest, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    vm.memory.fd, 0) == guest);
	vm.loop.event_fd = -1;
	vm.memory.base = guest;
	vm.memory.size = GUEST_MEMORY;
	vm.memory.low = GUEST_MEMORY;
	disk_fd = memfd_create("disk", 0);
	assert(disk_fd >= 0);
	assert(mkdtemp(outside) && !atexit(fuzz_remove_outside));
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

static void fuzz_interrupt(struct virtio *virtio)
{
	(void)virtio;
}

static const struct virtio_transport fuzz_transport = { .interrupt = fuzz_interrupt };

static void fuzz_virtio(struct virtio *virtio, const struct virtio_class *class, void *dev,
			const struct input *input)
{
	unsigned int i;

	virtio->vm = &vm;
	virtio->class = class;
	virtio->dev = dev;
	virtio->name = "fuzz";
	virtio->transport = &fuzz_transport;
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

static void fuzz_put_file(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Beside the guest's directory nothing has come, gone or changed. */
static void fuzz_check_outside(int parent)
{
	char text[sizeof(SECRET)] = "";
	int fd = openat(parent, "secret", O_RDONLY);
	DIR *dir = opendir(outside);
	unsigned int n = 0;

	assert(read(fd, text, sizeof(text)) == sizeof(SECRET) - 1 && !strcmp(text, SECRET));
	close(fd);
	while (readdir(dir))
		n++;
	closedir(dir);
	/* The two, and itself and its parent. */
	assert(n == 4);
}

/* What the guest holds is inside. */
static void fuzz_check_fids(const struct fids *fids)
{
	char inside[64], link[FILE_PATH_SIZE], path[4096];
	const struct fid *fid;
	unsigned int i;

	snprintf(inside, sizeof(inside), "%s/root", outside);
	for (i = 0; i < FID_BUCKETS; i++) {
		for (fid = fids->buckets[i]; fid; fid = fid->next) {
			file_path(fid->held, link);
			assert(readlink(link, path, sizeof(path)) > (ssize_t)strlen(inside) - 1);
			assert(!memcmp(path, inside, strlen(inside)));
		}
	}
}

static void fuzz_9p(const struct input *input)
{
	static const struct virtio_class class = {
		.name = "virtio-9p", .nr_queues = 1, .queue_size = 128, .kicked = p9_kicked,
	};
	static struct p9 p9;
	struct virtio virtio = {};
	int parent, root;

	fuzz_remove_outside();
	mkdir(outside, 0700);
	parent = open(outside, O_PATH | O_DIRECTORY);
	assert(!mkdirat(parent, "root", 0700));
	root = openat(parent, "root", O_PATH | O_DIRECTORY);
	fuzz_put_file(parent, "secret", SECRET);
	fuzz_put_file(root, "file", "text of the file");
	assert(!symlinkat("../secret", root, "link"));
	p9.virtio = &virtio;
	p9.server.root = root;
	p9.server.message_max = P9_MESSAGE_MIN;
	assert(!fid_add(&p9.server.fids, 0, dup(root)));
	assert(!fid_add(&p9.server.fids, 1, file_walk(root, "file")));
	fid_find(&p9.server.fids, 1)->open = openat(root, "file", O_RDWR);
	fuzz_virtio(&virtio, &class, &p9, input);
	fuzz_kick(&virtio);
	fuzz_check_fids(&p9.server.fids);
	fid_remove_all(&p9.server.fids);
	fuzz_check_outside(parent);
	close(root);
	close(parent);
}

static void fuzz_serial(const struct input *input)
{
	static const struct virtio_class class = {
		.name = "virtio-serial", .nr_queues = QUEUES, .queue_size = 128,
		.kicked = bus_kicked, .reset = bus_reset,
	};
	static struct console nowhere = { .kind = CONSOLE_NULL, .fd = -1 };
	static struct port ports[2];
	static struct bus bus;
	struct virtio virtio = {};
	unsigned int i;

	bus.virtio = &virtio;
	virtio.dev = &bus;
	virtio.state.status = VIRTIO_CONFIG_S_DRIVER_OK;
	class.reset(&virtio);
	for (i = 0; i < 2; i++) {
		ports[i] = (struct port){
			.bus = &bus, .nr = i, .name = i ? "port" : NULL, .is_console = !i,
			.console = &nowhere, .used = 100, .lock = PTHREAD_MUTEX_INITIALIZER,
		};
		bus.ports[i] = &ports[i];
		bus.open[i] = input->event_idx & 2;
	}
	fuzz_virtio(&virtio, &class, &bus, input);
	virtio.state.driver_features |= VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT);
	for (i = 0; i < ROUNDS; i++)
		fuzz_kick(&virtio);
	assert(bus.nr_pending <= PENDING_MAX && ports[0].used <= 100 && ports[1].used <= 100);
}

static void fuzz_balloon(const struct input *input)
{
	static const struct virtio_class class = {
		.name = "virtio-balloon", .nr_queues = 3, .queue_size = 128,
		.kicked = balloon_kicked,
	};
	static struct balloon balloon;
	struct virtio virtio = {};

	balloon.virtio = &virtio;
	fuzz_virtio(&virtio, &class, &balloon, input);
	virtio.state.driver_features |= VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING);
	fuzz_kick(&virtio);
	/* All holes lie in memory, and none is left over for another driver. */
	assert(!balloon.warned && !balloon.end);
}

static void fuzz_events_kicked(struct virtio *virtio, struct queue *queue)
{
	vsock_tell_reset(virtio->dev, queue);
}

/* The queue of events: the others are served by the host's kernel. */
static void fuzz_vsock(const struct input *input)
{
	static const struct virtio_class class = {
		.name = "vhost-vsock", .nr_queues = 1, .queue_size = 128,
		.kicked = fuzz_events_kicked,
	};
	static struct vsock vsock;
	struct virtio virtio = {};
	unsigned int i;

	vsock.virtio = &virtio;
	fuzz_virtio(&virtio, &class, &vsock, input);
	for (i = 0; i < ROUNDS; i++) {
		vsock.must_reset = true;
		fuzz_kick(&virtio);
	}
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
	else if (target == TARGET_9P)
		fuzz_9p(&input);
	else if (target == TARGET_SERIAL)
		fuzz_serial(&input);
	else if (target == TARGET_BALLOON)
		fuzz_balloon(&input);
	else if (target == TARGET_VSOCK)
		fuzz_vsock(&input);
	else
		fuzz_blk(&input, target);
	return 0;
}
