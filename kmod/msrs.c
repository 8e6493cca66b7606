// SPDX-License-Identifier: GPL-2.0-only
/* The model-specific registers of a vCPU. msr_list.c says which there are. */
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>

#include "kvmpeek.h"
#include "msr_list.h"
#include "state.h"

/* KVM_GET_MSRS and KVM_SET_MSRS take fewer than 256 at a time. */
#define MSRS_PER_CALL	255U

/* For up to @nr at a time. */
static struct kvm_msrs *msrs_room(u32 nr)
{
	struct kvm_msrs *msrs;

	msrs = kmalloc(struct_size(msrs, entries, min(nr, MSRS_PER_CALL)),
		       GFP_KERNEL);
	if (msrs)
		msrs->pad = 0;
	return msrs;
}

/*
 * Read the MSRs of @entries and keep those that can be read. KVM stops at the
 * first that cannot, and returns how many it has read.
 */
static long msrs_read(struct kvmfork_target *target,
		      struct kvm_msr_entry *entries, u32 nr)
{
	struct kvm_msrs *msrs;
	u32 next = 0, kept = 0;
	long ret = 0;

	msrs = msrs_room(nr);
	if (!msrs)
		return -ENOMEM;

	while (next < nr) {
		u32 count = min(nr - next, MSRS_PER_CALL);

		msrs->nmsrs = count;
		memcpy(msrs->entries, entries + next, count * sizeof(*entries));
		ret = kvmfork_kvm_exchange(target->scratch, target->file,
					   KVM_GET_MSRS, msrs,
					   struct_size(msrs, entries, count));
		if (ret < 0)
			goto out;
		ret = min_t(u32, ret, count);
		memmove(entries + kept, msrs->entries, ret * sizeof(*entries));
		kept += ret;
		next += ret;
		if (ret < count)
			next++;		/* not readable: there is no state */
	}
	ret = kept;
out:
	kfree(msrs);
	return ret;
}

static bool msr_has_value(struct kvmfork_target *target,
			  const struct kvm_msr_entry *entry)
{
	struct kvm_msr_entry now = { .index = entry->index };

	return msrs_read(target, &now, 1) == 1 && now.data == entry->data;
}

/*
 * Move those of the @nr @entries to the front that the vCPU does not have yet,
 * and return how many. Many registers are constants or never touched; some
 * cannot be written, not even with what they hold, or KVM complains in the log.
 */
static long msrs_keep_different(struct kvmfork_target *target,
				struct kvm_msr_entry *entries, u32 nr)
{
	struct kvm_msr_entry *now;
	u32 i, next = 0, kept = 0;
	long found;

	now = kmemdup(entries, nr * sizeof(*entries), GFP_KERNEL);
	if (!now)
		return -ENOMEM;
	found = msrs_read(target, now, nr);
	for (i = 0; found >= 0 && i < nr; i++) {
		/* In the same order, without those that cannot be read. */
		if (next < found && now[next].index == entries[i].index &&
		    now[next++].data == entries[i].data)
			continue;
		entries[kept++] = entries[i];
	}
	kfree(now);
	return found < 0 ? found : kept;
}

/* The same for MTRRs, without asking KVM, from @saved to @entries. */
static u32 mtrrs_keep_different(struct kvm_vcpu *vcpu,
				struct kvm_msr_entry *entries,
				const struct kvm_msr_entry *saved, u32 nr)
{
	u32 i, kept = 0;
	u64 value;

	for (i = 0; i < nr; i++)
		if (!kvmfork_vcpu_mtrr(vcpu, saved[i].index, &value) ||
		    value != saved[i].data)
			entries[kept++] = saved[i];
	return kept;
}

/*
 * Write the MSRs of @entries. KVM stops at the first that it does not let be
 * set: those come to the front, unless they hold their value already. Returns
 * how many.
 */
static long msrs_write_once(struct kvmfork_target *target,
			    struct kvm_msr_entry *entries, u32 nr)
{
	struct kvm_msrs *msrs;
	u32 next = 0, failed = 0;
	long ret = 0;

	msrs = msrs_room(nr);
	if (!msrs)
		return -ENOMEM;

	while (next < nr) {
		u32 count = min(nr - next, MSRS_PER_CALL);

		msrs->nmsrs = count;
		memcpy(msrs->entries, entries + next, count * sizeof(*entries));
		ret = kvmfork_kvm_set(target->scratch, target->file,
				      KVM_SET_MSRS, msrs,
				      struct_size(msrs, entries, count));
		if (ret < 0) {
			kvmfork_target_report(target, "KVM_SET_MSRS", ret);
			break;
		}
		next += min_t(u32, ret, count);
		if (ret >= count)
			continue;
		if (!msr_has_value(target, &entries[next])) {
			/* swap() reads its arguments twice. */
			swap(entries[failed], entries[next]);
			failed++;
		}
		next++;
	}
	kfree(msrs);
	return ret < 0 ? ret : failed;
}

/*
 * Some can only be set when others are, in an order that depends on the values:
 * as long as it helps, those that failed are tried again.
 */
int kvmfork_msrs_write(struct kvmfork_target *target,
		       struct kvm_msr_entry *entries, u32 nr)
{
	char what[48];
	u32 before;
	long ret = nr;

	do {
		before = ret;
		ret = msrs_write_once(target, entries, before);
	} while (ret > 0 && ret < before);
	if (ret <= 0)
		return ret;
	snprintf(what, sizeof(what), "KVM_SET_MSRS, MSR %#x", entries[0].index);
	return kvmfork_target_report(target, what, -EOPNOTSUPP);
}

