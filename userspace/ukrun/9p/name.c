// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "9p/file.h"
#include "9p/server.h"

int p9_symlink(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = p9_take_fid(server, in);
	char name[NAME_MAX + 1], target[PATH_MAX];

	p9_take_string(in, name, sizeof(name));
	p9_take_string(in, target, sizeof(target));
	p9_take32(in);		/* the group */
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!dir)
		return -EBADF;
	if (!file_is_name(name))
		return -EINVAL;
	/* It may lead anywhere: it is the guest that follows it, in its own tree. */
	if (symlinkat(target, dir->held, name))
		return -errno;
	return p9_put_qid_of(out, dir->held, name);
}

static int p9_make(struct p9_out *out, const struct fid *dir, const char *name, uint32_t mode)
{
	return file_make_node(dir->held, name, mode) ?: p9_put_qid_of(out, dir->held, name);
}

int p9_mknod(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = p9_take_fid(server, in);
	char name[NAME_MAX + 1];
	uint32_t mode;

	p9_take_string(in, name, sizeof(name));
	mode = p9_take32(in);
	p9_take_bytes(in, 3 * sizeof(uint32_t));	/* which device, and the group */
	if (!p9_is_whole(in) || S_ISDIR(mode))
		return -EPROTO;
	return dir ? p9_make(out, dir, name, mode) : -EBADF;
}

int p9_mkdir(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = p9_take_fid(server, in);
	char name[NAME_MAX + 1];
	uint32_t mode;

	p9_take_string(in, name, sizeof(name));
	mode = p9_take32(in);
	p9_take32(in);		/* the group */
	if (!p9_is_whole(in))
		return -EPROTO;
	return dir ? p9_make(out, dir, name, (mode & 07777) | S_IFDIR) : -EBADF;
}

int p9_link(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = p9_take_fid(server, in);
	struct fid *fid = p9_take_fid(server, in);
	char name[NAME_MAX + 1];

	(void)out;
	p9_take_string(in, name, sizeof(name));
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!dir || !fid)
		return -EBADF;
	return file_link(dir->held, fid->held, name);
}

int p9_readlink(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *fid = p9_take_fid(server, in);
	char target[PATH_MAX];
	ssize_t size;

	if (!p9_is_whole(in))
		return -EPROTO;
	if (!fid)
		return -EBADF;
	size = readlinkat(fid->held, "", target, sizeof(target) - 1);
	if (size < 0)
		return -errno;
	target[size] = '\0';
	p9_put_string(out, target);
	return 0;
}

int p9_renameat(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char from[NAME_MAX + 1], to[NAME_MAX + 1];
	struct fid *from_dir, *to_dir;

	(void)out;
	from_dir = p9_take_fid(server, in);
	p9_take_string(in, from, sizeof(from));
	to_dir = p9_take_fid(server, in);
	p9_take_string(in, to, sizeof(to));
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!from_dir || !to_dir)
		return -EBADF;
	if (!file_is_name(from) || !file_is_name(to))
		return -EINVAL;
	return renameat(from_dir->held, from, to_dir->held, to) ? -errno : 0;
}

int p9_unlinkat(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct fid *dir = p9_take_fid(server, in);
	char name[NAME_MAX + 1];
	uint32_t flags;

	(void)out;
	p9_take_string(in, name, sizeof(name));
	flags = p9_take32(in);
	if (!p9_is_whole(in))
		return -EPROTO;
	if (!dir)
		return -EBADF;
	if (!file_is_name(name))
		return -EINVAL;
	return unlinkat(dir->held, name, flags & AT_REMOVEDIR) ? -errno : 0;
}
