// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/clone.h"
#include "disk/cow.h"
#include "disk/disk.h"
#include "log.h"
#include "option.h"
#include "props.h"
#include "sandbox.h"
#include "virtio/queue.h"
#include "vm.h"
#include "worker.h"

static void disk_option_drive(struct vm *vm, const char *arg)
{
	props_add(&vm->config.drives, "-drive", arg, NULL);
}

DECLARE_OPTION(drive, {
	.name = "drive",
	.arg = "file=F,id=ID[,...]",
	.help = "a disk: readonly=, direct=, snapshot=, discard=, aio=, clone=; docs/ukrun.md",
	.handle = disk_option_drive,
});

static void disk_open_file(struct disk *disk)
{
	int flags = (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;

	disk->fd = open(disk->path, flags | (disk->direct ? O_DIRECT : 0));
	if (disk->fd < 0 && errno == EINVAL && disk->direct)
		die("-drive file=%s: its file system has no O_DIRECT: use direct=off", disk->path);
	if (disk->fd < 0 && (errno == EROFS || errno == EACCES) && !disk->read_only)
		die("-drive file=%s: %s: readonly=on may help", disk->path, strerror(errno));
	if (disk->fd < 0)
		die_errno("-drive file=%s", disk->path);
}

static void disk_measure(struct disk *disk)
{
	struct stat stat;
	int sector = DISK_SECTOR;

	if (fstat(disk->fd, &stat))
		die_errno("-drive file=%s", disk->path);
	if (S_ISBLK(stat.st_mode)) {
		if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) ||
		    ioctl(disk->fd, BLKSSZGET, &sector))
			die_errno("-drive file=%s", disk->path);
		if (disk->keeps_clones)
			die("-drive file=%s: clone=keep: is for files, as each clone becomes one beside it",
			    disk->path);
	} else if (S_ISREG(stat.st_mode)) {
		disk->size = stat.st_size;
	} else {
		die("-drive file=%s: neither a file nor a block device", disk->path);
	}
	disk->sector = sector;
	disk->size -= disk->size % sector;
	if (!disk->size)
		die("-drive file=%s: smaller than a sector", disk->path);
}

/* Ours as long as anybody of the family has it open: the lock is that of the open file. */
static void disk_lock(const struct disk *disk)
{
	struct flock lock = {
		.l_type = disk->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET,
	};

	if (!fcntl(disk->fd, F_OFD_SETLK, &lock))
		return;
	if (errno == EAGAIN || errno == EACCES)
		die("-drive file=%s: another process uses it: a disk can be shared if all have readonly=on",
		    disk->path);
	die_errno("-drive file=%s: locking it", disk->path);
}

/* Containers and administrators forbid io_uring: it works without, one by one. */
static void disk_make_ring(struct disk *disk)
{
	int ret;

	if (!disk->wants_ring)
		return;
	ret = io_uring_queue_init(DISK_DEPTH, &disk->ring, 0);

	disk->has_ring = !ret && !io_uring_ring_dontfork(&disk->ring);
	if (!disk->has_ring)
		vm_log(disk->vm, "%s: no io_uring: %s", disk->id, strerror(-ret));
}

static void disk_allow_ring(const struct disk *disk)
{
	if (!disk->wants_ring)
		return;
	sandbox_allow(SCMP_SYS(io_uring_setup));
	sandbox_allow(SCMP_SYS(io_uring_enter));
	sandbox_allow(SCMP_SYS(io_uring_register));
}

static void disk_take_props(struct disk *disk, struct props *props, bool *temporary)
{
	bool cache_direct;
	const char *aio;

	disk->path = props_need(props, "file");
	/* StratoVirt's spelling, and QEMU's. */
	disk->read_only = props_bool(props, "readonly", false);
	disk->read_only = props_bool(props, "read-only", disk->read_only);
	cache_direct = !strcmp(props_word(props, "cache", "none writeback", "writeback"),
			       "none");
	cache_direct = props_bool(props, "cache.direct", cache_direct);
	disk->direct = props_bool(props, "direct", cache_direct);
	disk->discard = strcmp(props_word(props, "discard", "unmap on ignore off", "unmap"),
			       "ignore");
	*temporary = props_bool(props, "snapshot", false);
	disk->keeps_clones = !strcmp(props_word(props, "clone", "discard keep", "discard"),
				     "keep");
	props_word(props, "if", "none virtio", NULL);
	props_word(props, "media", "disk", NULL);
	props_word(props, "format", "raw", NULL);
	aio = props_word(props, "aio", "io_uring native threads off", "io_uring");
	disk->wants_ring = strcmp(aio, "threads") && strcmp(aio, "off");
	props_get(props, "id");
	props_finish(props);
}

