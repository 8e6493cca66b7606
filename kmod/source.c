// SPDX-License-Identifier: GPL-2.0-only
/* Memory that is not of this module. See source.h. */
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/pkeys.h>
#include <linux/userfaultfd_k.h>
#include <linux/xarray.h>

#include "compat/compat.h"
#include "source.h"

/* Also of memfd_create() and MAP_SHARED | MAP_ANONYMOUS. */
static bool is_tmpfs(const struct vm_area_struct *vma)
{
	return vma->vm_file &&
	       file_inode(vma->vm_file)->i_sb->s_magic == TMPFS_MAGIC;
}

/* Writes through the mapping are the file's, or might be after an mprotect(). */
static bool writes_to_file(const struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_SHARED) && (vma->vm_flags & VM_MAYWRITE);
}

static bool same_pages(struct vm_area_struct *a, struct vm_area_struct *b)
{
	return a->vm_pgoff < b->vm_pgoff + vma_pages(b) &&
	       b->vm_pgoff < a->vm_pgoff + vma_pages(a);
}

/* Others that map these pages would no longer see what is written here. */
static const char *refuse_aliases(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	const char *reason = NULL;
	struct rb_node *node;

	i_mmap_lock_read(mapping);
	for (node = rb_first_cached(&mapping->i_mmap); node && !reason;
	     node = rb_next(node)) {
		struct vm_area_struct *other =
			rb_entry(node, struct vm_area_struct, shared.rb);

		if (other == vma || !same_pages(vma, other))
			continue;
		reason = other->vm_mm == vma->vm_mm ?
			 "mapped twice" : "mapped by another process, too";
	}
	i_mmap_unlock_read(mapping);
	return reason;
}

static const char *refuse_file(struct vm_area_struct *vma)
{
	struct inode *inode = vma->vm_file ? file_inode(vma->vm_file) : NULL;

	if (!inode || !S_ISREG(inode->i_mode) || IS_DAX(inode))
		return "a device's";
	if (!writes_to_file(vma))
		return NULL;
	if (!is_tmpfs(vma))
		return "a shared mapping of a file, which would no longer be written";
	return refuse_aliases(vma);
}

static bool has_policy(const struct vm_area_struct *vma)
{
#ifdef CONFIG_NUMA
	return vma->vm_policy;
#else
	return false;
#endif
}

const char *kvmfork_source_refuse(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
	if (vma->vm_flags & VM_HUGETLB)
		return "of hugetlbfs";
	if (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP))
		return "a device's";
	if (userfaultfd_armed(vma))
		return "registered with userfaultfd";
	if (vma->vm_flags & COMPAT_VM_SEALED)
		return "sealed (mseal)";
	if (vma->vm_flags & COMPAT_VM_MAYBE_GUARD)
		return "with guard pages (MADV_GUARD_INSTALL)";
	if (vma->vm_flags & VM_WIPEONFORK)
		return "marked MADV_WIPEONFORK";
	if (vma->vm_flags & (VM_GROWSDOWN | VM_GROWSUP))
		return "a stack";
	if (vma->vm_flags & VM_EXEC)
		return "executable";
	if (!(vma->vm_flags & VM_READ))
		return "not readable";
	if (vma_pkey(vma))
		return "under a protection key";
	if (has_policy(vma))
		return "under a NUMA policy (mbind)";
	return vma_is_anonymous(vma) ? NULL : refuse_file(vma);
}

/*
 * The next page table entry that is not empty. As KVM does it, with interrupts
 * off, which keeps page tables from being freed, and reading each level once,
 * since it may turn into a huge page.
 */
