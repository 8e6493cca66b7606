// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/cow.h"
#include "disk/disk.h"
#include "log.h"
#include "virtio/queue.h"
#include "vm.h"

#define BLOCK		4096ULL
/* So many at a time. */
#define BATCH		64

/* Where a block is: a slot of the store, or one of these. */
#define SLOT_NONE	0	/* where it has always been */
#define SLOT_ZERO	1	/* it is all zeroes */
#define SLOT_FIRST	2

/* The disk as it was at some time, for those which were forked then. */
struct snapshot {
	_Atomic uint32_t *kept;		/* by block; shared with the children */
	/* The writing end is the children's: when it has gone, nobody needs us. */
	int alive[2];
	struct snapshot *next;
};

struct cow {
	struct disk *disk;
	uint64_t nr_blocks;
	int store_fd;
	_Atomic uint32_t *next_slot;	/* of the store; shared by the family */
	uint8_t *batch;			/* BATCH blocks, aligned for O_DIRECT */

	/* Unless mapped. */
	struct snapshot *latest;	/* nothing was written since it was made */
	struct snapshot *older;
	int error;			/* why there is no @latest */

	bool mapped;
	uint32_t *map;
	uint8_t *owned;			/* bits: slots that nobody else has */
	bool owns_any;
	struct snapshot *origin;
};

static void *cow_array(uint64_t size, int flags)
{
	void *array = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return array == MAP_FAILED ? NULL : array;
}

/* Not every file system knows O_TMPFILE. */
static int cow_open_nameless(const char *dir)
{
	char path[4096];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || snprintf(path, sizeof(path), "%s/ukrun.XXXXXX", dir) >= (int)sizeof(path))
		return fd;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* On a disk, not in memory, where there is a choice. */
static int cow_open_store(void)
{
	int fd = cow_open_nameless(getenv("TMPDIR") ?: "/var/tmp");

	return fd < 0 ? cow_open_nameless("/tmp") : fd;
}

static bool cow_become_mapped(struct cow *cow)
{
	cow->map = cow_array(cow->nr_blocks * sizeof(*cow->map), MAP_PRIVATE);
	cow->owned = cow_array(cow->nr_blocks / 8 + 1, MAP_PRIVATE);
	cow->mapped = true;
	return cow->map && cow->owned;
}

struct cow *cow_create(struct disk *disk, bool temporary)
{
	struct cow *cow = xcalloc(1, sizeof(*cow));

	cow->disk = disk;
	cow->nr_blocks = (disk->size + BLOCK - 1) / BLOCK;
	if (cow->nr_blocks > UINT32_MAX - SLOT_FIRST)
		die("-drive id=%s: more than 16 TiB, which ukrun cannot fork: use readonly=on",
		    disk->id);
	cow->store_fd = cow_open_store();
	if (cow->store_fd < 0)
		die_errno("-drive id=%s: a temporary file, in TMPDIR, /var/tmp or /tmp", disk->id);
	cow->next_slot = cow_array(sizeof(*cow->next_slot), MAP_SHARED);
	cow->batch = aligned_alloc(BLOCK, BATCH * BLOCK);
	if (!cow->next_slot || !cow->batch || (temporary && !cow_become_mapped(cow)))
		die("-drive id=%s: out of memory on the host", disk->id);
	*cow->next_slot = SLOT_FIRST;
	return cow;
}

bool cow_is_mapped(const struct cow *cow)
{
	return cow->mapped;
}

static int cow_pread(int fd, void *to, uint64_t size, uint64_t offset)
{
	uint64_t done = 0;
	ssize_t n;

	while (done < size) {
		n = pread(fd, (uint8_t *)to + done, size - done, offset + done);
		if (n < 0 && errno != EINTR)
			return -errno;
		/* The last block of a file may be short of one. */
		if (!n)
			break;
		if (n > 0)
			done += n;
	}
	memset((uint8_t *)to + done, 0, size - done);
	return 0;
}

