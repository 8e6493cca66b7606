/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failing allocations, for tests. A module built with FAULTS=1 has this included
 * ahead of every file: what can fail for want of memory then fails when the
 * module parameter fail_nth says so. Any other build knows nothing of it, and
 * no caller ever names it.
 *
 * Whoever writes a number N to fail_nth has the Nth allocation that the module
 * makes for that task fail, once; reading tells how many are still to come before
 * that, 0 when it has happened. As /proc/self/fail-nth, but for this module
 * alone and on every kernel. A call of KVM's counts as an allocation.
 */
#ifndef KVMFORK_FAULT_H
#define KVMFORK_FAULT_H

#include <linux/anon_inodes.h>
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/security.h>
#include <linux/slab.h>

/* Shall this allocation fail? */
bool kvmfork_fault(void);

/* What stands in for the function behind kvmfork_fault_ in the name. */
static inline void *kvmfork_fault_kmalloc(size_t size, gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kmalloc(size, gfp);
}

static inline void *kvmfork_fault_kzalloc(size_t size, gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kzalloc(size, gfp);
}

static inline void *kvmfork_fault_kvmalloc(size_t size, gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kvmalloc(size, gfp);
}

static inline void *kvmfork_fault_kvzalloc(size_t size, gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kvzalloc(size, gfp);
}

static inline void *kvmfork_fault_kcalloc(size_t nr, size_t size, gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kcalloc(nr, size, gfp);
}

static inline void *kvmfork_fault_kvcalloc(size_t nr, size_t size, gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kvcalloc(nr, size, gfp);
}

static inline void *kvmfork_fault_kmalloc_array(size_t nr, size_t size,
						gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kmalloc_array(nr, size, gfp);
}

static inline void *kvmfork_fault_kvmalloc_array(size_t nr, size_t size,
						 gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kvmalloc_array(nr, size, gfp);
}

static inline void *kvmfork_fault_kmemdup(const void *from, size_t size,
					  gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kmemdup(from, size, gfp);
}

static inline unsigned long *kvmfork_fault_bitmap_zalloc(unsigned int nr,
							 gfp_t gfp)
{
	return kvmfork_fault() ? NULL : bitmap_zalloc(nr, gfp);
}

static inline void *kvmfork_fault_kmem_cache_alloc(struct kmem_cache *cache,
						   gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kmem_cache_alloc(cache, gfp);
}

static inline void *kvmfork_fault_kmem_cache_zalloc(struct kmem_cache *cache,
						    gfp_t gfp)
{
	return kvmfork_fault() ? NULL : kmem_cache_zalloc(cache, gfp);
}

static inline struct page *kvmfork_fault_alloc_pages(gfp_t gfp,
						     unsigned int order)
{
	return kvmfork_fault() ? NULL : alloc_pages(gfp, order);
}

static inline struct page *kvmfork_fault_alloc_page(gfp_t gfp)
{
	return kvmfork_fault() ? NULL : alloc_page(gfp);
}

static inline struct folio *kvmfork_fault_folio_alloc(gfp_t gfp,
						      unsigned int order)
{
	return kvmfork_fault() ? NULL : folio_alloc(gfp, order);
}

static inline unsigned long kvmfork_fault___get_free_page(gfp_t gfp)
{
	return kvmfork_fault() ? 0 : __get_free_page(gfp);
}

static inline struct inode *
kvmfork_fault_alloc_anon_inode(struct super_block *sb)
{
	return kvmfork_fault() ? ERR_PTR(-ENOMEM) : alloc_anon_inode(sb);
}

static inline struct file *
kvmfork_fault_alloc_file_pseudo(struct inode *inode, struct vfsmount *mnt,
				const char *name, int flags,
				const struct file_operations *fops)
{
	return kvmfork_fault() ? ERR_PTR(-ENOMEM) :
				 alloc_file_pseudo(inode, mnt, name, flags, fops);
}

