/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the supported kernels, and nothing else.
 *
 * Supported: 6.1 to 7.x, as Debian builds them. A new kernel is added by making
 * this folder know it.
 */
#ifndef KVMFORK_COMPAT_H
#define KVMFORK_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "kvmfork needs Linux 6.1 or later"
#endif

/* 6.3: vm_flags became read-only. */
static inline void compat_vm_flags_set(struct vm_area_struct *vma,
				       unsigned long flags)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	vma->vm_flags |= flags;
#else
	vm_flags_set(vma, flags);
#endif
}

/* 6.3: the first argument of inode operations became an idmapping. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define COMPAT_IDMAP_ARG	struct user_namespace *idmap
#else
#define COMPAT_IDMAP_ARG	struct mnt_idmap *idmap
#endif

#endif