static int cow_pwrite(int fd, const void *from, uint64_t size, uint64_t offset)
{
	uint64_t done = 0;
	ssize_t n;

	while (done < size) {
		n = pwrite(fd, (const uint8_t *)from + done, size - done, offset + done);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += n;
	}
	return 0;
}

/* The first of @n slots in a row. 0: the store is full. */
static uint32_t cow_new_slots(struct cow *cow, uint32_t n)
{
	uint32_t first = *cow->next_slot;

	do {
		if (n > UINT32_MAX - first)
			return 0;
	} while (!atomic_compare_exchange_weak(cow->next_slot, &first, first + n));
	return first;
}

static struct snapshot *snapshot_create(const struct cow *cow)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	snapshot->kept = cow_array(cow->nr_blocks * sizeof(*snapshot->kept), MAP_SHARED);
	if (snapshot->kept && !pipe2(snapshot->alive, O_CLOEXEC))
		return snapshot;
	if (snapshot->kept)
		munmap((void *)snapshot->kept, cow->nr_blocks * sizeof(*snapshot->kept));
	free(snapshot);
	return NULL;
}

static void snapshot_free(const struct cow *cow, struct snapshot *snapshot)
{
	close(snapshot->alive[0]);
	munmap((void *)snapshot->kept, cow->nr_blocks * sizeof(*snapshot->kept));
	free(snapshot);
}

/* From now on the disk is another one than the latest children were forked with. */
static void cow_seal(struct cow *cow)
{
	if (!cow->latest)
		return;
	close(cow->latest->alive[1]);
	cow->latest->next = cow->older;
	cow->older = cow->latest;
	cow->latest = NULL;
}

/* Forget those whose children have all gone. */
static void cow_drop(struct cow *cow)
{
	struct snapshot **at = &cow->older, *snapshot;
	struct pollfd pollfd;

	while ((snapshot = *at)) {
		pollfd = (struct pollfd){ .fd = snapshot->alive[0] };
		if (poll(&pollfd, 1, 0) > 0 && pollfd.revents & POLLHUP) {
			*at = snapshot->next;
			snapshot_free(cow, snapshot);
		} else {
			at = &snapshot->next;
		}
	}
}

static bool cow_must_keep(const struct cow *cow, uint64_t block)
{
	const struct snapshot *snapshot;

	for (snapshot = cow->older; snapshot; snapshot = snapshot->next)
		if (snapshot->kept[block] == SLOT_NONE)
			return true;
	return false;
}

static int cow_keep_blocks(struct cow *cow, uint64_t block, uint32_t n)
{
	struct snapshot *snapshot;
	uint32_t slot, i;
	int ret;

	ret = cow_pread(cow->disk->fd, cow->batch, n * BLOCK, block * BLOCK);
	if (ret)
		return ret;
	slot = cow_new_slots(cow, n);
	if (!slot)
		return -ENOSPC;
	ret = cow_pwrite(cow->store_fd, cow->batch, n * BLOCK, slot * BLOCK);
	if (ret)
		return ret;
	/* Children look again after they have read: see cow_read_base(). */
	for (snapshot = cow->older; snapshot; snapshot = snapshot->next)
		for (i = 0; i < n; i++)
			if (snapshot->kept[block + i] == SLOT_NONE)
				snapshot->kept[block + i] = slot + i;
	return 0;
}

int cow_keep(struct cow *cow, uint64_t offset, uint64_t size)
{
	uint64_t block = offset / BLOCK, end = (offset + size + BLOCK - 1) / BLOCK;
	bool dropped = false;
	uint32_t n;
	int ret;

	cow_seal(cow);
	while (block < end) {
		for (n = 0; n < BATCH && block + n < end && cow_must_keep(cow, block + n); n++)
			;
		/* Not for each write: it costs a call for each snapshot. */
		if (n && !dropped) {
			cow_drop(cow);
			dropped = true;
			continue;
		}
		ret = n ? cow_keep_blocks(cow, block, n) : 0;
		if (ret) {
			vm_warn(cow->disk->vm, "%s: keeping what children see: %s", cow->disk->id,
				strerror(-ret));
			return ret;
		}
		block += n ?: 1;
	}
	return 0;
}

