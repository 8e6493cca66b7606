// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "9p/file.h"
#include "9p/server.h"
#include "compiler.h"

#define VERSION		"9P2000.L"
#define WALK_MAX	16

/* Requests; the answer to each has the next number. */
enum {
	P9_RLERROR	= 7,
	P9_TSTATFS	= 8,
	P9_TLOPEN	= 12,
	P9_TLCREATE	= 14,
	P9_TSYMLINK	= 16,
	P9_TMKNOD	= 18,
	P9_TREADLINK	= 22,
	P9_TGETATTR	= 24,
	P9_TSETATTR	= 26,
	P9_TREADDIR	= 40,
	P9_TFSYNC	= 50,
	P9_TLOCK	= 52,
	P9_TGETLOCK	= 54,
	P9_TLINK	= 70,
	P9_TMKDIR	= 72,
	P9_TRENAMEAT	= 74,
	P9_TUNLINKAT	= 76,
	P9_TVERSION	= 100,
	P9_TATTACH	= 104,
	P9_TFLUSH	= 108,
	P9_TWALK	= 110,
	P9_TCREATE	= 114,
	P9_TREAD	= 116,
	P9_TWRITE	= 118,
	P9_TCLUNK	= 120,
	P9_TREMOVE	= 122,
};

struct fid *p9_take_fid(struct p9_server *server, struct p9_in *in)
{
	return fid_find(&server->fids, p9_take32(in));
}

bool p9_is_whole(const struct p9_in *in)
{
	return !in->short_of && !in->left;
}

static int p9_version(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t size = p9_take32(in);
	char version[16];

	p9_take_string(in, version, sizeof(version));
	if (!p9_is_whole(in))
		return -EPROTO;
	if (size < P9_MESSAGE_MIN)
		return -EMSGSIZE;
	server->message_max = size < P9_MESSAGE_MAX ? size : P9_MESSAGE_MAX;
	fid_remove_all(&server->fids);
	p9_put32(out, server->message_max);
	p9_put_string(out, strcmp(version, VERSION) ? "unknown" : VERSION);
	return 0;
}

