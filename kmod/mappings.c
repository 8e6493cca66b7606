// SPDX-License-Identifier: GPL-2.0-only
/* Which memory files are behind the slots of a VM, and where. */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "template.h"

struct search {
	struct kvmfork_template *template;
	struct file **files;
	u32 nr_files;
	struct kvmfork_report *report;
};

/* The index of @file in the list, where it is put if it is new. */
static u32 search_file(struct search *search, struct file *file)
{
	u32 i;

	for (i = 0; i < search->nr_files; i++)
		if (search->files[i] == file)
			return i;
	search->files[search->nr_files++] = get_file(file);
	return i;
}

/* The slot that begins at @addr, for a message. */
static u32 slot_at(const struct kvmfork_template *template, unsigned long addr)
{
	const struct kvmfork_shape *shape = &template->shape;
	u32 i;

	for (i = 0; i + 1 < shape->nr_slots; i++)
		if (shape->slots[i].userspace_addr == addr)
			break;
	return shape->slots[i].slot;
}

/* All of a slot must be one stretch of one memory file, mapped shared. */
static int search_slot(struct search *search,
		       struct kvmfork_template_mapping *mapping)
{
	unsigned long addr = mapping->addr;
	unsigned long end = addr + mapping->size;
	struct file *file = NULL;

	mmap_assert_locked(current->mm);
	while (addr < end) {
		struct vm_area_struct *vma = find_vma(current->mm, addr);
		u64 offset;

		if (!vma || vma->vm_start > addr || !vma->vm_file ||
		    !kvmfork_mem_from_file(vma->vm_file))
			goto other;
		offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) +
			 (addr - vma->vm_start);
		if (!file) {
			file = vma->vm_file;
			mapping->offset = offset;
			mapping->memory = search_file(search, file);
		} else if (vma->vm_file != file ||
			   offset != mapping->offset + (addr - mapping->addr)) {
			goto other;
		}
		addr = vma->vm_end;
	}
	return 0;
other:
	return kvmfork_report(search->report, -EMEDIUMTYPE,
			      "slot %u: address %#lx is not one stretch of forkable memory (see KVMFORK_CONVERT)",
			      slot_at(search->template, mapping->addr), addr);
}

static int compare_addr(const void *a, const void *b)
{
	const struct kvmfork_template_mapping *left = a, *right = b;

	return left->addr < right->addr ? -1 : left->addr > right->addr;
}

void kvmfork_mappings_sort(struct kvmfork_template *template)
{
	sort(template->mappings, template->nr_mappings,
	     sizeof(*template->mappings), compare_addr, NULL);
}

bool kvmfork_mappings_merge(struct kvmfork_template *template)
{
	struct kvmfork_template_mapping *last = NULL, *next;
	u32 i, nr = 0;

	for (i = 0; i < template->nr_mappings; i++) {
		next = &template->mappings[i];
		if (last && last->memory == next->memory &&
		    next->addr <= last->addr + last->size &&
		    next->offset - last->offset == next->addr - last->addr) {
			last->size = max(last->size,
					 next->addr + next->size - last->addr);
			continue;
		}
		if (last && next->addr < last->addr + last->size)
			return false;
		last = &template->mappings[nr++];
		*last = *next;
	}
	template->nr_mappings = nr;
	return true;
}

int kvmfork_mappings_find(struct kvmfork_template *template,
			  struct file ***files, u32 *nr_files,
			  struct kvmfork_report *report)
{
	const struct kvmfork_shape *shape = &template->shape;
	struct search search = { .template = template, .report = report };
	int ret = 0;
	u32 i;

	*files = NULL;
	*nr_files = 0;
	if (!shape->nr_slots)
		return 0;

	template->mappings = kvcalloc(shape->nr_slots,
				      sizeof(*template->mappings),
				      GFP_KERNEL_ACCOUNT);
	search.files = kvcalloc(shape->nr_slots, sizeof(*search.files),
				GFP_KERNEL_ACCOUNT);
	if (!template->mappings || !search.files) {
		kvfree(search.files);
		return -ENOMEM;
	}

	for (i = 0; i < shape->nr_slots; i++) {
		template->mappings[i].addr = shape->slots[i].userspace_addr;
		template->mappings[i].size = shape->slots[i].memory_size;
	}
	template->nr_mappings = shape->nr_slots;
	/* Memories get their numbers in this order. */
	kvmfork_mappings_sort(template);
	ret = mmap_read_lock_killable(current->mm);
	if (!ret) {
		for (i = 0; !ret && i < shape->nr_slots; i++)
			ret = search_slot(&search, &template->mappings[i]);
		mmap_read_unlock(current->mm);
	}

	/* The caller puts them, in any case. */
	*files = search.files;
	*nr_files = search.nr_files;
	if (!ret)
		kvmfork_mappings_merge(template);
	return ret;
}

const struct kvmfork_template_mapping *
kvmfork_mappings_at(const struct kvmfork_template *template, unsigned long addr)
{
	u32 low = 0, high = template->nr_mappings;

	/* The last mapping that starts at or below addr. */
	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (template->mappings[middle].addr <= addr)
			low = middle;
		else
			high = middle;
	}
	return &template->mappings[low];
}

u32 kvmfork_mappings_memory(const struct kvmfork_template *template,
			    const struct kvm_userspace_memory_region *slot,
			    u64 *offset)
{
	const struct kvmfork_template_mapping *m =
		kvmfork_mappings_at(template, slot->userspace_addr);

	*offset = m->offset + (slot->userspace_addr - m->addr);
	return m->memory;
}
