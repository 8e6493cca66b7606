// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "9p/file.h"
#include "9p/server.h"

#define WRITE_FLAGS	(O_TRUNC | O_CREAT)

/* As <linux/dirent.h>, which is not for user space, has it. */
struct entry {
	uint64_t ino;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

#define ENTRIES_SIZE	32768
/* In the mode of Tcreate: a directory. */
#define P9_DMDIR	0x80000000U
#define LOCK_SUCCESS	0
#define LOCK_NONE	2	/* F_UNLCK */

static int p9_put_open(struct p9_out *out, int fd, struct fid *fid)
{
	struct p9_qid qid;
	struct stat stat;
	int ret = file_stat(fd, &stat);

	if (ret)
		return ret;
	fid->is_dir = S_ISDIR(stat.st_mode);
	file_qid(&stat, &qid);
	p9_put_qid(out, &qid);
	/* No unit: as much as a message holds. */
	p9_put32(out, 0);
	return 0;
}

int p9_lopen(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	uint32_t flags = p9_take32(in);
	int fd, ret;

	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	if (fid->open >= 0)
		return -EBUSY;
	if (server->read_only && ((flags & O_ACCMODE) != O_RDONLY || flags & WRITE_FLAGS))
		return -EROFS;
	fd = file_open(fid->held, flags);
	if (fd < 0)
		return fd;
	ret = p9_put_open(out, fd, fid);
	if (ret)
		close(fd);
	else
		fid->open = fd;
	return ret;
}

/*
 * The handle of a directory becomes that of what was made in it. Takes both
 * descriptors, or errors.
 */
static int p9_become(struct fid *fid, int held, int fd, struct p9_out *out)
{
	int ret = held < 0 ? held : fd;

	if (ret >= 0)
		ret = p9_put_open(out, fd, fid);
	if (!ret) {
		fid_replace(fid, held);
		fid->open = fd;
		return 0;
	}
	if (held >= 0)
		close(held);
	if (fd >= 0)
		close(fd);
	return ret;
}

int p9_lcreate(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	char name[NAME_MAX + 1];
	uint32_t flags, mode;
	int fd;

	p9_take_string(in, name, sizeof(name));
	flags = p9_take32(in);
	mode = p9_take32(in);
	p9_take32(in);		/* the group: as the host has it */
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	if (fid->open >= 0)
		return -EBUSY;
	fd = file_create(fid->held, name, flags, mode);
	if (fd < 0)
		return fd;
	return p9_become(fid, file_hold(fd), fd, out);
}

/* Tcreate is of 9P2000, not of its .L; but Unikraft makes directories by it. */
int p9_create_dir(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	char name[NAME_MAX + 1];
	uint32_t mode;
	int held, ret;

	p9_take_string(in, name, sizeof(name));
	mode = p9_take32(in);
	p9_take8(in);		/* how it is opened: to be read */
	if (in->left)		/* the .u has the target of a link here */
		p9_take_bytes(in, p9_take16(in));
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	if (fid->open >= 0)
		return -EBUSY;
	if (!(mode & P9_DMDIR) || mode & ~(P9_DMDIR | DIR_MODES))
		return -EOPNOTSUPP;
	ret = file_make_node(fid->held, name, S_IFDIR | (mode & DIR_MODES));
	if (ret)
		return ret;
	held = file_walk(fid->held, name);
	return p9_become(fid, held, held < 0 ? held : file_open(held, O_RDONLY), out);
}

int p9_read(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	uint64_t offset = p9_take64(in);
	uint32_t count = p9_take32(in);
	ssize_t done;
	size_t room;

	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid || fid->open < 0)
		return -EBADF;
	p9_put32(out, 0);
	room = out->room - out->used;
	if (out->full)
		return -EMSGSIZE;
	done = pread(fid->open, out->bytes + out->used, count < room ? count : room, offset);
	if (done < 0)
		return -errno;
	p9_set32(out, P9_HEADER, done);
	out->used += done;
	return 0;
}

int p9_write(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	uint64_t offset = p9_take64(in);
	uint32_t count = p9_take32(in);
	const uint8_t *bytes = p9_take_bytes(in, count);
	ssize_t done;

	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid || fid->open < 0)
		return -EBADF;
	done = pwrite(fid->open, bytes, count, offset);
	if (done < 0)
		return -errno;
	p9_put32(out, done);
	return 0;
}

/* False: it is one too many. */
static bool p9_put_entry(struct p9_out *out, size_t end, dev_t dev, const struct entry *entry)
{
	size_t size = P9_QID_SIZE + 8 + 1 + 2 + strlen(entry->name);
	struct p9_qid qid;

	if (out->used + size > end)
		return false;
	file_entry_qid(dev, entry->ino, entry->type, &qid);
	p9_put_qid(out, &qid);
	p9_put64(out, entry->next);
	p9_put8(out, entry->type);
	p9_put_string(out, entry->name);
	return true;
}

/* Entries from where the directory stands, as long as there is room. */
static int p9_put_entries(struct p9_out *out, size_t end, int dir, dev_t dev)
{
	uint8_t bytes[ENTRIES_SIZE] __attribute__((aligned(8)));
	const struct entry *entry;
	ssize_t size, at;

	while ((size = getdents64(dir, bytes, sizeof(bytes))) > 0) {
		for (at = 0; at < size; at += entry->size) {
			entry = (const struct entry *)(bytes + at);
			if (!p9_put_entry(out, end, dev, entry))
				return 0;
		}
	}
	return size < 0 ? -errno : 0;
}

int p9_readdir(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	uint64_t offset = p9_take64(in);
	uint32_t count = p9_take32(in);
	struct stat stat;
	size_t begin;
	int ret;

	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid || fid->open < 0)
		return -EBADF;
	if (!fid->is_dir)
		return -ENOTDIR;
	ret = file_stat(fid->open, &stat);
	if (ret)
		return ret;
	/* The guest says from where; nobody else uses this descriptor. */
	if (lseek(fid->open, offset, SEEK_SET) < 0)
		return -errno;
	p9_put32(out, 0);
	if (out->full)
		return -EMSGSIZE;
	begin = out->used;
	if (count > out->room - begin)
		count = out->room - begin;
	ret = p9_put_entries(out, begin + count, fid->open, stat.st_dev);
	p9_set32(out, P9_HEADER, out->used - begin);
	return ret;
}

int p9_fsync(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	uint32_t data_only = p9_take32(in);

	(void)out;
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid || fid->open < 0)
		return -EBADF;
	return (data_only ? fdatasync(fid->open) : fsync(fid->open)) ? -errno : 0;
}

/*
 * Locks are between the programs of one guest, whose kernel knows of them all; those
 * of the host would be another's after a fork.
 */
int p9_lock(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	char client[NAME_MAX + 1];

	/* type, flags, start, length, process */
	p9_take_bytes(in, 1 + 4 + 8 + 8 + 4);
	p9_take_string(in, client, sizeof(client));
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid || fid->open < 0)
		return -EBADF;
	p9_put8(out, LOCK_SUCCESS);
	return 0;
}

int p9_getlock(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	uint64_t start, length;
	char client[NAME_MAX + 1];
	uint32_t process;

	p9_take8(in);
	start = p9_take64(in);
	length = p9_take64(in);
	process = p9_take32(in);
	p9_take_string(in, client, sizeof(client));
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid || fid->open < 0)
		return -EBADF;
	p9_put8(out, LOCK_NONE);
	p9_put64(out, start);
	p9_put64(out, length);
	p9_put32(out, process);
	p9_put_string(out, client);
	return 0;
}
