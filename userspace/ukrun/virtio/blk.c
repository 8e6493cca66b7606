// SPDX-License-Identifier: GPL-2.0-only
/* virtio-blk: the guest's requests become those of a disk (disk/disk.h). */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "disk/disk.h"
#include "log.h"
#include "props.h"
#include "virtio/virtio.h"

#define QUEUE_SIZE	128
/* One request may move so much, be discarded in so many sectors: QEMU's too. */
#define SIZE_LIMIT	(64U << 20)
#define DISCARD_MAX	(1U << 22)

struct blk_request {
	struct disk_request io;
	struct blk *blk;
	struct chain chain;
	uint8_t *status;
	struct blk_request *next;
};

struct blk {
	struct virtio *virtio;
	struct disk *disk;
	char serial[VIRTIO_BLK_ID_BYTES];
	struct virtio_blk_config config;
	struct blk_request *free;
	struct blk_request requests[QUEUE_SIZE];
};

static void blk_answer(struct blk_request *request, uint8_t status, uint32_t written)
{
	struct blk *blk = request->blk;
	struct queue *queue = &blk->virtio->queues[0];

	*request->status = status;
	/* The status is the last byte: all before it counts as written, or none. */
	queue_push(queue, request->chain.head, written + 1);
	request->next = blk->free;
	blk->free = request;
}

static void blk_done(struct disk_request *io)
{
	struct blk_request *request = (void *)io;

	blk_answer(request, io->error ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK,
		   !io->error && io->op == DISK_READ ? io->size : 0);
}

static bool blk_in_range(const struct blk *blk, uint64_t sector, uint64_t size)
{
	uint64_t sectors = blk->disk->size / DISK_SECTOR;

	return !(size % DISK_SECTOR) && sector <= sectors &&
	       size / DISK_SECTOR <= sectors - sector;
}

static void blk_move(struct blk_request *request, enum disk_op op, uint64_t sector,
		     struct iovec *iov, unsigned int n, size_t size)
{
	struct disk *disk = request->blk->disk;

