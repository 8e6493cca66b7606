/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _KVMFORK_TEST_DISK_H
#define _KVMFORK_TEST_DISK_H

/*
 * A block device over what @file (of tmpfs) holds, as most machines have no
 * other to spare; -1: there is none. It goes with the last that has it open.
 */
#define DISK_PATH_SIZE	32
int disk_open(int file, char path[DISK_PATH_SIZE]);

#endif /* _KVMFORK_TEST_DISK_H */