/* The parent may write what we read: then it has kept it before. */
static int cow_read_base(struct cow *cow, uint64_t block, uint32_t n, uint8_t *to)
{
	int ret = cow_pread(cow->disk->fd, to, n * BLOCK, block * BLOCK);
	uint32_t slot, i;

	atomic_thread_fence(memory_order_seq_cst);
	for (i = 0; i < n && !ret && cow->origin; i++) {
		slot = cow->origin->kept[block + i];
		if (slot != SLOT_NONE)
			ret = cow_pread(cow->store_fd, to + i * BLOCK, BLOCK, slot * BLOCK);
	}
	return ret;
}

static uint32_t cow_find(const struct cow *cow, uint64_t block)
{
	if (cow->map[block] != SLOT_NONE || !cow->origin)
		return cow->map[block];
	return cow->origin->kept[block];
}

static int cow_read_blocks(struct cow *cow, uint64_t block, uint32_t n, uint8_t *to)
{
	uint32_t slot, run;
	int ret = 0;

	for (; n && !ret; block += run, n -= run, to += run * BLOCK) {
		slot = cow_find(cow, block);
		for (run = 1; run < n; run++)
			if (cow_find(cow, block + run) !=
			    (slot < SLOT_FIRST ? slot : slot + run))
				break;
		if (slot == SLOT_NONE)
			ret = cow_read_base(cow, block, run, to);
		else if (slot == SLOT_ZERO)
			memset(to, 0, run * BLOCK);
		else
			ret = cow_pread(cow->store_fd, to, run * BLOCK, slot * BLOCK);
	}
	return ret;
}

int cow_read(struct cow *cow, uint64_t offset, uint64_t size, struct iovec *iov, unsigned int n)
{
	uint64_t block, skip, part;
	uint32_t blocks;
	int ret;

	for (; size; offset += part, size -= part) {
		block = offset / BLOCK;
		skip = offset % BLOCK;
		part = size < BATCH * BLOCK - skip ? size : BATCH * BLOCK - skip;
		blocks = (skip + part + BLOCK - 1) / BLOCK;
		ret = cow_read_blocks(cow, block, blocks, cow->batch);
		if (ret)
			return ret;
		iov_put(&iov, &n, cow->batch + skip, part);
	}
	return 0;
}

static bool cow_is_owned(const struct cow *cow, uint64_t block)
{
	return cow->owned[block / 8] >> (block % 8) & 1;
}

static void cow_set_owned(struct cow *cow, uint64_t block, bool owned)
{
	if (owned)
		cow->owned[block / 8] |= 1 << (block % 8);
	else
		cow->owned[block / 8] &= ~(1 << (block % 8));
	cow->owns_any |= owned;
}

static int cow_write_blocks(struct cow *cow, uint64_t block, uint32_t n, const uint8_t *from)
{
	uint32_t slot, run, i;
	bool owned;
	int ret;

	for (; n; block += run, n -= run, from += run * BLOCK) {
		owned = cow_is_owned(cow, block);
		slot = cow->map[block];
		for (run = 1; run < n; run++)
			if (cow_is_owned(cow, block + run) != owned ||
			    (owned && cow->map[block + run] != slot + run))
				break;
		if (!owned)
			slot = cow_new_slots(cow, run);
		if (!slot)
			return -ENOSPC;
		ret = cow_pwrite(cow->store_fd, from, run * BLOCK, slot * BLOCK);
		if (ret)
			return ret;
		for (i = 0; i < run; i++) {
			cow->map[block + i] = slot + i;
			cow_set_owned(cow, block + i, true);
		}
	}
	return 0;
}

