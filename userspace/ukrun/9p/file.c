// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "9p/file.h"

#define RESOLVE_INSIDE	(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

/* What a guest may say of how it wants to use a file; all else is between it and its kernel. */
#define FLAGS_TAKEN	(O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC)
#define FLAGS_ALWAYS	(O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static int file_result(int ret)
{
	return ret < 0 ? -errno : ret;
}

static int file_openat2(int dir, const char *name, uint64_t flags, uint64_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = mode,
		.resolve = RESOLVE_INSIDE,
	};

	return file_result(syscall(SYS_openat2, dir, name, &how, sizeof(how)));
}

void file_path(int fd, char path[FILE_PATH_SIZE])
{
	snprintf(path, FILE_PATH_SIZE, "/proc/self/fd/%d", fd);
}

bool file_is_name(const char *name)
{
	return *name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/');
}

int file_walk(int dir, const char *name)
{
	return file_is_name(name) ? file_openat2(dir, name, O_PATH, 0) : -ENOENT;
}

int file_stat(int fd, struct stat *stat)
{
	return file_result(fstat(fd, stat));
}

static uint64_t file_number(dev_t dev, ino_t ino)
{
	/* Of another file system below the directory the inode may have the same number. */
	return ino ^ (uint64_t)dev << 40;
}

void file_qid(const struct stat *stat, struct p9_qid *qid)
{
	qid->type = S_ISDIR(stat->st_mode) ? P9_QID_DIR :
		    S_ISLNK(stat->st_mode) ? P9_QID_SYMLINK : P9_QID_FILE;
	qid->version = stat->st_mtime ^ stat->st_size << 8;
	qid->path = file_number(stat->st_dev, stat->st_ino);
}

void file_entry_qid(dev_t dev, ino_t ino, unsigned char type, struct p9_qid *qid)
{
	qid->type = type == DT_DIR ? P9_QID_DIR : type == DT_LNK ? P9_QID_SYMLINK : P9_QID_FILE;
	qid->version = 0;
	qid->path = file_number(dev, ino);
}

/* A device of the host's, or a pipe that waits for somebody, is not what a guest means. */
int file_open(int fd, uint32_t flags)
{
	char path[FILE_PATH_SIZE];
	struct stat stat;
	int ret = file_stat(fd, &stat);

	if (ret)
		return ret;
	if (S_ISLNK(stat.st_mode))
		return -ELOOP;
	if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode))
		return -EOPNOTSUPP;
	file_path(fd, path);
	return file_result(open(path, (flags & FLAGS_TAKEN) | FLAGS_ALWAYS));
}

int file_create(int dir, const char *name, uint32_t flags, uint32_t mode)
{
	uint64_t make = (flags & FLAGS_TAKEN) | FLAGS_ALWAYS | O_CREAT | O_EXCL;
	int fd, held;

	if (!file_is_name(name))
		return -EINVAL;
	fd = file_openat2(dir, name, make, mode & FILE_MODES);
	if (fd != -EEXIST || flags & O_EXCL)
		return fd;
	held = file_walk(dir, name);
	if (held < 0)
		return held;
	fd = file_open(held, flags);
	close(held);
	return fd;
}

int file_hold(int fd)
{
	char path[FILE_PATH_SIZE];

	file_path(fd, path);
	return file_result(open(path, O_PATH | O_CLOEXEC));
}

int file_make_node(int dir, const char *name, uint32_t mode)
{
	if (!file_is_name(name))
		return -EINVAL;
	if (S_ISDIR(mode))
		return file_result(mkdirat(dir, name, mode & DIR_MODES));
	/* Devices of the host would be out of place in a guest, and the other way round. */
	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EPERM;
	return file_result(mknodat(dir, name, mode & (S_IFMT | FILE_MODES), 0));
}

/* The host's name of what is held, without an end: its size or a negative errno. */
static ssize_t file_host_path(int held, char path[PATH_MAX])
{
	char link[FILE_PATH_SIZE];
	ssize_t size;

	file_path(held, link);
	size = readlinkat(AT_FDCWD, link, path, PATH_MAX - 1);
	if (size < 0)
		return -errno;
	path[size] = '\0';
	return size;
}

/* Another may have taken the name meanwhile: it must be the same file. */
static int file_remove_name(int dir, const char *name, int held)
{
	struct stat is, was;

	if (fstat(held, &was) || fstatat(dir, name, &is, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (is.st_dev != was.st_dev || is.st_ino != was.st_ino)
		return -ENOENT;
	return file_result(unlinkat(dir, name, S_ISDIR(is.st_mode) ? AT_REMOVEDIR : 0));
}

int file_remove(int root, int held)
{
	char base[PATH_MAX], path[PATH_MAX], *name;
	ssize_t size = file_host_path(root, base), length = file_host_path(held, path);
	int dir, ret;

	if (size < 0 || length < 0)
		return size < 0 ? size : length;
	/* All that is of a root "/" is its slash. */
	size -= size == 1;
	if (length <= size + 1 || memcmp(path, base, size) || path[size] != '/')
		return -EBUSY;
	name = strrchr(path, '/');
	*name++ = '\0';
	dir = file_openat2(root, path[size] ? path + size + 1 : ".", O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return dir;
	ret = file_remove_name(dir, name, held);
	close(dir);
	return ret;
}

int file_link(int dir, int fd, const char *name)
{
	char path[FILE_PATH_SIZE];

	if (!file_is_name(name))
		return -EINVAL;
	file_path(fd, path);
	return file_result(linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW));
}

int file_reopen_dir(int fd)
{
	return file_openat2(fd, ".", O_RDONLY | O_DIRECTORY, 0);
}