	if (!size || size > SIZE_LIMIT || !blk_in_range(request->blk, sector, size) ||
	    (op == DISK_WRITE && disk->read_only)) {
		blk_answer(request, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	request->io.op = op;
	request->io.offset = sector * DISK_SECTOR;
	request->io.size = size;
	request->io.iov = iov;
	request->io.nr_iov = n;
	disk_submit(disk, &request->io);
}

static void blk_flush(struct blk_request *request)
{
	request->io.op = DISK_FLUSH;
	disk_submit(request->blk->disk, &request->io);
}

/* One range, as the configuration says. */
static void blk_clear(struct blk_request *request, uint32_t type, struct iovec *iov,
		      unsigned int n, size_t size)
{
	struct virtio_blk_discard_write_zeroes range;
	bool zero = type == VIRTIO_BLK_T_WRITE_ZEROES;
	uint32_t known = zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	struct blk *blk = request->blk;

	if (blk->disk->read_only || size != sizeof(range) ||
	    iov_take(&iov, &n, &range, sizeof(range)) != sizeof(range)) {
		blk_answer(request, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	if (range.flags & ~known) {
		blk_answer(request, VIRTIO_BLK_S_UNSUPP, 0);
		return;
	}
	if (!range.num_sectors || range.num_sectors > DISCARD_MAX ||
	    !blk_in_range(blk, range.sector, (uint64_t)range.num_sectors * DISK_SECTOR)) {
		blk_answer(request, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	request->io.op = zero ? DISK_ZERO : DISK_DISCARD;
	request->io.unmap = blk->disk->discard && range.flags;
	request->io.offset = range.sector * DISK_SECTOR;
	request->io.size = (uint64_t)range.num_sectors * DISK_SECTOR;
	if (!zero && !blk->disk->discard)
		blk_answer(request, VIRTIO_BLK_S_OK, 0);
	else
		disk_submit(blk->disk, &request->io);
}

static void blk_identify(struct blk_request *request, struct iovec *iov, unsigned int n)
{
	const struct blk *blk = request->blk;

	blk_answer(request, VIRTIO_BLK_S_OK,
		   iov_put(&iov, &n, blk->serial, sizeof(blk->serial)));
}

/* The last byte that the device may write. */
static uint8_t *blk_status(struct chain *chain)
{
	struct iovec *last = &chain->iov[chain->nr_out + chain->nr_in - 1];

	if (!--last->iov_len)
		chain->nr_in--;
	chain->in_size--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static void blk_request(struct blk *blk, struct blk_request *request)
{
	struct chain *chain = &request->chain;
	struct virtio_blk_outhdr header;
	unsigned int nr_out = chain->nr_out;
	struct iovec *out = chain->iov, *in = &chain->iov[chain->nr_out];

	if (!chain->nr_in || iov_take(&out, &nr_out, &header, sizeof(header)) != sizeof(header)) {
		virtio_break(blk->virtio, "a request without header or room for its status");
		return;
	}
	request->status = blk_status(chain);
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		blk_move(request, DISK_READ, header.sector, in, chain->nr_in, chain->in_size);
		break;
	case VIRTIO_BLK_T_OUT:
		blk_move(request, DISK_WRITE, header.sector, out, nr_out,
			 chain->out_size - sizeof(header));
		break;
	case VIRTIO_BLK_T_FLUSH:
		blk_flush(request);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		blk_clear(request, header.type, out, nr_out, chain->out_size - sizeof(header));
		break;
	case VIRTIO_BLK_T_GET_ID:
		blk_identify(request, in, chain->nr_in);
		break;
	default:
		blk_answer(request, VIRTIO_BLK_S_UNSUPP, 0);
	}
}

static void blk_kicked(struct virtio *virtio, struct queue *queue)
{
	struct blk *blk = virtio->dev;
	struct blk_request *request;

	/* Without a free request the rest waits until one is done. */
	while (!virtio->broken && (request = blk->free) && queue_pop(queue, &request->chain)) {
		blk->free = request->next;
		blk_request(blk, request);
	}
	disk_submit_end(blk->disk);
	virtio_tell(virtio, queue);
}

static void blk_poll(struct virtio *virtio, struct poll_set *set)
{
	struct blk *blk = virtio->dev;

	disk_poll(blk->disk, set);
}

static void blk_polled(struct virtio *virtio, const struct poll_set *set)
{
	struct blk *blk = virtio->dev;
	bool full = !blk->free;

	(void)set;
	disk_reap(blk->disk);
	virtio_tell(virtio, &virtio->queues[0]);
	if (full && blk->free && !virtio->broken) {
		blk_kicked(virtio, &virtio->queues[0]);
		if (virtio->queues[0].error)
			virtio_break(virtio, virtio->queues[0].error);
	}
}

static bool blk_busy(struct virtio *virtio)
{
	const struct blk *blk = virtio->dev;

	return blk->disk->in_flight;
}

/* Nothing is at work: also what a broken device has kept is free. */
static void blk_start(struct virtio *virtio)
{
	struct blk *blk = virtio->dev;
	unsigned int i;

	blk->free = NULL;
	for (i = 0; i < QUEUE_SIZE; i++) {
		blk->requests[i].blk = blk;
		blk->requests[i].io.done = blk_done;
		blk->requests[i].next = blk->free;
		blk->free = &blk->requests[i];
	}
}

static void blk_quiesced(struct virtio *virtio)
{
	struct blk *blk = virtio->dev;

	disk_quiesced(blk->disk);
}

static int blk_forked(struct virtio *virtio)
{
	struct blk *blk = virtio->dev;

	return disk_forked(blk->disk);
}

static void blk_end(struct virtio *virtio)
{
	struct blk *blk = virtio->dev;

	disk_end(blk->disk);
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.features = VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
		    VIRTIO_BIT(VIRTIO_BLK_F_FLUSH),
	.nr_queues = 1,
	.queue_size = QUEUE_SIZE,
	.start = blk_start,
	.kicked = blk_kicked,
	.poll = blk_poll,
	.polled = blk_polled,
	.busy = blk_busy,
	.quiesced = blk_quiesced,
	.forked = blk_forked,
	.end = blk_end,
};

static void blk_create(struct vm *vm, struct props *props)
{
	struct blk *blk = xcalloc(1, sizeof(*blk));
	uint64_t features = VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	const char *serial;

	blk->disk = disk_open(vm, props_need(props, "drive"));
	serial = props_get(props, "serial") ?: blk->disk->id;
	if (strlen(serial) > sizeof(blk->serial))
		die("-device: serial=%s: more than %zu characters", serial, sizeof(blk->serial));
	memcpy(blk->serial, serial, strlen(serial));
	props_get(props, "id");
	/* StratoVirt's and QEMU's: we choose ourselves. */
	props_get(props, "bootindex");
	if (blk->disk->read_only)
		features = VIRTIO_BIT(VIRTIO_BLK_F_RO);
	blk->config.capacity = blk->disk->size / DISK_SECTOR;
	/* Of a chain, one is the header and one the status. */
	blk->config.seg_max = QUEUE_SIZE - 2;
	blk->config.blk_size = blk->disk->sector;
	blk->config.max_discard_sectors = DISCARD_MAX;
	blk->config.max_discard_seg = 1;
	blk->config.discard_sector_alignment = blk->disk->sector / DISK_SECTOR;
	blk->config.max_write_zeroes_sectors = DISCARD_MAX;
	blk->config.max_write_zeroes_seg = 1;
	blk->config.write_zeroes_may_unmap = 1;
	blk->virtio = virtio_create(vm, &blk_class, blk, blk->disk->id, features, &blk->config,
				    sizeof(blk->config));
	blk_start(blk->virtio);
}

/* A -drive that no -device has named gets one of its own. */
static void blk_setup(struct vm *vm)
{
	struct props *drive, *props;
	const struct prop *prop;
	const char *id;
	char *text;

	for (drive = vm->config.drives; drive; drive = drive->next) {
		if (drive->used)
			continue;
		id = NULL;
		for (prop = drive->list; prop; prop = prop->next) {
			if (!strcmp(prop->key, "id"))
				id = prop->value;
			if (!strcmp(prop->key, "if") && !strcmp(prop->value, "none"))
				die("-drive: if=none, and no -device has drive=%s", id ?: "");
		}
		if (!id)
			die("-drive: needs id=");
		text = xasprintf("drive=%s", id);
		props = NULL;
		blk_create(vm, props_add(&props, "-drive", text, NULL));
	}
}

DECLARE_DEVICE(blk, {
	.name = "virtio-blk",
	.model = "virtio-blk-device",
	.create = blk_create,
	.setup = blk_setup,
});
