// SPDX-License-Identifier: GPL-2.0-only
/* Scratch memory. See scratch.h. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/highmem.h>
#include <linux/mman.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "compat/compat.h"
#include "scratch.h"

#define NR_PAGES	(KVMFORK_SCRATCH_SIZE / PAGE_SIZE)

struct kvmfork_scratch_area {
	struct hlist_node link;		/* areas_lock; unhashed: of one call only */
	struct mm_struct *mm;		/* whose it is; its struct is held */
	struct file *file;		/* behind the mapping; owns this struct */
	unsigned int users;		/* areas_lock */
	bool busy;			/* areas_lock; a call has it */
	unsigned long addr;		/* areas_lock; 0: not mapped */
	spinlock_t pages_lock;
	struct page *pages[NR_PAGES];	/* pages_lock */
};

/*
 * By address space. The lock is taken below mmap_lock, when a mapping goes, and
 * nothing is taken below it.
 */
static DEFINE_HASHTABLE(areas, 6);
static DEFINE_SPINLOCK(areas_lock);

static int area_add_page(struct kvmfork_scratch_area *area, unsigned long i)
{
	struct page *page = alloc_page(GFP_HIGHUSER | __GFP_ZERO | __GFP_ACCOUNT);

	if (!page)
		return -ENOMEM;
	spin_lock(&area->pages_lock);
	if (!area->pages[i])
		swap(area->pages[i], page);
	spin_unlock(&area->pages_lock);
	if (page)
		put_page(page);
	return 0;
}

