// SPDX-License-Identifier: GPL-2.0-only
/* Memory files as user space sees them: file operations and page faults. */
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "compat/mmap.h"
#include "fs.h"
#include "mem.h"
#include "move.h"
#include "page.h"

static vm_fault_t kvmfork_mem_fault_error(int err)
{
	return err == -EHWPOISON ? VM_FAULT_HWPOISON : VM_FAULT_OOM;
}

/* Give a locked page to the kernel, which unlocks it. */
static vm_fault_t kvmfork_mem_hand_out(struct kvmfork_mem *mem,
				       struct vm_fault *vmf, struct page *page)
{
	vm_fault_t ret;

	if (PageHWPoison(page))		/* the kernel takes it for the page cache's */
		ret = VM_FAULT_HWPOISON;
	else if (kvmfork_page_is_huge(page) && kvmfork_mem_map_huge(mem, vmf, page))
		ret = VM_FAULT_OOM;
	else if (!try_get_page(page))	/* mapped some billion times */
		ret = VM_FAULT_SIGBUS;
	else
		ret = VM_FAULT_LOCKED;

	if (ret == VM_FAULT_LOCKED)
		vmf->page = page;
	else
		unlock_page(page);
	return ret;
}

static void kvmfork_mem_fill_hole(struct kvmfork_mem *mem, unsigned long index)
{
	unsigned long block = index / KVMFORK_HUGE_NR;
	bool hole;

	down_read(&mem->lock);
	hole = !kvmfork_tree_lookup(&mem->tree, index).page;
	up_read(&mem->lock);
	/* To look for one takes long: not for each page of the block. */
	if (!hole || READ_ONCE(mem->missed) == block)
		return;
	if (!kvmfork_mem_make_huge(mem, index, NULL))
		WRITE_ONCE(mem->missed, block);
}

/* Hand out the page of a fault, locked until the entry is in place. */
static vm_fault_t kvmfork_mem_fault(struct vm_fault *vmf)
{
	struct kvmfork_mem *mem = vmf->vma->vm_file->private_data;
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	struct kvmfork_slot slot;
	struct page *page;
	vm_fault_t ret;
	int err;

	if (vmf->pgoff >= mem->nr_pages)
		return VM_FAULT_SIGBUS;
	/* A page of zeroes mapped by itself would keep a huge page out. */
	if (!write && (mem->flags & KVMFORK_MEMORY_HUGE))
		kvmfork_mem_fill_hole(mem, vmf->pgoff);

	for (;;) {
		down_read(&mem->lock);
		slot = kvmfork_tree_lookup(&mem->tree, vmf->pgoff);
		if (!write || kvmfork_mem_lock_writable(&slot, NULL))
			break;
		up_read(&mem->lock);
		err = kvmfork_mem_make_private(mem, vmf->pgoff, NULL);
		if (err)
			return kvmfork_mem_fault_error(err);
	}

	page = slot.page ?: kvmfork_mem_zero_page(mem);
	if (page && !write)
		lock_page(page);
	ret = page ? kvmfork_mem_hand_out(mem, vmf, page) : VM_FAULT_OOM;
	up_read(&mem->lock);
	return ret;
}

/*
 * A page that is mapped read-only, or about to be mapped writable, is to be
 * written. When it cannot be written in place, the copy's entry is left to the
 * next fault.
 */
static vm_fault_t kvmfork_mem_mkwrite(struct vm_fault *vmf)
{
	struct kvmfork_mem *mem = vmf->vma->vm_file->private_data;
	struct kvmfork_slot slot;
	vm_fault_t ret;
	int err;

	down_read(&mem->lock);
	slot = kvmfork_tree_lookup(&mem->tree, vmf->pgoff);
	if (slot.page == vmf->page &&
	    kvmfork_mem_lock_writable(&slot, vmf->page)) {
		kvmfork_tree_mark_dirty(&mem->tree, vmf->pgoff);
		ret = VM_FAULT_LOCKED;
		/* About to be mapped: it was unlocked since kvmfork_mem_fault(). */
		if (!vmf->pte && kvmfork_page_is_huge(slot.page) &&
		    kvmfork_mem_map_huge(mem, vmf, slot.page)) {
			unlock_page(slot.page);
			ret = VM_FAULT_OOM;
		}
		up_read(&mem->lock);
		return ret;
	}
	up_read(&mem->lock);

	/* Unless it has been replaced, and so unmapped, in the meantime. */
	if (slot.page && slot.page != vmf->page)
		return VM_FAULT_NOPAGE;
	err = kvmfork_mem_make_private(mem, vmf->pgoff, vmf->page);
	return err ? kvmfork_mem_fault_error(err) : VM_FAULT_NOPAGE;
}

