// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "9p/fid.h"
#include "9p/file.h"

static struct fid **fid_bucket(struct fids *fids, uint32_t number)
{
	return &fids->buckets[number % FID_BUCKETS];
}

struct fid *fid_find(const struct fids *fids, uint32_t number)
{
	struct fid *fid = fids->buckets[number % FID_BUCKETS];

	while (fid && fid->number != number)
		fid = fid->next;
	return fid;
}

int fid_add(struct fids *fids, uint32_t number, int held)
{
	struct fid **bucket = fid_bucket(fids, number);
	struct fid *fid = NULL;
	int ret = 0;

	if (number == FID_NONE || fid_find(fids, number))
		ret = -EBADF;
	else if (fids->used == FIDS_MAX)
		ret = -ENFILE;
	else
		fid = malloc(sizeof(*fid));
	if (!fid) {
		close(held);
		return ret ?: -ENOMEM;
	}
	*fid = (struct fid){ .number = number, .held = held, .open = -1, .next = *bucket };
	*bucket = fid;
	fids->used++;
	return 0;
}

void fid_replace(struct fid *fid, int held)
{
	close(fid->held);
	fid->held = held;
}

void fid_remove(struct fids *fids, struct fid *fid)
{
	struct fid **at = fid_bucket(fids, fid->number);

	while (*at != fid)
		at = &(*at)->next;
	*at = fid->next;
	close(fid->held);
	if (fid->open >= 0)
		close(fid->open);
	free(fid);
	fids->used--;
}

void fid_remove_all(struct fids *fids)
{
	unsigned int i;

	for (i = 0; i < FID_BUCKETS; i++)
		while (fids->buckets[i])
			fid_remove(fids, fids->buckets[i]);
}

void fid_forked_all(struct fids *fids)
{
	struct fid *fid;
	unsigned int i;
	int fd;

	for (i = 0; i < FID_BUCKETS; i++) {
		for (fid = fids->buckets[i]; fid; fid = fid->next) {
			if (fid->open < 0 || !fid->is_dir)
				continue;
			fd = file_reopen_dir(fid->held);
			/* One that has been removed is empty, for both. */
			if (fd == -ENOENT)
				continue;
			close(fid->open);
			/* One that must not be read any more is the guest's to open again. */
			fid->open = fd < 0 ? -1 : fd;
		}
	}
}
