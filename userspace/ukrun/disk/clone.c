// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/clone.h"
#include "disk/cow.h"
#include "disk/disk.h"
#include "helper.h"
#include "log.h"
#include "vm.h"

#define PART	(256 * 1024UL)

static int clone_make(void *arg, uint64_t id)
{
	const struct disk *disk = arg;
	char *path = xasprintf("%s.%llu", disk->path, (unsigned long long)id);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0666);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat stat;
	int ret = 0;

	free(path);
	if (fd < 0)
		return -errno;
	/* It may be a disk that somebody uses; its lock is as disk_lock()'s. */
	if (fstat(fd, &stat) || fcntl(fd, F_OFD_SETLK, &lock))
		ret = -errno;
	else if (!S_ISREG(stat.st_mode))
		ret = -EINVAL;
	else if (ftruncate(fd, 0))
		ret = -errno;
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

void clone_offer(struct disk *disk)
{
	disk->clone_offer = helper_offer(clone_make, disk);
}

int clone_open(struct disk *disk)
{
	/* That of the parent, when it is a child itself. */
	if (disk->clone_fd >= 0)
		close(disk->clone_fd);
	disk->clone_fd = helper_open(disk->vm, disk->clone_offer);
	if (disk->clone_fd >= 0)
		return 0;
	vm_warn(disk->vm, "-drive id=%s,clone=keep: %s.%llu: %s", disk->id, disk->path,
		(unsigned long long)disk->vm->id, strerror(-disk->clone_fd));
	return disk->clone_fd;
}

static bool clone_is_zero(const uint8_t *part, size_t size)
{
	return !part[0] && !memcmp(part, part + 1, size - 1);
}

static int clone_write(int fd, const uint8_t *part, size_t size, uint64_t offset)
{
	ssize_t n;

	for (; size; part += n, size -= n, offset += n) {
		n = pwrite(fd, part, size, offset);
		if (n < 0 && errno != EINTR)
			return -errno;
		n = n < 0 ? 0 : n;
	}
	return 0;
}

/* What is zero stays a hole. The file has its size when all is there. */
static int clone_fill(struct disk *disk)
{
	uint64_t offset, size;
	struct iovec iov;
	uint8_t *part;
	int ret = 0;

	part = malloc(PART);
	if (!part)
		return -ENOMEM;
	for (offset = 0; offset < disk->size && !ret; offset += size) {
		size = disk->size - offset < PART ? disk->size - offset : PART;
		iov = (struct iovec){ part, size };
		ret = cow_read(disk->cow, offset, size, &iov, 1);
		if (!ret && !clone_is_zero(part, size))
			ret = clone_write(disk->clone_fd, part, size, offset);
	}
	free(part);
	if (!ret && (ftruncate(disk->clone_fd, disk->size) || fdatasync(disk->clone_fd)))
		ret = -errno;
	return ret;
}

void clone_save(struct disk *disk)
{
	int ret;

	if (disk->clone_fd < 0)
		return;
	ret = clone_fill(disk);
	if (ret)
		vm_warn(disk->vm, "-drive id=%s,clone=keep: %s.%llu is not whole: %s", disk->id,
			disk->path, (unsigned long long)disk->vm->id, strerror(-ret));
	close(disk->clone_fd);
	disk->clone_fd = -1;
}