static const struct vm_operations_struct kvmfork_mem_vm_ops = {
	.fault		= kvmfork_mem_fault,
	.page_mkwrite	= kvmfork_mem_mkwrite,
};

/* A private mapping would mix this memory's later writes with its own. */
static int kvmfork_mem_map(struct compat_mmap *map)
{
	if (!(map->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	map->vm_ops = &kvmfork_mem_vm_ops;
	map->vm_flags |= kvmfork_move_flags(map->file->private_data);
	return 0;
}

static int kvmfork_mem_mmap(COMPAT_MMAP_ARGS)
{
	return compat_mmap(kvmfork_mem_map);
}

static unsigned long kvmfork_mem_get_area(struct file *file, unsigned long addr,
					  unsigned long size, unsigned long pgoff,
					  unsigned long flags)
{
	int ret = kvmfork_move_take(file->private_data, addr, size);

	/* Aligned for huge pages. */
	return ret ?: thp_get_unmapped_area(file, addr, size, pgoff, flags);
}

static ssize_t kvmfork_mem_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct kvmfork_mem *mem = iocb->ki_filp->private_data;
	loff_t size = i_size_read(mem->inode);
	ssize_t done = 0;

	while (iov_iter_count(to) && iocb->ki_pos < size) {
		unsigned int offset = offset_in_page(iocb->ki_pos);
		size_t want, got;
		struct page *page;

		want = min_t(size_t, PAGE_SIZE - offset, iov_iter_count(to));

		down_read(&mem->lock);
		page = kvmfork_tree_lookup(&mem->tree,
					   iocb->ki_pos >> PAGE_SHIFT).page;
		if (page)
			get_page(page);
		up_read(&mem->lock);

		if (page && PageHWPoison(page)) {
			put_page(page);
			return done ?: -EIO;
		}
		if (page) {
			got = copy_page_to_iter(page, offset, want, to);
			put_page(page);
		} else {
			got = iov_iter_zero(want, to);
		}
		iocb->ki_pos += got;
		done += got;
		if (got < want)
			return done ?: -EFAULT;
		if (fatal_signal_pending(current))
			return done ?: -EINTR;
		cond_resched();
	}
	return done;
}

/* Write within one page; @buf NULL: zeroes. */
static int kvmfork_mem_write_page(struct kvmfork_mem *mem, loff_t pos,
				  const void *buf, size_t len)
{
	unsigned long index = pos >> PAGE_SHIFT;
	struct kvmfork_slot slot;
	char *addr;
	int ret;

	for (;;) {
		/* Keeps a freeze out until the bytes are there. */
		down_read(&mem->lock);
		slot = kvmfork_tree_lookup(&mem->tree, index);
		if (kvmfork_mem_lock_writable(&slot, NULL))
			break;
		up_read(&mem->lock);
		ret = kvmfork_mem_make_private(mem, index, NULL);
		if (ret)
			return ret;
	}
	if (PageHWPoison(slot.page)) {
		unlock_page(slot.page);
		up_read(&mem->lock);
		return -EIO;
	}
	/*
	 * Dirty also without a writable mapping: the freeze must look at it,
	 * somebody may hold a reference.
	 */
	kvmfork_tree_mark_dirty(&mem->tree, index);
	unlock_page(slot.page);
	addr = kmap_local_page(slot.page);
	if (buf)
		memcpy(addr + offset_in_page(pos), buf, len);
	else
		memset(addr + offset_in_page(pos), 0, len);
	kunmap_local(addr);
	up_read(&mem->lock);
	return 0;
}

static ssize_t kvmfork_mem_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct kvmfork_mem *mem = iocb->ki_filp->private_data;
	loff_t size = i_size_read(mem->inode);
	ssize_t done = 0;
	int ret = 0;
	void *bounce;

	if (!iov_iter_count(from))
		return 0;
	if (iocb->ki_pos >= size)
		return -ENOSPC;
	iov_iter_truncate(from, size - iocb->ki_pos);

	/* The source may be this very file: never fault on it under a lock. */
	bounce = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!bounce)
		return -ENOMEM;

	while (iov_iter_count(from)) {
		size_t len = min_t(size_t, iov_iter_count(from),
				   PAGE_SIZE - offset_in_page(iocb->ki_pos));

		len = copy_from_iter(bounce, len, from);
		ret = len ? kvmfork_mem_write_page(mem, iocb->ki_pos, bounce, len) :
			    -EFAULT;
		if (ret)
			break;
		iocb->ki_pos += len;
		done += len;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	free_page((unsigned long)bounce);
	return done ?: ret;
}

