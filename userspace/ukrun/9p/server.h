/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A server of 9P2000.L, the protocol that Linux's v9fs speaks: one request in, one
 * answer out, done when it is answered. Requests are a guest's and may be
 * anything.
 */
#ifndef UKRUN_9P_SERVER_H
#define UKRUN_9P_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "9p/fid.h"
#include "9p/message.h"

/* Linux's default is 128 KiB; more takes more descriptors than a chain has. */
#define P9_MESSAGE_MAX	(512U << 10)
/* Any answer but data fits. */
#define P9_MESSAGE_MIN	4096U
/* Rlerror */
#define P9_ERROR_SIZE	11

struct p9_server {
	int root;		/* O_PATH */
	bool read_only;
	uint32_t message_max;	/* as Tversion has settled it */
	struct fids fids;
};

/*
 * Answer the message of @size bytes, which are in memory of ours, with up to @room
 * bytes, no fewer than P9_ERROR_SIZE. Returns the size of the answer, 0 when the
 * message is none.
 */
size_t p9_answer(struct p9_server *server, const void *message, size_t size, void *answer,
		 size_t room);

/*
 * What requests do: take their arguments, put the answer, and return 0 or a negative
 * errno, with which the answer is dropped.
 */
typedef int (*p9_operation)(struct p9_server *server, struct p9_in *in, struct p9_out *out);

/* In server.c. Null: no such handle. */
struct fid *p9_take_fid(struct p9_server *server, struct p9_in *in);
/*
 * The qid of @name in the directory @held, or of @held itself, if that is "". 0 or a
 * negative errno.
 */
int p9_put_qid_of(struct p9_out *out, int held, const char *name);
/* All is there, and no more. */
bool p9_is_whole(const struct p9_in *in);

/* data.c: what is in files and directories */
int p9_lopen(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_create_dir(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_lcreate(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_read(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_write(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_readdir(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_fsync(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_lock(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_getlock(struct p9_server *server, struct p9_in *in, struct p9_out *out);

/* attr.c: what is said of files */
int p9_statfs(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_getattr(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_setattr(struct p9_server *server, struct p9_in *in, struct p9_out *out);

/* name.c: names of files */
int p9_symlink(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_mknod(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_mkdir(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_link(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_readlink(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_renameat(struct p9_server *server, struct p9_in *in, struct p9_out *out);
int p9_unlinkat(struct p9_server *server, struct p9_in *in, struct p9_out *out);

#endif
