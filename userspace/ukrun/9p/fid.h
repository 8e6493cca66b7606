/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's handles: numbers that it chooses, each for a file. All are
 * descriptors of this process, so a fork copies them.
 */
#ifndef UKRUN_9P_FID_H
#define UKRUN_9P_FID_H

#include <stdbool.h>
#include <stdint.h>

#define FID_NONE	0xffffffffU
/* The host's limit of descriptors is met earlier. */
#define FIDS_MAX	65536
#define FID_BUCKETS	256

struct fid {
	uint32_t number;
	int held;		/* O_PATH */
	int open;		/* -1: not yet */
	bool is_dir;		/* what is open */
	struct fid *next;
};

struct fids {
	struct fid *buckets[FID_BUCKETS];
	unsigned int used;
};

/* Null: there is none. */
struct fid *fid_find(const struct fids *fids, uint32_t number);
/* Takes over @held, also when it fails. 0 or a negative errno. */
int fid_add(struct fids *fids, uint32_t number, int held);
/* Another file under the same number. */
void fid_replace(struct fid *fid, int held);
void fid_remove(struct fids *fids, struct fid *fid);
void fid_remove_all(struct fids *fids);
/* In a child: a place in a directory is not to be shared with the parent. */
void fid_forked_all(struct fids *fids);

#endif
