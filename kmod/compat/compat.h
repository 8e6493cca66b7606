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

/* 6.16: cpuid_count() has a header of its own. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#include <asm/processor.h>
#else
#include <asm/cpuid/api.h>
#endif

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

/* 6.4: faults under the lock of a mapping alone. */
static inline void compat_vma_start_write(struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	vma_start_write(vma);
#endif
}

/* 6.10: mseal(). 6.18: a flag for mappings that may have guard pages. */
#ifdef VM_SEALED
#define COMPAT_VM_SEALED	VM_SEALED
#else
#define COMPAT_VM_SEALED	0UL
#endif
#ifdef VM_MAYBE_GUARD
#define COMPAT_VM_MAYBE_GUARD	VM_MAYBE_GUARD
#else
#define COMPAT_VM_MAYBE_GUARD	0UL
#endif

/*
 * 6.18, and 6.12.95 of the long-term ones: a fault makes no entry of 2 MiB, nor several
 * at once, that would reach beyond the end of the file.
 */
static inline bool compat_maps_within_size(void)
{
	return LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0) ||
	       (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 95) &&
		LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0));
}

/* 6.5: get_user_pages() lost its last argument. mmap_lock held. */
static inline long compat_get_user_page(unsigned long addr, unsigned int flags,
					struct page **page)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
	return get_user_pages(addr, 1, flags, page, NULL);
#else
	return get_user_pages(addr, 1, flags, page);
#endif
}

#endif
