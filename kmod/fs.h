/* SPDX-License-Identifier: GPL-2.0-only */
/* The pseudo filesystem that gives every memory file an inode of its own. */
#ifndef KVMFORK_FS_H
#define KVMFORK_FS_H

#include <linux/fs.h>

/*
 * A new regular file without a name, of @size bytes, opened for reading and
 * writing, with @priv in file and inode private data. f_op->release must call
 * kvmfork_fs_release(). ERR_PTR on failure.
 */
struct file *kvmfork_fs_open(const char *name, const struct file_operations *fops,
			     loff_t size, void *priv);
void kvmfork_fs_release(void);

/*
 * Make @file, which is taken over and may be an ERR_PTR, the caller's. Its fd,
 * close-on-exec, or an error.
 */
int kvmfork_install_file(struct file *file);

#endif
