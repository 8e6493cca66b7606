/* SPDX-License-Identifier: GPL-2.0-only */
/* Arguments of ioctls, whose size in the number is the version of the struct. */
#ifndef KVMFORK_ARGS_H
#define KVMFORK_ARGS_H

#include <linux/kvmfork.h>
#include <linux/uaccess.h>

struct kvmfork_args {
	unsigned int cmd;
	void __user *user;
};

/* A command without the size of its struct, which may differ. */
#define KVMFORK_CMD(cmd)	((cmd) & ~(_IOC_SIZEMASK << _IOC_SIZESHIFT))

/* Note what was called, and return it for a switch over KVMFORK_CMD(). */
static inline unsigned int kvmfork_args_init(struct kvmfork_args *args,
					     unsigned int cmd, unsigned long arg)
{
	args->cmd = cmd;
	args->user = (void __user *)arg;
	return KVMFORK_CMD(cmd);
}

/*
 * Copy the caller's struct into @to, of @size bytes, which is also the size of
 * its first version so far. -EINVAL: too short. -E2BIG: longer, and what is
 * not known here is not zero.
 */
static inline int kvmfork_args_get(const struct kvmfork_args *args, void *to,
				   size_t size)
{
	if (_IOC_SIZE(args->cmd) < size)
		return -EINVAL;
	return copy_struct_from_user(to, size, args->user,
				     _IOC_SIZE(args->cmd));
}

/* Copy @size bytes back, to @offset of the caller's struct. */
static inline int kvmfork_args_put(const struct kvmfork_args *args,
				   size_t offset, const void *from, size_t size)
{
	return copy_to_user(args->user + offset, from, size) ? -EFAULT : 0;
}

#endif