struct disk *disk_open(struct vm *vm, const char *id)
{
	struct props *props = props_find(vm->config.drives, id);
	struct disk *disk = xcalloc(1, sizeof(*disk));
	bool temporary;

	if (!props)
		die("-device: drive=%s: there is no -drive with id=%s", id, id);
	if (props->used)
		die("-device: drive=%s: another device has that drive", id);
	props->used = true;
	disk->vm = vm;
	disk->id = id;
	disk->clone_fd = -1;
	disk_take_props(disk, props, &temporary);
	/* Then nothing is written to the file. */
	if (temporary && disk->read_only)
		die("-drive id=%s: snapshot=on is for disks that are written", id);
	if (disk->keeps_clones && disk->read_only)
		die("-drive id=%s: clone=keep is for disks that are written", id);
	disk->read_only |= temporary;
	disk_open_file(disk);
	disk_lock(disk);
	disk->read_only &= !temporary;
	disk_measure(disk);
	if (!disk->read_only && vm->config.reset_on_exit)
		die("--reset-on-exit: what is written to drive %s would not be taken back: use readonly=on",
		    id);
	if (!disk->read_only)
		disk->cow = cow_create(disk, temporary);
	disk_make_ring(disk);
	disk_allow_ring(disk);
	if (disk->keeps_clones)
		clone_offer(disk);
	return disk;
}

static int disk_write_zeroes(struct disk *disk, uint64_t offset, uint64_t size)
{
	static const uint8_t zeroes[65536] __attribute__((aligned(4096)));
	ssize_t ret;

	for (; size; offset += ret, size -= ret) {
		ret = pwrite(disk->fd, zeroes, size < sizeof(zeroes) ? size : sizeof(zeroes),
			     offset);
		if (ret < 0 && errno != EINTR)
			return -errno;
		ret = ret < 0 ? 0 : ret;
	}
	return 0;
}

static bool disk_fallocate(struct disk *disk, const struct disk_request *request, int mode)
{
	return !fallocate(disk->fd, mode | FALLOC_FL_KEEP_SIZE, request->offset, request->size);
}

/* Which of these works depends on the file system. */
static int disk_clear(struct disk *disk, const struct disk_request *request)
{
	int first = request->unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	int second = request->unmap ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;

	if (request->op == DISK_DISCARD) {
		if (disk_fallocate(disk, request, FALLOC_FL_PUNCH_HOLE) || errno == EOPNOTSUPP)
			return 0;
		return -errno;
	}
	if (disk_fallocate(disk, request, first) || disk_fallocate(disk, request, second))
		return 0;
	return disk_write_zeroes(disk, request->offset, request->size);
}

/* Through memory that O_DIRECT likes. */
static int disk_bounce(struct disk *disk, const struct disk_request *request)
{
	unsigned int n = request->nr_iov;
	struct iovec *iov = request->iov;
	uint64_t done = 0;
	uint8_t *buffer;
	ssize_t ret = 0;

	buffer = aligned_alloc(4096, (request->size + 4095) & ~4095ULL);
	if (!buffer)
		return -ENOMEM;
	if (request->op == DISK_WRITE)
		iov_take(&iov, &n, buffer, request->size);
	while (done < request->size) {
		if (request->op == DISK_WRITE)
			ret = pwrite(disk->fd, buffer + done, request->size - done,
				     request->offset + done);
		else
			ret = pread(disk->fd, buffer + done, request->size - done,
				    request->offset + done);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			break;
		done += ret;
	}
	if (request->op == DISK_READ && done == request->size)
		iov_put(&iov, &n, buffer, request->size);
	free(buffer);
	if (done == request->size)
		return 0;
	return ret < 0 ? -errno : -EIO;
}

int disk_sync(struct disk *disk)
{
	/* What a mapped VM has written goes with it anyway. */
	if (disk->read_only || cow_is_mapped(disk->cow))
		return 0;
	return fdatasync(disk->fd) ? -errno : 0;
}

