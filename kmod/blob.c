// SPDX-License-Identifier: GPL-2.0-only
/* Reading a state from user memory. See blob.h. */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "blob.h"

int kvmfork_blob_refuse(const struct kvmfork_blob *blob, int err,
			const char *format, ...)
{
	struct va_format text = { .fmt = format };
	va_list args;

	va_start(args, format);
	text.va = &args;
	kvmfork_report(blob->report, err, "state, offset %llu: %pV", blob->pos,
		       &text);
	va_end(args);
	return err;
}

static bool listed(const struct kvmfork_record_type *const *types, u32 id)
{
	for (; *types; types++)
		if ((*types)->id == id)
			return true;
	return false;
}

int kvmfork_blob_miss(const struct kvmfork_blob *blob, const char *name)
{
	u32 type = blob->record.type;

	if (!type)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "it ends where %s should be", name);
	if (type <= KVMFORK_STATE_CLOCK || listed(kvmfork_vcpu_records, type) ||
	    listed(kvmfork_device_records, type))
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "type %#x, vCPU %#x, where %s should be",
					   type, blob->record.vcpu, name);
	return kvmfork_blob_refuse(blob, -EOPNOTSUPP,
				   "records of type %#x are not known", type);
}

/* The bytes at @offset behind blob->pos, which are there. */
static int read_at(const struct kvmfork_blob *blob, u64 offset, void *to,
		   size_t size)
{
	if (copy_from_user(to, blob->from + blob->pos + offset, size))
		return -EFAULT;
	return 0;
}

/* Look at the record at blob->pos. */
static int read_record(struct kvmfork_blob *blob)
{
	u64 left = blob->size - blob->pos;
	int ret;

	memset(&blob->record, 0, sizeof(blob->record));
	if (!left)
		return 0;
	if (left < sizeof(blob->record))
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "it ends within a record");
	ret = read_at(blob, 0, &blob->record, sizeof(blob->record));
	if (ret)
		return ret;
	if (!blob->record.type)
		return kvmfork_blob_refuse(blob, -EINVAL, "type is zero");
	if (blob->record.reserved)
		return kvmfork_blob_refuse(blob, -EINVAL, "reserved is not zero");
	if (round_up((u64)blob->record.size, KVMFORK_STATE_ALIGN) >
	    left - sizeof(blob->record))
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "a size of %u is more than there is",
					   blob->record.size);
	return 0;
}

int kvmfork_blob_open(struct kvmfork_blob *blob)
{
	struct kvmfork_state_header header;
	int ret;

	blob->pos = 0;
	if (blob->size < sizeof(header))
		return kvmfork_blob_refuse(blob, -EINVAL, "it is too short");
	ret = read_at(blob, 0, &header, sizeof(header));
	if (ret)
		return ret;
	if (memcmp(header.magic, KVMFORK_STATE_MAGIC, sizeof(header.magic)))
		return kvmfork_blob_refuse(blob, -EINVAL, "this is not a state");
	if (header.version > KVMFORK_STATE_VERSION)
		return kvmfork_blob_refuse(blob, -EOPNOTSUPP,
					   "version %u is newer than this module's, %u",
					   header.version, KVMFORK_STATE_VERSION);
	if (!header.version || header.reserved)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "version is zero, or reserved is not");
	if (header.size != blob->size)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "it says that it has %llu bytes, not %llu",
					   header.size, blob->size);
	blob->pos = sizeof(header);
	return read_record(blob);
}

bool kvmfork_blob_is(const struct kvmfork_blob *blob, u32 type, u32 vcpu)
{
	return blob->record.type == type && blob->record.vcpu == vcpu;
}

int kvmfork_blob_take(struct kvmfork_blob *blob, void *to)
{
	u32 size = blob->record.size;
	u32 padded = round_up(size, KVMFORK_STATE_ALIGN);
	u8 padding[KVMFORK_STATE_ALIGN];
	int ret;

	ret = read_at(blob, sizeof(blob->record), to, size);
	ret = ret ?: read_at(blob, sizeof(blob->record) + size, padding,
			     padded - size);
	if (ret)
		return ret;
	if (memchr_inv(padding, 0, padded - size))
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "what is behind the payload is not zero");
	blob->pos += sizeof(blob->record) + padded;
	return read_record(blob);
}

int kvmfork_blob_take_vm(struct kvmfork_blob *blob, u32 type, const char *name,
			 void *to, u32 size)
{
	if (!kvmfork_blob_is(blob, type, KVMFORK_STATE_VM))
		return kvmfork_blob_miss(blob, name);
	if (blob->record.size != size)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "%s: it has %u bytes, not %u", name,
					   blob->record.size, size);
	return kvmfork_blob_take(blob, to);
}

int kvmfork_blob_take_array(struct kvmfork_blob *blob, u32 type,
			    const char *name, size_t size, u32 max,
			    void **to, u32 *nr)
{
	u32 count = blob->record.size / size;
	void *array = NULL;
	int ret;

	if (!kvmfork_blob_is(blob, type, KVMFORK_STATE_VM))
		return kvmfork_blob_miss(blob, name);
	if (blob->record.size % size)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "%s: it is not whole entries", name);
	if (count > max)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "%s: %u are more than %u", name,
					   count, max);
	if (count) {
		array = kvmalloc_array(count, size, GFP_KERNEL_ACCOUNT);
		if (!array)
			return -ENOMEM;
	}
	ret = kvmfork_blob_take(blob, array);
	if (ret) {
		kvfree(array);
		return ret;
	}
	*to = array;
	*nr = count;
	return 0;
}
