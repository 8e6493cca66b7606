// SPDX-License-Identifier: GPL-2.0-only
/* Comparing memory files: KVMFORK_DIFF. */
#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "args.h"
#include "mem.h"

/* Pages compared under the locks at a time: a page of bits. */
#define CHUNK	(PAGE_SIZE * BITS_PER_BYTE)

struct bits {
	unsigned long first;	/* page number of bit 0 */
	unsigned long *map;
};

static void note_page(void *arg, unsigned long index, struct page *one,
		      struct page *other)
{
	struct bits *bits = arg;

	__set_bit(index - bits->first, bits->map);
}

/* Two locks of a kind: always the one at the lower address first. */
static void lock_both(struct kvmfork_mem *one, struct kvmfork_mem *other)
{
	if (one > other)
		swap(one, other);
	down_read(&one->lock);
	if (one != other)
		down_read_nested(&other->lock, SINGLE_DEPTH_NESTING);
}

static void unlock_both(struct kvmfork_mem *one, struct kvmfork_mem *other)
{
	up_read(&one->lock);
	if (one != other)
		up_read(&other->lock);
}

/* User memory is only touched without the locks: it may be one of these. */
static int diff(struct kvmfork_mem *one, struct kvmfork_mem *other,
		struct kvmfork_diff *args)
{
	u64 __user *to = u64_to_user_ptr(args->bitmap);
	unsigned long index = args->offset >> PAGE_SHIFT;
	unsigned long end = (args->offset + args->size) >> PAGE_SHIFT;
	struct bits bits;
	int ret = 0;

	bits.map = (unsigned long *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!bits.map)
		return -ENOMEM;

	args->nr_pages = 0;
	while (!ret && index < end) {
		unsigned long nr = min(end - index, CHUNK);
		size_t words = BITS_TO_LONGS(nr);

		bits.first = index;
		bitmap_zero(bits.map, CHUNK);
		lock_both(one, other);
		kvmfork_tree_diff(&one->tree, &other->tree, index,
				  index + nr - 1, note_page, &bits);
		unlock_both(one, other);
		args->nr_pages += bitmap_weight(bits.map, nr);
		if (copy_to_user(to, bits.map, words * sizeof(*to)))
			ret = -EFAULT;
		else if (fatal_signal_pending(current))
			ret = -EINTR;
		to += words;
		index += nr;
		cond_resched();
	}
	free_page((unsigned long)bits.map);
	return ret;
}

static int check_range(const struct kvmfork_mem *one,
		       const struct kvmfork_mem *other,
		       const struct kvmfork_diff *args)
{
	u64 size = (u64)one->nr_pages << PAGE_SHIFT;

	if (one->nr_pages != other->nr_pages || !args->size ||
	    !PAGE_ALIGNED(args->offset) || !PAGE_ALIGNED(args->size) ||
	    args->offset >= size || args->size > size - args->offset)
		return -EINVAL;
	return 0;
}

static long ioctl_diff(struct kvmfork_mem *mem, struct kvmfork_args *from)
{
	struct kvmfork_diff args;
	struct kvmfork_mem *other;
	struct file *file;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	if (args.flags)
		return -EINVAL;
	file = fget(args.other_fd);
	if (!file)
		return -EBADF;
	other = kvmfork_mem_from_file(file);
	ret = other ? check_range(mem, other, &args) : -EBADF;
	ret = ret ?: diff(mem, other, &args);
	fput(file);
	return ret ?: kvmfork_args_put(from, 0, &args, sizeof(args));
}

long kvmfork_mem_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kvmfork_args args;

	switch (kvmfork_args_init(&args, cmd, arg)) {
	case KVMFORK_CMD(KVMFORK_DIFF):
		return ioctl_diff(file->private_data, &args);
	default:
		return -ENOTTY;
	}
}