static int disk_do(struct disk *disk, struct disk_request *request)
{
	bool mapped = disk->cow && cow_is_mapped(disk->cow);

	switch (request->op) {
	case DISK_FLUSH:
		return disk_sync(disk);
	case DISK_READ:
		if (mapped)
			return cow_read(disk->cow, request->offset, request->size, request->iov,
					request->nr_iov);
		return disk_bounce(disk, request);
	case DISK_WRITE:
		if (mapped)
			return cow_write(disk->cow, request->offset, request->size, request->iov,
					 request->nr_iov);
		return disk_bounce(disk, request);
	default:
		if (mapped)
			return cow_zero(disk->cow, request->offset, request->size);
		return disk_clear(disk, request);
	}
}

/* O_DIRECT wants memory aligned as the disk is. */
static bool disk_is_aligned(const struct disk *disk, const struct disk_request *request)
{
	unsigned int i;

	for (i = 0; i < request->nr_iov && disk->direct; i++)
		if (((uintptr_t)request->iov[i].iov_base | request->iov[i].iov_len) &
		    (disk->sector - 1))
			return false;
	return true;
}

static bool disk_can_queue(const struct disk *disk, const struct disk_request *request)
{
	if (!disk->has_ring || (disk->cow && cow_is_mapped(disk->cow)))
		return false;
	switch (request->op) {
	case DISK_FLUSH:
		return !disk->read_only;
	case DISK_READ:
	case DISK_WRITE:
		return disk_is_aligned(disk, request);
	default:
		return false;
	}
}

static void disk_queue(struct disk *disk, struct disk_request *request)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&disk->ring);

	if (!sqe) {
		io_uring_submit(&disk->ring);
		sqe = io_uring_get_sqe(&disk->ring);
	}
	if (request->op == DISK_FLUSH)
		io_uring_prep_fsync(sqe, disk->fd, IORING_FSYNC_DATASYNC);
	else if (request->op == DISK_READ)
		io_uring_prep_readv(sqe, disk->fd, request->iov, request->nr_iov, request->offset);
	else
		io_uring_prep_writev(sqe, disk->fd, request->iov, request->nr_iov,
				     request->offset);
	io_uring_sqe_set_data(sqe, request);
	disk->in_flight++;
}

void disk_submit(struct disk *disk, struct disk_request *request)
{
	bool writes = request->op != DISK_READ && request->op != DISK_FLUSH;

	request->error = 0;
	if (writes && !cow_is_mapped(disk->cow))
		request->error = cow_keep(disk->cow, request->offset, request->size);
	if (!request->error && disk_can_queue(disk, request)) {
		disk_queue(disk, request);
		return;
	}
	if (!request->error)
		request->error = disk_do(disk, request);
	request->done(request);
}

void disk_submit_end(struct disk *disk)
{
	if (disk->has_ring && io_uring_sq_ready(&disk->ring))
		io_uring_submit(&disk->ring);
}

void disk_poll(struct disk *disk, struct poll_set *set)
{
	disk_submit_end(disk);
	if (disk->in_flight)
		poll_set_add(set, disk->ring.ring_fd, POLLIN);
}

/* The kernel may do less than it was asked for: then all of it once more. */
static void disk_finish(struct disk *disk, struct disk_request *request, int result)
{
	bool moves = request->op != DISK_FLUSH;

	if (result == -EAGAIN || result == -EINTR ||
	    (moves && result >= 0 && (uint64_t)result != request->size))
		result = disk_do(disk, request);
	request->error = result < 0 ? result : 0;
	request->done(request);
}

void disk_reap(struct disk *disk)
{
	struct io_uring_cqe *cqe;
	struct disk_request *request;
	int result;

	while (disk->in_flight && !io_uring_peek_cqe(&disk->ring, &cqe)) {
		request = io_uring_cqe_get_data(cqe);
		result = cqe->res;
		io_uring_cqe_seen(&disk->ring, cqe);
		disk->in_flight--;
		disk_finish(disk, request, result);
	}
}

void disk_quiesced(struct disk *disk)
{
	if (disk->cow)
		cow_quiesced(disk->cow);
}

int disk_forked(struct disk *disk)
{
	int ret;

	/* The ring is the parent's; its memory is not here. */
	if (disk->has_ring)
		close(disk->ring.ring_fd);
	disk_make_ring(disk);
	if (!disk->cow)
		return 0;
	ret = cow_forked(disk->cow);
	if (!ret && disk->keeps_clones)
		ret = clone_open(disk);
	return ret;
}

void disk_end(struct disk *disk)
{
	if (!disk->cow)
		return;
	clone_save(disk);
	cow_end(disk->cow);
}