static inline struct file *
kvmfork_fault_anon_inode_getfile(const char *name,
				 const struct file_operations *fops, void *priv,
				 int flags)
{
	return kvmfork_fault() ? ERR_PTR(-ENOMEM) :
				 anon_inode_getfile(name, fops, priv, flags);
}

static inline int kvmfork_fault_anon_inode_getfd(const char *name,
						 const struct file_operations *fops,
						 void *priv, int flags)
{
	return kvmfork_fault() ? -ENOMEM :
				 anon_inode_getfd(name, fops, priv, flags);
}

static inline int kvmfork_fault_get_unused_fd_flags(unsigned int flags)
{
	return kvmfork_fault() ? -ENOMEM : get_unused_fd_flags(flags);
}

static inline int kvmfork_fault_simple_pin_fs(struct file_system_type *type,
					      struct vfsmount **mount,
					      int *count)
{
	return kvmfork_fault() ? -ENOMEM : simple_pin_fs(type, mount, count);
}

static inline unsigned long kvmfork_fault_vm_mmap(struct file *file,
						  unsigned long addr,
						  unsigned long len,
						  unsigned long prot,
						  unsigned long flags,
						  unsigned long offset)
{
	return kvmfork_fault() ? -ENOMEM :
				 vm_mmap(file, addr, len, prot, flags, offset);
}

static inline int kvmfork_fault_register_kprobe(struct kprobe *probe)
{
	return kvmfork_fault() ? -ENOMEM : register_kprobe(probe);
}

/* Asked ahead of every call of KVM's (kvmcall.c). */
static inline int kvmfork_fault_security_file_ioctl(struct file *file,
						    unsigned int cmd,
						    unsigned long arg)
{
	return kvmfork_fault() ? -ENOMEM : security_file_ioctl(file, cmd, arg);
}

/* From here on the callers' names mean these. Some were macros before. */
#undef kmalloc
#undef kzalloc
#undef kvmalloc
#undef kvzalloc
#undef kcalloc
#undef kvcalloc
#undef kmalloc_array
#undef kvmalloc_array
#undef kmemdup
#undef bitmap_zalloc
#undef kmem_cache_alloc
#undef kmem_cache_zalloc
#undef alloc_pages
#undef alloc_page
#undef folio_alloc
#undef __get_free_page
#define kmalloc			kvmfork_fault_kmalloc
#define kzalloc			kvmfork_fault_kzalloc
#define kvmalloc		kvmfork_fault_kvmalloc
#define kvzalloc		kvmfork_fault_kvzalloc
#define kcalloc			kvmfork_fault_kcalloc
#define kvcalloc		kvmfork_fault_kvcalloc
#define kmalloc_array		kvmfork_fault_kmalloc_array
#define kvmalloc_array		kvmfork_fault_kvmalloc_array
#define kmemdup			kvmfork_fault_kmemdup
#define bitmap_zalloc		kvmfork_fault_bitmap_zalloc
#define kmem_cache_alloc	kvmfork_fault_kmem_cache_alloc
#define kmem_cache_zalloc	kvmfork_fault_kmem_cache_zalloc
#define alloc_pages		kvmfork_fault_alloc_pages
#define alloc_page		kvmfork_fault_alloc_page
#define folio_alloc		kvmfork_fault_folio_alloc
#define __get_free_page		kvmfork_fault___get_free_page
#define alloc_anon_inode	kvmfork_fault_alloc_anon_inode
#define alloc_file_pseudo	kvmfork_fault_alloc_file_pseudo
#define anon_inode_getfile	kvmfork_fault_anon_inode_getfile
#define anon_inode_getfd	kvmfork_fault_anon_inode_getfd
#define get_unused_fd_flags	kvmfork_fault_get_unused_fd_flags
#define simple_pin_fs		kvmfork_fault_simple_pin_fs
#define vm_mmap			kvmfork_fault_vm_mmap
#define register_kprobe		kvmfork_fault_register_kprobe
#define security_file_ioctl	kvmfork_fault_security_file_ioctl

#endif
