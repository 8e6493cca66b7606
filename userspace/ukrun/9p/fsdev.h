/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory of the host's for a guest, -fsdev. */
#ifndef UKRUN_9P_FSDEV_H
#define UKRUN_9P_FSDEV_H

#include <stdbool.h>

struct vm;

struct fsdev {
	const char *id;
	const char *path;
	int root;		/* O_PATH */
	bool read_only;
};

/* That of -fsdev id=@id, which must be nobody else's. Dies when it is no good. */
struct fsdev *fsdev_open(struct vm *vm, const char *id);

#endif