static vm_fault_t area_fault(struct vm_fault *vmf)
{
	struct kvmfork_scratch_area *area = vmf->vma->vm_file->private_data;

	if (vmf->pgoff >= NR_PAGES)
		return VM_FAULT_SIGBUS;
	if (!READ_ONCE(area->pages[vmf->pgoff]) &&
	    area_add_page(area, vmf->pgoff))
		return VM_FAULT_OOM;
	vmf->page = area->pages[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

/* A copy that mremap() gives up again has another address. */
static void area_close(struct vm_area_struct *vma)
{
	struct kvmfork_scratch_area *area = vma->vm_file->private_data;

	spin_lock(&areas_lock);
	if (area->addr == vma->vm_start)
		area->addr = 0;
	spin_unlock(&areas_lock);
}

/* In one piece or not at all. */
static int area_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static int area_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static const struct vm_operations_struct area_vm_ops = {
	.fault		= area_fault,
	.close		= area_close,
	.may_split	= area_may_split,
	.mremap		= area_mremap,
};

static int area_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct kvmfork_scratch_area *area = file->private_data;

	/* remap_file_pages() would show other pages at the same address. */
	if (vma->vm_pgoff || vma_pages(vma) != NR_PAGES)
		return -EINVAL;
	compat_vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &area_vm_ops;
	spin_lock(&areas_lock);
	area->addr = vma->vm_start;
	spin_unlock(&areas_lock);
	return 0;
}

static int area_release(struct inode *inode, struct file *file)
{
	struct kvmfork_scratch_area *area = file->private_data;
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		if (area->pages[i])
			put_page(area->pages[i]);
	mmdrop(area->mm);
	kfree(area);
	return 0;
}

static const struct file_operations area_fops = {
	.owner		= THIS_MODULE,
	.mmap		= area_mmap,
	.release	= area_release,
};

static struct kvmfork_scratch_area *area_create(void)
{
	struct kvmfork_scratch_area *area;
	struct file *file;

	area = kzalloc(sizeof(*area), GFP_KERNEL_ACCOUNT);
	if (!area)
		return ERR_PTR(-ENOMEM);
	INIT_HLIST_NODE(&area->link);
	spin_lock_init(&area->pages_lock);
	area->users = 1;
	file = anon_inode_getfile("[kvmfork-scratch]", &area_fops, area, O_RDWR);
	if (IS_ERR(file)) {
		kfree(area);
		return ERR_CAST(file);
	}
	area->file = file;
	area->mm = current->mm;
	mmgrab(area->mm);
	return area;
}

static struct kvmfork_scratch_area *area_find(void)
{
	struct kvmfork_scratch_area *area;

	lockdep_assert_held(&areas_lock);
	hash_for_each_possible(areas, area, link, (unsigned long)current->mm)
		if (area->mm == current->mm)
			return area;
	return NULL;
}

/* The kept area of current->mm, or a new one, with one user more. */
static struct kvmfork_scratch_area *area_get(void)
{
	struct kvmfork_scratch_area *area, *found, *new = NULL;

	for (;;) {
		spin_lock(&areas_lock);
		found = area_find();
		if (found) {
			area = found;
			area->users++;
		} else {
			area = new;
			if (new)
				hash_add(areas, &new->link,
					 (unsigned long)new->mm);
		}
		spin_unlock(&areas_lock);
		if (found && new)
			fput(new->file);
		if (area)
			return area;
		new = area_create();
		if (IS_ERR(new))
			return new;
	}
}

static int area_map(struct kvmfork_scratch_area *area, unsigned long *addr)
{
	*addr = READ_ONCE(area->addr);
	if (!*addr)
		*addr = vm_mmap(area->file, 0, KVMFORK_SCRATCH_SIZE,
				PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	return IS_ERR_VALUE(*addr) ? (int)*addr : 0;
}

/* From another address space nothing can be unmapped: it goes with that. */
static void area_unmap(struct kvmfork_scratch_area *area)
{
	unsigned long addr = READ_ONCE(area->addr);

	if (addr && current->mm == area->mm)
		vm_munmap(addr, KVMFORK_SCRATCH_SIZE);
}

void kvmfork_scratch_drop(struct kvmfork_scratch_area *area)
{
	bool last;

	spin_lock(&areas_lock);
	last = !--area->users;
	if (last)
		hash_del(&area->link);
	spin_unlock(&areas_lock);
	if (!last)
		return;
	area_unmap(area);
	fput(area->file);
}

struct kvmfork_scratch_area *kvmfork_scratch_hold(void)
{
	struct kvmfork_scratch_area *area = area_get();
	unsigned long addr;
	int ret;

	if (IS_ERR(area))
		return area;
	/* Mapped by whoever is first, so that calls leave nothing new behind. */
	spin_lock(&areas_lock);
	ret = area->busy || area->addr ? -EBUSY : 0;
	area->busy |= !ret;
	spin_unlock(&areas_lock);
	if (ret)
		return area;
	ret = area_map(area, &addr);
	spin_lock(&areas_lock);
	area->busy = false;
	spin_unlock(&areas_lock);
	if (!ret)
		return area;
	kvmfork_scratch_drop(area);
	return ERR_PTR(ret);
}

/* When another thread has the one that is kept, it is a new one. */
int kvmfork_scratch_get(struct kvmfork_scratch *scratch)
{
	struct kvmfork_scratch_area *area = area_get();
	bool busy;
	int ret;

	if (IS_ERR(area))
		return PTR_ERR(area);
	spin_lock(&areas_lock);
	busy = area->busy;
	area->busy = true;
	spin_unlock(&areas_lock);
	if (busy) {
		kvmfork_scratch_drop(area);
		area = area_create();
		if (IS_ERR(area))
			return PTR_ERR(area);
	}
	scratch->area = area;
	ret = area_map(area, &scratch->addr);
	if (ret)
		kvmfork_scratch_put(scratch);
	return ret;
}

int kvmfork_scratch_fill(struct kvmfork_scratch *scratch, size_t size)
{
	struct kvmfork_scratch_area *area = scratch->area;
	unsigned long i;
	int ret = 0;

	if (WARN_ON_ONCE(size > KVMFORK_SCRATCH_SIZE))
		return -E2BIG;
	for (i = 0; !ret && i < DIV_ROUND_UP(size, PAGE_SIZE); i++)
		if (!READ_ONCE(area->pages[i]))
			ret = area_add_page(area, i);
	return ret;
}

int kvmfork_scratch_write(struct kvmfork_scratch *scratch, const void *data,
			  size_t size)
{
	int ret = kvmfork_scratch_fill(scratch, size);
	size_t done, part;

	for (done = 0; !ret && done < size; done += part) {
		part = min(size - done, PAGE_SIZE);
		memcpy_to_page(scratch->area->pages[done / PAGE_SIZE], 0,
			       data + done, part);
	}
	return ret;
}

void kvmfork_scratch_read(struct kvmfork_scratch *scratch, void *data,
			  size_t size)
{
	size_t done, part;

	for (done = 0; done < size; done += part) {
		part = min(size - done, PAGE_SIZE);
		memcpy_from_page(data + done,
				 scratch->area->pages[done / PAGE_SIZE], 0, part);
	}
}

void kvmfork_scratch_put(struct kvmfork_scratch *scratch)
{
	spin_lock(&areas_lock);
	scratch->area->busy = false;
	spin_unlock(&areas_lock);
	kvmfork_scratch_drop(scratch->area);
}

void kvmfork_scratch_move(unsigned long addr, unsigned long size)
{
	struct kvmfork_scratch_area *area;
	struct kvmfork_scratch scratch;

	spin_lock(&areas_lock);
	area = area_find();
	if (area && (area->busy || area->addr >= addr + size ||
		     area->addr + KVMFORK_SCRATCH_SIZE <= addr))
		area = NULL;
	if (area) {
		area->busy = true;
		area->users++;
	}
	spin_unlock(&areas_lock);
	if (!area)
		return;
	area_unmap(area);
	scratch.area = area;
	kvmfork_scratch_put(&scratch);
}
