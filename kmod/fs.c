// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pseudo filesystem behind memory files. anon_inode_getfile() would give
 * all files one inode, and unmapping pages of one would unmap those of all.
 *
 * It is mounted while files exist, so that the superblock holds the module by
 * itself until the last of them is gone.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>

#include "compat/compat.h"
#include "fs.h"

#define KVMFORK_FS_MAGIC	0x6b766d66	/* "kvmf" */

static struct vfsmount *kvmfork_mnt;
static int kvmfork_mnt_count;

static int kvmfork_fs_init_context(struct fs_context *fc)
{
	fc->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	return init_pseudo(fc, KVMFORK_FS_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type kvmfork_fs_type = {
	.name			= "kvmfork",
	.owner			= THIS_MODULE,
	.init_fs_context	= kvmfork_fs_init_context,
	.kill_sb		= kill_anon_super,
};

/* The size is fixed, and there is no name whose attributes would matter. */
static int kvmfork_fs_setattr(COMPAT_IDMAP_ARG, struct dentry *dentry,
			      struct iattr *attr)
{
	return -EPERM;
}

static const struct inode_operations kvmfork_fs_iops = {
	.setattr = kvmfork_fs_setattr,
};

struct file *kvmfork_fs_open(const char *name, const struct file_operations *fops,
			     loff_t size, void *priv)
{
	struct inode *inode;
	struct file *file;
	int ret;

	ret = simple_pin_fs(&kvmfork_fs_type, &kvmfork_mnt, &kvmfork_mnt_count);
	if (ret)
		return ERR_PTR(ret);

	inode = alloc_anon_inode(kvmfork_mnt->mnt_sb);
	if (IS_ERR(inode)) {
		file = ERR_CAST(inode);
		goto release_fs;
	}
	inode->i_mode |= S_IFREG;
	inode->i_op = &kvmfork_fs_iops;
	inode->i_private = priv;
	i_size_write(inode, size);

	/* The file puts this with its own end. */
	__module_get(fops->owner);
	file = alloc_file_pseudo(inode, kvmfork_mnt, name, O_RDWR | O_LARGEFILE,
				 fops);
	if (IS_ERR(file))
		goto put_inode;
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	file->private_data = priv;
	return file;

put_inode:
	module_put(fops->owner);
	iput(inode);
release_fs:
	kvmfork_fs_release();
	return file;
}

void kvmfork_fs_release(void)
{
	simple_release_fs(&kvmfork_mnt, &kvmfork_mnt_count);
}

int kvmfork_install_file(struct file *file)
{
	int fd;

	if (IS_ERR(file))
		return PTR_ERR(file);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		fput(file);
	else
		fd_install(fd, file);
	return fd;
}
