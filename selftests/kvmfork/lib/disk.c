// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "disk.h"

int disk_open(int file, char path[DISK_PATH_SIZE])
{
	int control, disk, nr;

	if (access("/dev/loop-control", F_OK) && system("modprobe loop 2>/dev/null"))
		return -1;
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	nr = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	if (nr < 0)
		return -1;
	snprintf(path, DISK_PATH_SIZE, "/dev/loop%d", nr);
	disk = open(path, O_RDWR | O_CLOEXEC);
	if (disk < 0 || ioctl(disk, LOOP_SET_FD, file)) {
		close(disk);
		return -1;
	}
	ioctl(disk, LOOP_SET_STATUS64, &(struct loop_info64) { .lo_flags = LO_FLAGS_AUTOCLEAR });
	return disk;
}