/* First page at or after @index that is data, or the end. */
static unsigned long kvmfork_mem_seek_data(struct kvmfork_mem *mem,
					   unsigned long index)
{
	struct page *page;
	bool found;

	down_read(&mem->lock);
	found = kvmfork_tree_next(&mem->tree, &index, &page);
	up_read(&mem->lock);
	return found ? index : mem->nr_pages;
}

/* First page at or after @index that is a hole, or the end. */
static unsigned long kvmfork_mem_seek_hole(struct kvmfork_mem *mem,
					   unsigned long index)
{
	while (index < mem->nr_pages && !fatal_signal_pending(current)) {
		unsigned long stop = min(mem->nr_pages, index + SZ_4K);

		down_read(&mem->lock);
		while (index < stop &&
		       kvmfork_tree_lookup(&mem->tree, index).page)
			index++;
		up_read(&mem->lock);
		if (index < stop)
			break;
		cond_resched();
	}
	return index;
}

static loff_t kvmfork_mem_llseek(struct file *file, loff_t offset, int whence)
{
	struct kvmfork_mem *mem = file->private_data;
	loff_t size = i_size_read(mem->inode);
	unsigned long index;
	loff_t found;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_file_llseek_size(file, offset, whence,
						MAX_LFS_FILESIZE, size);
	if (offset < 0 || offset >= size)
		return -ENXIO;

	index = offset >> PAGE_SHIFT;
	index = whence == SEEK_DATA ? kvmfork_mem_seek_data(mem, index) :
				      kvmfork_mem_seek_hole(mem, index);
	found = max_t(loff_t, offset, (loff_t)index << PAGE_SHIFT);
	if (whence == SEEK_DATA && found >= size)
		return -ENXIO;
	return vfs_setpos(file, min(found, size), size);
}

/* Zero part of a page, without allocating one for a hole. */
static int kvmfork_mem_zero_part(struct kvmfork_mem *mem, loff_t pos, size_t len)
{
	struct page *page;

	if (!len)
		return 0;
	down_read(&mem->lock);
	page = kvmfork_tree_lookup(&mem->tree, pos >> PAGE_SHIFT).page;
	up_read(&mem->lock);
	return page ? kvmfork_mem_write_page(mem, pos, NULL, len) : 0;
}

