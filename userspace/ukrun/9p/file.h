/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files of the host below one directory, for a guest that must not get out of
 * it. A file is held by a descriptor (O_PATH), never by a path, and from a
 * directory there is one step by one name at a time: no "/", no "..", no symbolic
 * link is followed, and openat2(2) sees to it. What the guest has can be renamed or
 * removed by others and is still the same file.
 *
 * All return 0 or a descriptor, or a negative errno.
 */
#ifndef UKRUN_9P_FILE_H
#define UKRUN_9P_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "9p/message.h"

/* "/proc/self/fd/N" */
#define FILE_PATH_SIZE	32

/*
 * Modes that a guest may give. Not that a file runs as its owner, who is ukrun's
 * user: root's guest would make programs of root's.
 */
#define FILE_MODES	01777
#define DIR_MODES	07777

/* How a file that is held by @fd is opened, changed and linked: by a path that leads to it. */
void file_path(int fd, char path[FILE_PATH_SIZE]);

/* Is it one that a directory can have? */
bool file_is_name(const char *name);

int file_walk(int dir, const char *name);
int file_stat(int fd, struct stat *stat);
void file_qid(const struct stat *stat, struct p9_qid *qid);
/* That of a directory's entry. */
void file_entry_qid(dev_t dev, ino_t ino, unsigned char type, struct p9_qid *qid);

/* Open a regular file or a directory, with flags as Linux has them. */
int file_open(int fd, uint32_t flags);
/* Make and open one. What is there already is opened, unless @flags say O_EXCL. */
int file_create(int dir, const char *name, uint32_t flags, uint32_t mode);
/* A descriptor that holds what is open. */
int file_hold(int fd);
/* Remove what @held holds, below @root, by the name that it has now. */
int file_remove(int root, int held);
int file_make_node(int dir, const char *name, uint32_t mode);
int file_link(int dir, int fd, const char *name);

/* Twice the same directory, each with a place of its own in it. */
int file_reopen_dir(int fd);

#endif
