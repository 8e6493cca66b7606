// SPDX-License-Identifier: GPL-2.0-only
/* Lists of KVM state. See state.h. */
#include <linux/slab.h>

#include "state.h"

struct kvmfork_record *
kvmfork_state_add(struct list_head *state, const char *name, unsigned int cmd,
		  kvmfork_load_fn load, u32 size)
{
	struct kvmfork_record *record;

	record = kvzalloc(struct_size(record, data, size), GFP_KERNEL_ACCOUNT);
	if (!record)
		return NULL;
	record->name = name;
	record->cmd = cmd;
	record->load = load;
	record->size = size;
	list_add_tail(&record->link, state);
	return record;
}

void kvmfork_state_destroy(struct list_head *state)
{
	struct kvmfork_record *record, *next;

	list_for_each_entry_safe(record, next, state, link) {
		list_del(&record->link);
		kvfree(record);
	}
}

int kvmfork_target_report(struct kvmfork_target *target, const char *what,
			  int err)
{
	return kvmfork_report(target->report, err, "%s %u: %s: error %d",
			      target->name, target->id, what, err);
}

int kvmfork_state_save_pair(struct kvmfork_target *target,
			    struct list_head *state,
			    const struct kvmfork_pair *pair)
{
	struct kvmfork_record *record;
	long ret;

	record = kvmfork_state_add(state, pair->name, pair->set, NULL,
				   pair->size);
	if (!record)
		return -ENOMEM;
	ret = kvmfork_kvm_get(target->scratch, target->file, pair->get,
			      record->data, pair->size);
	if (ret < 0)
		return kvmfork_target_report(target, pair->name, ret);
	return 0;
}

static int kvmfork_record_load(struct kvmfork_target *target,
			       const struct kvmfork_record *record)
{
	long ret;

	if (record->load)
		return record->load(target, record);

	ret = kvmfork_kvm_set(target->scratch, target->file, record->cmd,
			      record->data, record->size);
	if (ret < 0)
		return kvmfork_target_report(target, record->name, ret);
	return 0;
}

int kvmfork_state_load(struct kvmfork_target *target,
		       const struct list_head *state)
{
	struct kvmfork_record *record;
	int ret;

	list_for_each_entry(record, state, link) {
		ret = kvmfork_record_load(target, record);
		if (ret)
			return ret;
	}
	return 0;
}