static unsigned long next_entry(struct mm_struct *mm, unsigned long addr,
				unsigned long end)
{
	pgd_t pgd = READ_ONCE(*pgd_offset(mm, addr));
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;
	pte_t *pte;

	if (pgd_none(pgd))
		return pgd_addr_end(addr, end);
	p4d = READ_ONCE(*p4d_offset(&pgd, addr));
	if (p4d_none(p4d))
		return p4d_addr_end(addr, end);
	pud = READ_ONCE(*pud_offset(&p4d, addr));
	if (pud_none(pud))
		return pud_addr_end(addr, end);
	if (pud_leaf(pud) || !pud_present(pud))
		return addr;
	pmd = READ_ONCE(*pmd_offset(&pud, addr));
	if (pmd_none(pmd))
		return pmd_addr_end(addr, end);
	if (pmd_leaf(pmd) || !pmd_present(pmd))
		return addr;
	end = pmd_addr_end(addr, end);
	for (pte = pte_offset_kernel(&pmd, addr); addr < end; pte++) {
		if (!pte_none(READ_ONCE(*pte)))
			break;
		addr += PAGE_SIZE;
	}
	return addr;
}

static unsigned long next_in_tables(struct mm_struct *mm, unsigned long addr,
				    unsigned long end)
{
	unsigned long next;

	while (addr < end && !fatal_signal_pending(current)) {
		local_irq_disable();
		next = next_entry(mm, addr, end);
		local_irq_enable();
		/* A table without an entry leads to the start of the next. */
		if (next == addr || !IS_ALIGNED(next, PMD_SIZE))
			return next;
		addr = next;
		cond_resched();
	}
	return addr;
}

static pgoff_t page_number(const struct vm_area_struct *vma, unsigned long addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

/* The next page in the cache of a tmpfs file, or its swap entry. */
static unsigned long next_in_cache(struct vm_area_struct *vma,
				   unsigned long addr, unsigned long end)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	unsigned long index = page_number(vma, addr);

	if (addr >= end || !xa_find(&mapping->i_pages, &index,
				    page_number(vma, end - 1), XA_PRESENT))
		return end;
	return addr + ((index - page_number(vma, addr)) << PAGE_SHIFT);
}

unsigned long kvmfork_source_next(struct vm_area_struct *vma,
				  unsigned long addr, unsigned long end)
{
	unsigned long next;
	loff_t size;

	if (is_tmpfs(vma) && (vma->vm_flags & VM_MAYSHARE))
		return next_in_cache(vma, addr, end);
	if (vma_is_anonymous(vma) || is_tmpfs(vma)) {
		next = next_in_tables(vma->vm_mm, addr, end);
		return vma_is_anonymous(vma) ? next :
					       next_in_cache(vma, addr, next);
	}
	/* What is not in memory is in the file; beyond that there is nothing. */
	size = i_size_read(file_inode(vma->vm_file));
	if (page_number(vma, addr) >= DIV_ROUND_UP(size, PAGE_SIZE))
		return end;
	return addr;
}

/* May somebody who has pinned @page write to it? */
static bool is_pinned(struct vm_area_struct *vma, struct page *page)
{
	struct folio *folio = page_folio(page);

	/* What many share may look pinned, and is not written. */
	if (folio_test_ksm(folio))
		return false;
	if (!folio_test_anon(folio) && !writes_to_file(vma))
		return false;
	return folio_maybe_dma_pinned(folio);
}

struct page *kvmfork_source_page(struct vm_area_struct *vma,
				 unsigned long addr, bool may_fault)
{
	struct page *page;
	long ret;

	ret = compat_get_user_page(addr, may_fault ? 0 : FOLL_NOFAULT, &page);
	if (ret == -EFAULT)
		return ERR_PTR(may_fault ? -EIO : -EAGAIN);
	if (ret < 0)
		return ERR_PTR(ret);
	if (ret != 1)
		return ERR_PTR(-EINTR);
	if (page == ZERO_PAGE(addr)) {
		put_page(page);
		return NULL;
	}
	ret = 0;
	if (PageHWPoison(page))
		ret = -EHWPOISON;
	else if (is_pinned(vma, page))
		ret = -EBUSY;
	if (!ret)
		return page;
	put_page(page);
	return ERR_PTR(ret);
}