static long kvmfork_mem_fallocate(struct file *file, int mode, loff_t offset,
				  loff_t len)
{
	struct kvmfork_mem *mem = file->private_data;
	loff_t size = i_size_read(mem->inode);
	loff_t end, first, last;
	int ret;

	if (mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (offset >= size)
		return 0;
	end = min(offset + len, size);

	/* Whole pages: from first up to, not including, last. */
	first = round_up(offset, PAGE_SIZE);
	last = round_down(end, PAGE_SIZE);
	if (first > last)
		return kvmfork_mem_zero_part(mem, offset, end - offset);

	ret = kvmfork_mem_zero_part(mem, offset, first - offset);
	if (!ret)
		ret = kvmfork_mem_zero_part(mem, last, end - last);
	if (!ret && first < last)
		ret = kvmfork_mem_punch(mem, first >> PAGE_SHIFT,
					(last >> PAGE_SHIFT) - 1);
	return ret;
}

static void kvmfork_mem_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct kvmfork_mem *mem = file->private_data;
	unsigned long total, private, huge;

	down_read(&mem->lock);
	total = mem->tree.nr_pages;
	private = kvmfork_tree_count_private(&mem->tree);
	up_read(&mem->lock);
	huge = kvmfork_mem_count_huge(mem);

	seq_printf(m, "kvmfork-size:\t%lu kB\n", mem->nr_pages << (PAGE_SHIFT - 10));
	seq_printf(m, "kvmfork-private:\t%lu kB\n", private << (PAGE_SHIFT - 10));
	seq_printf(m, "kvmfork-shared:\t%lu kB\n",
		   (total - private) << (PAGE_SHIFT - 10));
	seq_printf(m, "kvmfork-huge:\t%lu kB\n",
		   huge << (KVMFORK_HUGE_ORDER + PAGE_SHIFT - 10));
	seq_printf(m, "kvmfork-huge-missed:\t%lld\n",
		   atomic64_read(&mem->nr_huge_missed));
	seq_printf(m, "kvmfork-freezes:\t%lld\n", atomic64_read(&mem->nr_freezes));
}

static int kvmfork_mem_release(struct inode *inode, struct file *file)
{
	struct kvmfork_mem *mem = file->private_data;

	kvmfork_tree_destroy(&mem->tree);
	if (mem->zero)
		put_page(mem->zero);
	kfree(mem);
	kvmfork_fs_release();
	return 0;
}

const struct file_operations kvmfork_mem_fops = {
	.owner		= THIS_MODULE,
	.llseek		= kvmfork_mem_llseek,
	.read_iter	= kvmfork_mem_read_iter,
	.write_iter	= kvmfork_mem_write_iter,
	.fallocate	= kvmfork_mem_fallocate,
	.fsync		= noop_fsync,
	.COMPAT_FOP_MMAP = kvmfork_mem_mmap,
	.get_unmapped_area = kvmfork_mem_get_area,
	.unlocked_ioctl	= kvmfork_mem_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.show_fdinfo	= kvmfork_mem_show_fdinfo,
	.release	= kvmfork_mem_release,
};

static struct file *kvmfork_mem_open(unsigned long nr_pages, u64 flags,
				     const struct kvmfork_frozen *frozen)
{
	struct kvmfork_mem *mem = kzalloc(sizeof(*mem), GFP_KERNEL_ACCOUNT);
	struct file *file;

	if (!mem)
		return ERR_PTR(-ENOMEM);
	init_rwsem(&mem->lock);
	mem->nr_pages = nr_pages;
	mem->missed = ULONG_MAX;
	mem->flags = flags;
	kvmfork_tree_init(&mem->tree, nr_pages);

	file = kvmfork_fs_open("[kvmfork-memory]", &kvmfork_mem_fops,
			       (loff_t)nr_pages << PAGE_SHIFT, mem);
	if (IS_ERR(file)) {
		kfree(mem);
		return file;
	}
	mem->inode = file_inode(file);
	if (frozen) {
		kvmfork_tree_share(&mem->tree, &frozen->tree);
		inode_set_bytes(mem->inode,
				(loff_t)mem->tree.nr_pages << PAGE_SHIFT);
	}
	return file;
}

struct file *kvmfork_mem_create(unsigned long nr_pages, u64 flags)
{
	return kvmfork_mem_open(nr_pages, flags, NULL);
}

struct file *kvmfork_mem_spawn(const struct kvmfork_frozen *frozen)
{
	return kvmfork_mem_open(frozen->nr_pages, frozen->flags, frozen);
}

struct kvmfork_mem *kvmfork_mem_from_file(struct file *file)
{
	return file->f_op == &kvmfork_mem_fops ? file->private_data : NULL;
}
