// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "9p/file.h"
#include "9p/server.h"

/* What Rgetattr has: all but the time of birth, generation and data version. */
#define GETATTR_BASIC	0x7ff

#define SETATTR_MODE		0x001
#define SETATTR_SIZE		0x008
#define SETATTR_ATIME		0x010
#define SETATTR_MTIME		0x020
#define SETATTR_ATIME_SET	0x080
#define SETATTR_MTIME_SET	0x100

struct attributes {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec times[2];	/* of access, of change */
};

int p9_statfs(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	struct statfs statfs;

	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	if (fstatfs(fid->held, &statfs))
		return -errno;
	p9_put32(out, statfs.f_type);
	p9_put32(out, statfs.f_bsize);
	p9_put64(out, statfs.f_blocks);
	p9_put64(out, statfs.f_bfree);
	p9_put64(out, statfs.f_bavail);
	p9_put64(out, statfs.f_files);
	p9_put64(out, statfs.f_ffree);
	p9_put64(out, 0);
	p9_put32(out, NAME_MAX);
	return 0;
}

static void p9_put_time(struct p9_out *out, const struct timespec *time)
{
	p9_put64(out, time->tv_sec);
	p9_put64(out, time->tv_nsec);
}

int p9_getattr(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	static const struct timespec unknown;
	struct fid *fid = p9_take_fid(server, in);
	struct p9_qid qid;
	struct stat stat;
	int ret;

	p9_take64(in);		/* what is wanted: it gets all */
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	ret = file_stat(fid->held, &stat);
	if (ret)
		return ret;
	file_qid(&stat, &qid);
	p9_put64(out, GETATTR_BASIC);
	p9_put_qid(out, &qid);
	p9_put32(out, stat.st_mode);
	p9_put32(out, stat.st_uid);
	p9_put32(out, stat.st_gid);
	p9_put64(out, stat.st_nlink);
	p9_put64(out, stat.st_rdev);
	p9_put64(out, stat.st_size);
	p9_put64(out, stat.st_blksize);
	p9_put64(out, stat.st_blocks);
	p9_put_time(out, &stat.st_atim);
	p9_put_time(out, &stat.st_mtim);
	p9_put_time(out, &stat.st_ctim);
	p9_put_time(out, &unknown);
	p9_put64(out, 0);
	p9_put64(out, 0);
	return 0;
}

static void p9_take_time(struct p9_in *in, struct timespec *time, bool changes, bool is_set)
{
	time->tv_sec = p9_take64(in);
	time->tv_nsec = p9_take64(in);
	if (!changes)
		time->tv_nsec = UTIME_OMIT;
	else if (!is_set)
		time->tv_nsec = UTIME_NOW;
}

/* An open file may be longer allowed to write than its modes say. */
static int p9_set_size(const struct fid *fid, const char *path, uint64_t size)
{
	if (fid->open >= 0 && !ftruncate(fid->open, size))
		return 0;
	return truncate(path, size) ? -errno : 0;
}

static int p9_set_size_and_mode(const struct fid *fid, const char *path,
				const struct attributes *to)
{
	struct stat stat;
	mode_t modes;
	int ret = file_stat(fid->held, &stat);

	if (ret)
		return ret;
	modes = S_ISDIR(stat.st_mode) ? DIR_MODES : FILE_MODES;
	if (to->valid & SETATTR_SIZE && !S_ISREG(stat.st_mode))
		return -EINVAL;
	if (to->valid & SETATTR_MODE && S_ISLNK(stat.st_mode))
		return -EOPNOTSUPP;
	if (to->valid & SETATTR_SIZE)
		ret = p9_set_size(fid, path, to->size);
	if (!ret && to->valid & SETATTR_MODE && fchmodat(AT_FDCWD, path, to->mode & modes, 0))
		ret = -errno;
	return ret;
}

int p9_setattr(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	struct attributes to;
	char path[FILE_PATH_SIZE];
	int ret;

	(void)out;
	to.valid = p9_take32(in);
	to.mode = p9_take32(in);
	to.uid = p9_take32(in);
	to.gid = p9_take32(in);
	to.size = p9_take64(in);
	p9_take_time(in, &to.times[0], to.valid & SETATTR_ATIME, to.valid & SETATTR_ATIME_SET);
	p9_take_time(in, &to.times[1], to.valid & SETATTR_MTIME, to.valid & SETATTR_MTIME_SET);
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	file_path(fid->held, path);
	/*
	 * security_model=none: whose file it is, is the host's to say. That it shall be
	 * another's is no error, or copying files would be one.
	 */
	ret = p9_set_size_and_mode(fid, path, &to);
	if (!ret && to.valid & (SETATTR_ATIME | SETATTR_MTIME) &&
	    utimensat(AT_FDCWD, path, to.times, 0))
		ret = -errno;
	return ret;
}
