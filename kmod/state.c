// SPDX-License-Identifier: GPL-2.0-only
/* Lists of KVM state. See state.h. */
#include <linux/sizes.h>
#include <linux/slab.h>

#include "state.h"

/* All records of a vCPU fit into two of these: few allocations for a freeze. */
#define CHUNK_SIZE	SZ_8K

struct chunk {
	struct list_head link;
	size_t room;
	size_t used;
	/* Zeroed; none is used twice. */
	u8 data[] __aligned(8);
};

void kvmfork_state_init(struct kvmfork_state *state)
{
	INIT_LIST_HEAD(&state->records);
	INIT_LIST_HEAD(&state->chunks);
}

/* A chunk with @size bytes left. */
static struct chunk *chunk_with_room(struct kvmfork_state *state, size_t size)
{
	struct chunk *chunk;
	size_t room;

	if (!list_empty(&state->chunks)) {
		chunk = list_last_entry(&state->chunks, struct chunk, link);
		if (chunk->room - chunk->used >= size)
			return chunk;
	}
	room = max_t(size_t, CHUNK_SIZE - sizeof(*chunk), size);
	chunk = kvzalloc(struct_size(chunk, data, room), GFP_KERNEL_ACCOUNT);
	if (!chunk)
		return NULL;
	chunk->room = room;
	list_add_tail(&chunk->link, &state->chunks);
	return chunk;
}

struct kvmfork_record *
kvmfork_state_add(struct kvmfork_state *state,
		  const struct kvmfork_record_type *type, u32 size)
{
	struct kvmfork_record *record;
	size_t total = round_up(struct_size(record, data, size), 8);
	struct chunk *chunk = chunk_with_room(state, total);

	if (!chunk)
		return NULL;
	record = (void *)(chunk->data + chunk->used);
	chunk->used += total;
	record->type = type;
	record->size = size;
	list_add_tail(&record->link, &state->records);
	return record;
}

struct kvmfork_record *kvmfork_state_last(struct kvmfork_state *state)
{
	return list_last_entry(&state->records, struct kvmfork_record, link);
}

void kvmfork_state_drop_last(struct kvmfork_state *state)
{
	list_del(&kvmfork_state_last(state)->link);
}

void kvmfork_state_destroy(struct kvmfork_state *state)
{
	struct chunk *chunk, *next;

	list_for_each_entry_safe(chunk, next, &state->chunks, link)
		kvfree(chunk);
	kvmfork_state_init(state);
}

int kvmfork_target_report(struct kvmfork_target *target, const char *what,
			  int err)
{
	return kvmfork_report(target->report, err, "%s %u: %s: error %d",
			      target->name, target->id, what, err);
}

int kvmfork_state_save_sized(struct kvmfork_target *target,
			     struct kvmfork_state *state,
			     const struct kvmfork_record_type *type, u32 size)
{
	struct kvmfork_record *record;
	long ret;

	record = kvmfork_state_add(state, type, size);
	if (!record)
		return -ENOMEM;
	ret = kvmfork_kvm_get(target->scratch, target->file, type->get,
			      record->data, size);
	if (ret < 0)
		return kvmfork_target_report(target, type->name, ret);
	return 0;
}

int kvmfork_state_save_pair(struct kvmfork_target *target,
			    struct kvmfork_state *state,
			    const struct kvmfork_record_type *type)
{
	return kvmfork_state_save_sized(target, state, type, type->size);
}

static int kvmfork_record_load(struct kvmfork_target *target,
			       const struct kvmfork_record *record)
{
	const struct kvmfork_record_type *type = record->type;
	long ret;

	if (type->load)
		return type->load(target, record);

	ret = kvmfork_kvm_set(target->scratch, target->file, type->cmd,
			      record->data, record->size);
	if (ret < 0)
		return kvmfork_target_report(target, type->name, ret);
	return 0;
}

int kvmfork_state_load(struct kvmfork_target *target,
		       const struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	int ret;

	list_for_each_entry(record, &state->records, link) {
		ret = kvmfork_record_load(target, record);
		if (ret)
			return ret;
	}
	return 0;
}