int p9_put_qid_of(struct p9_out *out, int held, const char *name)
{
	struct p9_qid qid;
	struct stat stat;

	if (fstatat(held, name, &stat, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -errno;
	file_qid(&stat, &qid);
	p9_put_qid(out, &qid);
	return 0;
}

static int p9_hold_again(int held)
{
	int fd = fcntl(held, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* There is one tree and one user, whatever names are given for them. */
static int p9_attach(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_take32(in), auth = p9_take32(in);
	char uname[2], aname[2];
	int held;

	p9_take_string(in, uname, sizeof(uname));
	p9_take_string(in, aname, sizeof(aname));
	p9_take32(in);
	if (!p9_is_whole(in))
		return -EPROTO;
	if (auth != FID_NONE)
		return -EOPNOTSUPP;
	held = p9_hold_again(server->root);
	if (held < 0)
		return held;
	return fid_add(&server->fids, number, held) ?: p9_put_qid_of(out, server->root, "");
}

/*
 * Nothing is synchronous that could still be under way when the next request is
 * looked at.
 */
static int p9_flush(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	(void)server;
	(void)out;
	p9_take16(in);
	return p9_is_whole(in) ? 0 : -EPROTO;
}

static bool p9_same_file(int a, int b)
{
	struct stat stat_a, stat_b;

	return !file_stat(a, &stat_a) && !file_stat(b, &stat_b) &&
	       stat_a.st_dev == stat_b.st_dev && stat_a.st_ino == stat_b.st_ino;
}

/* What lies above the root is the root; of others it would take to know their names. */
static int p9_step(const struct p9_server *server, int from, const char *name)
{
	if (!strcmp(name, "..") && p9_same_file(from, server->root))
		return p9_hold_again(server->root);
	return file_walk(from, name);
}

/* Up to @count names. Puts the qids of those that are there; *@held is the last. */
static int p9_walk_names(const struct p9_server *server, struct p9_in *in, struct p9_out *out,
			 uint16_t count, int *held)
{
	char name[NAME_MAX + 1];
	uint16_t done;
	int next, ret;

	for (done = 0; done < count; done++) {
		p9_take_string(in, name, sizeof(name));
		next = p9_step(server, *held, name);
		if (next < 0)
			return done ?: next;
		close(*held);
		*held = next;
		ret = p9_put_qid_of(out, next, "");
		if (ret)
			return done ?: ret;
	}
	return done;
}

/* When not all names are there, the new handle is not, and that is no error. */
static int p9_walk(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	uint32_t number = p9_take32(in);
	uint16_t count = p9_take16(in);
	size_t at = out->used;
	int held, done;

	if (in->short_of || count > WALK_MAX)
		return -EPROTO;
	if (!fid)
		return -EBADF;
	if (number == fid->number && fid->open >= 0)
		return -EBUSY;
	if (out->room - at < sizeof(uint16_t) + P9_QID_SIZE * count)
		return -EMSGSIZE;
	held = p9_hold_again(fid->held);
	if (held < 0)
		return held;
	p9_put16(out, 0);
	done = p9_walk_names(server, in, out, count, &held);
	if (done == count && !p9_is_whole(in))
		done = -EPROTO;
	if (done != count) {
		close(held);
	} else if (number == fid->number) {
		fid_replace(fid, held);
	} else {
		int ret = fid_add(&server->fids, number, held);

		if (ret)
			return ret;
	}
	if (done < 0)
		return done;
	out->used = at + sizeof(uint16_t) + P9_QID_SIZE * (size_t)done;
	out->bytes[at] = done;
	return 0;
}

static int p9_clunk(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);

	(void)out;
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	fid_remove(&server->fids, fid);
	return 0;
}

/* The handle is gone afterwards, whether the file is or not. */
static int p9_remove(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	int ret = -EROFS;

	(void)out;
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	if (!server->read_only)
		ret = file_remove(server->root, fid->held);
	fid_remove(&server->fids, fid);
	return ret;
}

static const struct {
	p9_operation run;
	bool changes;
} operations[] = {
	[P9_TSTATFS]	= { .run = p9_statfs },
	[P9_TLOPEN]	= { .run = p9_lopen },
	[P9_TLCREATE]	= { .run = p9_lcreate, .changes = true },
	[P9_TSYMLINK]	= { .run = p9_symlink, .changes = true },
	[P9_TMKNOD]	= { .run = p9_mknod, .changes = true },
	[P9_TREADLINK]	= { .run = p9_readlink },
	[P9_TGETATTR]	= { .run = p9_getattr },
	[P9_TSETATTR]	= { .run = p9_setattr, .changes = true },
	[P9_TREADDIR]	= { .run = p9_readdir },
	[P9_TFSYNC]	= { .run = p9_fsync },
	[P9_TLOCK]	= { .run = p9_lock },
	[P9_TGETLOCK]	= { .run = p9_getlock },
	[P9_TLINK]	= { .run = p9_link, .changes = true },
	[P9_TMKDIR]	= { .run = p9_mkdir, .changes = true },
	[P9_TRENAMEAT]	= { .run = p9_renameat, .changes = true },
	[P9_TUNLINKAT]	= { .run = p9_unlinkat, .changes = true },
	[P9_TVERSION]	= { .run = p9_version },
	[P9_TATTACH]	= { .run = p9_attach },
	[P9_TFLUSH]	= { .run = p9_flush },
	[P9_TWALK]	= { .run = p9_walk },
	[P9_TCREATE]	= { .run = p9_create_dir, .changes = true },
	[P9_TREAD]	= { .run = p9_read },
	[P9_TWRITE]	= { .run = p9_write, .changes = true },
	[P9_TCLUNK]	= { .run = p9_clunk },
	[P9_TREMOVE]	= { .run = p9_remove },
};

/* A negative errno, also for requests that there are not: extended attributes, and old ones. */
static int p9_operate(struct p9_server *server, uint8_t type, struct p9_in *in,
		      struct p9_out *out)
{
	int ret;

	if (type >= ARRAY_SIZE(operations) || !operations[type].run)
		return -EOPNOTSUPP;
	/* Before Tversion nothing else has a meaning. */
	if (!server->message_max && type != P9_TVERSION)
		return -EPROTO;
	if (server->read_only && operations[type].changes)
		return -EROFS;
	ret = operations[type].run(server, in, out);
	return ret ?: out->full ? -EMSGSIZE : 0;
}

size_t p9_answer(struct p9_server *server, const void *message, size_t size, void *answer,
		 size_t room)
{
	uint32_t max = server->message_max ?: P9_MESSAGE_MIN;
	struct p9_in in = { .at = message, .left = size };
	struct p9_out out = { .bytes = answer, .room = room < max ? room : max };
	uint32_t said = p9_take32(&in);
	uint8_t type = p9_take8(&in);
	uint16_t tag = p9_take16(&in);
	int ret;

	if (in.short_of || said != size)
		return 0;
	p9_put32(&out, 0);
	p9_put8(&out, type + 1);
	p9_put16(&out, tag);
	ret = size > max ? -EMSGSIZE : p9_operate(server, type, &in, &out);
	if (ret) {
		out.used = 4;
		out.full = false;
		p9_put8(&out, P9_RLERROR);
		p9_put16(&out, tag);
		p9_put32(&out, -ret);
	}
	p9_set32(&out, 0, out.used);
	return out.used;
}
