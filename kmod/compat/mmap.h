/* SPDX-License-Identifier: GPL-2.0-only */
/* How a file says what its mappings are like. */
#ifndef KVMFORK_COMPAT_MMAP_H
#define KVMFORK_COMPAT_MMAP_H

#include "compat.h"

/* A mapping that is being made. */
struct compat_mmap {
	struct file *file;
	vm_flags_t vm_flags;		/* to be added to */
	const struct vm_operations_struct *vm_ops;	/* to be set */
};

/*
 * The function for .COMPAT_FOP_MMAP of file operations takes COMPAT_MMAP_ARGS
 * and returns compat_mmap(fn). @fn returns an error or 0.
 *
 * 7.0: asked before there is a mapping. Flags that it gets later would keep it
 * from being merged with its neighbours.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define COMPAT_FOP_MMAP		mmap_prepare
#define COMPAT_MMAP_ARGS	struct vm_area_desc *desc
#define compat_mmap(fn)		compat_mmap_by(desc, fn)

static inline int compat_mmap_by(struct vm_area_desc *desc,
				 int (*fn)(struct compat_mmap *map))
{
	struct compat_mmap map = {
		.file = desc->file,
		.vm_flags = vma_flags_to_legacy(desc->vma_flags),
	};
	int ret = fn(&map);

	if (ret)
		return ret;
	vma_desc_set_flags_mask(desc, legacy_to_vma_flags(map.vm_flags));
	desc->vm_ops = map.vm_ops;
	return 0;
}
#else
#define COMPAT_FOP_MMAP		mmap
#define COMPAT_MMAP_ARGS	struct file *file, struct vm_area_struct *vma
#define compat_mmap(fn)		compat_mmap_by(file, vma, fn)

static inline int compat_mmap_by(struct file *file, struct vm_area_struct *vma,
				 int (*fn)(struct compat_mmap *map))
{
	struct compat_mmap map = {
		.file = file,
		.vm_flags = vma->vm_flags,
	};
	int ret = fn(&map);

	if (ret)
		return ret;
	if (map.vm_flags != vma->vm_flags)
		compat_vm_flags_set(vma, map.vm_flags);
	vma->vm_ops = map.vm_ops;
	return 0;
}
#endif

#endif
