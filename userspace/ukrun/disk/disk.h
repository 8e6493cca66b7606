/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk of the guest: a file or block device of the host, -drive. Used by one
 * thread, that of the device in front of it.
 */
#ifndef UKRUN_DISK_H
#define UKRUN_DISK_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct cow;
struct disk;
struct poll_set;
struct vm;

#define DISK_SECTOR	512
/* Requests at work at once. */
#define DISK_DEPTH	128

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,
	DISK_DISCARD,	/* what is read there later may be anything that was */
	DISK_ZERO,	/* with @unmap preferably without taking room */
};

struct disk_request {
	enum disk_op op;
	bool unmap;
	uint64_t offset, size;
	struct iovec *iov;	/* of @size bytes, for reading and writing */
	unsigned int nr_iov;
	int error;		/* 0 or a negative errno */
	/* Called once, maybe before disk_submit() returns. */
	void (*done)(struct disk_request *request);
};

struct disk {
	struct vm *vm;
	const char *id, *path;
	int fd;
	uint64_t size;
	unsigned int sector;	/* of the host's: what O_DIRECT is aligned to */
	bool read_only, direct, discard;
	struct cow *cow;	/* null when read-only */
	bool keeps_clones;	/* clone.h */
	unsigned int clone_offer;
	int clone_fd;		/* a child's, or -1 */
	bool wants_ring, has_ring;
	struct io_uring ring;
	unsigned int in_flight;
};

/* That of -drive id=@id, which must be nobody else's. Dies when it is no good. */
struct disk *disk_open(struct vm *vm, const char *id);

/*
 * A request that lies within the disk. No more than DISK_DEPTH are at work;
 * they go to the host with disk_submit_end().
 */
void disk_submit(struct disk *disk, struct disk_request *request);
void disk_submit_end(struct disk *disk);
void disk_poll(struct disk *disk, struct poll_set *set);
/* Have what is done by now finished. */
void disk_reap(struct disk *disk);
/* All that was told done is on the medium. 0 or a negative errno. */
int disk_sync(struct disk *disk);

/* A fork; no request is at work. */
void disk_quiesced(struct disk *disk);
int disk_forked(struct disk *disk);
void disk_end(struct disk *disk);

#endif