/* Null @iov writes zeroes. */
static int __cow_write(struct cow *cow, uint64_t offset, uint64_t size, struct iovec *iov,
		       unsigned int n)
{
	uint64_t block, skip, part;
	uint32_t blocks;
	int ret = 0;

	for (; size && !ret; offset += part, size -= part) {
		block = offset / BLOCK;
		skip = offset % BLOCK;
		part = size < BATCH * BLOCK - skip ? size : BATCH * BLOCK - skip;
		blocks = (skip + part + BLOCK - 1) / BLOCK;
		/* What is around it in the first and in the last block. */
		if (skip)
			ret = cow_read_blocks(cow, block, 1, cow->batch);
		if (!ret && (skip + part) % BLOCK)
			ret = cow_read_blocks(cow, block + blocks - 1, 1,
					      cow->batch + (blocks - 1) * BLOCK);
		if (ret)
			break;
		if (iov)
			iov_take(&iov, &n, cow->batch + skip, part);
		else
			memset(cow->batch + skip, 0, part);
		ret = cow_write_blocks(cow, block, blocks, cow->batch);
	}
	if (ret)
		vm_warn(cow->disk->vm, "%s: writing to the temporary file: %s", cow->disk->id,
			strerror(-ret));
	return ret;
}

int cow_write(struct cow *cow, uint64_t offset, uint64_t size, struct iovec *iov, unsigned int n)
{
	return __cow_write(cow, offset, size, iov, n);
}

/* Give back the room of @n slots. */
static void cow_punch(const struct cow *cow, uint32_t slot, uint32_t n)
{
	if (fallocate(cow->store_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, slot * BLOCK,
		      n * BLOCK))
		vm_log(cow->disk->vm, "%s: the temporary file cannot shrink: %s", cow->disk->id,
		       strerror(errno));
}

int cow_zero(struct cow *cow, uint64_t offset, uint64_t size)
{
	uint64_t first = (offset + BLOCK - 1) / BLOCK, end = (offset + size) / BLOCK, block;
	int ret;

	if (first >= end)
		return __cow_write(cow, offset, size, NULL, 0);
	ret = __cow_write(cow, offset, first * BLOCK - offset, NULL, 0);
	if (!ret)
		ret = __cow_write(cow, end * BLOCK, offset + size - end * BLOCK, NULL, 0);
	for (block = first; block < end && !ret; block++) {
		if (cow_is_owned(cow, block))
			cow_punch(cow, cow->map[block], 1);
		cow->map[block] = SLOT_ZERO;
		cow_set_owned(cow, block, false);
	}
	return ret;
}

void cow_quiesced(struct cow *cow)
{
	if (cow->mapped) {
		/* Whoever else has the map now: neither may write to these slots. */
		if (cow->owns_any)
			madvise(cow->owned, cow->nr_blocks / 8 + 1, MADV_DONTNEED);
		cow->owns_any = false;
		return;
	}
	if (!cow->latest) {
		cow->latest = snapshot_create(cow);
		cow->error = cow->latest ? 0 : errno;
	}
}

int cow_forked(struct cow *cow)
{
	struct snapshot *snapshot;

	if (cow->mapped)
		return 0;
	if (!cow->latest)
		return -cow->error;
	cow->origin = cow->latest;
	cow->latest = NULL;
	close(cow->origin->alive[0]);
	/* The parent's business with elder children. */
	while ((snapshot = cow->older)) {
		cow->older = snapshot->next;
		snapshot_free(cow, snapshot);
	}
	return cow_become_mapped(cow) ? 0 : -ENOMEM;
}

/* Room that nobody else can want. What a killed VM leaves goes with its family. */
void cow_end(struct cow *cow)
{
	uint64_t block = 0, given = 0;
	uint32_t run;

	if (!cow->mapped || !cow->owns_any)
		return;
	for (; block < cow->nr_blocks; block += run) {
		run = 1;
		if (!cow_is_owned(cow, block))
			continue;
		while (block + run < cow->nr_blocks && cow_is_owned(cow, block + run) &&
		       cow->map[block + run] == cow->map[block] + run)
			run++;
		cow_punch(cow, cow->map[block], run);
		given += run;
	}
	cow->owns_any = false;
	vm_log(cow->disk->vm, "%s: %llu blocks of the temporary file given back", cow->disk->id,
	       (unsigned long long)given);
}