/* A guest can lock this one, and KVM then says nothing and does nothing. */
static int msrs_check_locks(struct kvmfork_target *target,
			    const struct kvm_msr_entry *entries, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (entries[i].index == MSR_VM_CR &&
		    !msr_has_value(target, &entries[i]))
			return kvmfork_target_report(target,
						     "KVM_SET_MSRS, MSR 0xc0010114",
						     -EOPNOTSUPP);
	return 0;
}

static int msrs_load(struct kvmfork_target *target,
		     const struct kvmfork_record *record)
{
	u32 nr = record->size / sizeof(struct kvm_msr_entry);
	struct kvm_msr_entry *entries;
	long ret;

	entries = kmalloc_array(nr, sizeof(*entries), GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	nr = mtrrs_keep_different(kvmfork_file_to_vcpu(target->file), entries,
				  (const void *)record->data, nr);
	ret = msrs_keep_different(target, entries, nr);
	if (ret > 0) {
		nr = ret;
		ret = kvmfork_msrs_write(target, entries, nr);
		ret = ret ?: msrs_check_locks(target, entries, nr);
	}
	kfree(entries);
	return ret;
}

static int msrs_check(const struct kvmfork_record *record,
		      struct kvmfork_report *reason);

const struct kvmfork_record_type kvmfork_record_vmx_msrs = {
	.id = KVMFORK_STATE_VMX_MSRS,
	.name = "KVM_SET_MSRS (VMX)",
	.load = msrs_load,
	.presence = KVMFORK_WITH_VMX,
	.check = msrs_check,
};

const struct kvmfork_record_type kvmfork_record_msrs = {
	.id = KVMFORK_STATE_MSRS,
	.name = "KVM_SET_MSRS",
	.load = msrs_load,
	.check = msrs_check,
};

/* Switched off, KVM forgets the pages that the guest waits for. */
int kvmfork_msrs_calm(struct kvmfork_target *target)
{
	struct kvm_msr_entry off = { .index = MSR_KVM_ASYNC_PF_EN };

	if (!kvmfork_vcpu_has_async_pf(kvmfork_file_to_vcpu(target->file)))
		return 0;
	return kvmfork_msrs_write(target, &off, 1);
}

static int msrs_check(const struct kvmfork_record *record,
		      struct kvmfork_report *reason)
{
	const struct kvm_msr_entry *entries = (const void *)record->data;
	u32 i, nr = record->size / sizeof(*entries);
	unsigned long *seen;
	int ret = 0;

	if (record->size % sizeof(*entries))
		return kvmfork_report(reason, -EINVAL, "it is not whole entries");
	seen = bitmap_zalloc(kvmfork_msr_list_count(), GFP_KERNEL);
	if (!seen)
		return -ENOMEM;
	for (i = 0; !ret && i < nr; i++) {
		int number = kvmfork_msr_list_find(entries[i].index);

		if (entries[i].reserved)
			ret = kvmfork_report(reason, -EINVAL,
					     "entry %u: reserved is not zero", i);
		else if (number < 0)
			ret = kvmfork_report(reason, -EOPNOTSUPP,
					     "MSR %#x is not known to this KVM",
					     entries[i].index);
		else if (__test_and_set_bit(number, seen))
			ret = kvmfork_report(reason, -EINVAL,
					     "MSR %#x is there twice",
					     entries[i].index);
	}
	bitmap_free(seen);
	return ret;
}

int kvmfork_msrs_save_vmx(struct kvmfork_target *target,
			  struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct kvm_msr_entry *entries;
	long ret;
	u32 nr;

	if (!boot_cpu_has(X86_FEATURE_VMX))
		return 0;
	record = kvmfork_state_add(state, &kvmfork_record_vmx_msrs,
				   kvmfork_msr_list_count() * sizeof(*entries));
	if (!record)
		return -ENOMEM;
	entries = (void *)record->data;
	entries[0].index = MSR_IA32_FEAT_CTL;
	/* Of those that follow from others, KVM lists and lets be set none. */
	nr = 1 + kvmfork_msr_list_fill(KVMFORK_MSR_VMX, entries + 1);
	ret = msrs_read(target, entries, nr);
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_MSRS", ret);
	record->size = ret * sizeof(*entries);
	return 0;
}

/* Those that KVM is to be asked for. */
static u32 msrs_fill(struct kvm_vcpu *vcpu, struct kvm_msr_entry *entries)
{
	u32 nr = kvmfork_msr_list_fill(KVMFORK_MSR_PLAIN, entries);

	nr += kvmfork_msr_list_fill(KVMFORK_MSR_VMX, entries + nr);
	if (kvmfork_vcpu_has_pmu(vcpu))
		nr += kvmfork_msr_list_fill(KVMFORK_MSR_COUNTER, entries + nr);
	if (kvmfork_vcpu_has_hyperv(vcpu))
		nr += kvmfork_msr_list_fill(KVMFORK_MSR_HYPERV, entries + nr);
	return nr;
}

static u32 mtrrs_read(struct kvm_vcpu *vcpu, struct kvm_msr_entry *entries)
{
	u32 i, nr = kvmfork_msr_list_fill(KVMFORK_MSR_MTRR, entries);
	u64 value = 0;

	for (i = 0; i < nr; i++) {
		WARN_ON_ONCE(!kvmfork_vcpu_mtrr(vcpu, entries[i].index, &value));
		entries[i].data = value;
	}
	return nr;
}

int kvmfork_msrs_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct kvm_msr_entry *entries;
	long ret;

	record = kvmfork_state_add(state, &kvmfork_record_msrs,
				   kvmfork_msr_list_count() * sizeof(*entries));
	if (!record)
		return -ENOMEM;
	entries = (void *)record->data;
	ret = msrs_read(target, entries, msrs_fill(vcpu, entries));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_MSRS", ret);
	ret += mtrrs_read(vcpu, entries + ret);
	record->size = ret * sizeof(*entries);
	return 0;
}
