// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model-specific registers of a vCPU: those that KVM lists, and those that
 * it knows and does not list (MTRRs, machine-check banks).
 */
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>
#include <asm/mce.h>
#include <asm/mtrr.h>

#include "kvmpeek.h"
#include "state.h"

/* KVM_GET_MSRS and KVM_SET_MSRS take fewer than 256 at a time. */
#define MSRS_PER_CALL	255

/* Of the Hyper-V TLFS, section 3: synthetic MSRs. */
#define HYPERV_MSR_FIRST	0x40000000
#define HYPERV_MSR_LAST		0x4000ffff

/* The most that KVM keeps, as KVM_X86_GET_MCE_CAP_SUPPORTED says. */
#define MCE_BANKS_MAX		32

static bool msr_is_carried(u32 index, bool hyperv)
{
	switch (index) {
	case MSR_IA32_TSC:	/* by the TSC offset; writing it makes it jump */
	case MSR_IA32_FEAT_CTL:	/* by kvmfork_msrs_save_vmx() */
	case HV_X64_MSR_VP_RUNTIME:		/* these follow from the clock */
	case HV_X64_MSR_TIME_REF_COUNT:
	case HV_X64_MSR_TSC_FREQUENCY:
	case HV_X64_MSR_APIC_FREQUENCY:
		return false;
	default:
		/* Reading one would make KVM set up state for it. */
		return hyperv || index < HYPERV_MSR_FIRST ||
		       index > HYPERV_MSR_LAST;
	}
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

	msrs = kzalloc(struct_size(msrs, entries, MSRS_PER_CALL), GFP_KERNEL);
	if (!msrs)
		return -ENOMEM;

	while (next < nr) {
		u32 count = min_t(u32, nr - next, MSRS_PER_CALL);

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

	msrs = kzalloc(struct_size(msrs, entries, MSRS_PER_CALL), GFP_KERNEL);
	if (!msrs)
		return -ENOMEM;

	while (next < nr) {
		u32 count = min_t(u32, nr - next, MSRS_PER_CALL);

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
static long msrs_write(struct kvmfork_target *target,
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

	entries = kmemdup((const void *)record->data, record->size, GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	ret = msrs_keep_different(target, entries, nr);
	if (ret > 0) {
		nr = ret;
		ret = msrs_write(target, entries, nr);
		ret = ret < 0 ? ret : msrs_check_locks(target, entries, nr);
	}
	kfree(entries);
	return min(ret, 0L);
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
	return min(msrs_write(target, &off, 1), 0L);
}

/* What KVM keeps and, on some of the kernels or on all, does not list. */
static const u32 msrs_unlisted[] = {
	MSR_IA32_TSX_CTRL, MSR_IA32_DEBUGCTLMSR, MSR_VM_CR,
	MSR_IA32_SGXLEPUBKEYHASH0, MSR_IA32_SGXLEPUBKEYHASH1,
	MSR_IA32_SGXLEPUBKEYHASH2, MSR_IA32_SGXLEPUBKEYHASH3,
	MSR_MTRRdefType, MSR_MTRRfix64K_00000, MSR_MTRRfix16K_80000,
	MSR_MTRRfix16K_A0000, MSR_MTRRfix4K_C0000, MSR_MTRRfix4K_C8000,
	MSR_MTRRfix4K_D0000, MSR_MTRRfix4K_D8000, MSR_MTRRfix4K_E0000,
	MSR_MTRRfix4K_E8000, MSR_MTRRfix4K_F0000, MSR_MTRRfix4K_F8000,
};

/*
 * Those of them that there are on this host, whatever the guest's CPUID, and
 * that it does not list.
 */
static struct kvm_msr_entry msrs_extra[ARRAY_SIZE(msrs_unlisted)];
static u32 nr_msrs_extra;

static int msr_list_find(u32 index)
{
	u32 i;

	for (i = 0; i < kvmfork_msr_list->nmsrs; i++)
		if (kvmfork_msr_list->indices[i] == index)
			return i;
	return -1;
}

int kvmfork_msrs_learn(struct kvmfork_scratch *scratch, struct file *vcpu)
{
	struct kvmfork_target target = { .file = vcpu, .scratch = scratch };
	u32 i, nr = 0;
	long ret;

	for (i = 0; i < ARRAY_SIZE(msrs_unlisted); i++)
		if (msr_list_find(msrs_unlisted[i]) < 0)
			msrs_extra[nr++].index = msrs_unlisted[i];
	ret = msrs_read(&target, msrs_extra, nr);
	if (ret < 0)
		return ret;
	nr_msrs_extra = ret;
	return 0;
}

/* How many msrs_list() can come to. */
static u32 msrs_list_max(void)
{
	return kvmfork_msr_list->nmsrs + nr_msrs_extra + 2 * KVM_NR_VAR_MTRR;
}

static u32 msrs_list(struct kvm_msr_entry *entries, bool hyperv)
{
	u32 i, nr = 0;

	for (i = 0; i < kvmfork_msr_list->nmsrs; i++) {
		u32 index = kvmfork_msr_list->indices[i];

		if (msr_is_carried(index, hyperv))
			entries[nr++].index = index;
	}
	for (i = 0; i < nr_msrs_extra; i++)
		entries[nr++].index = msrs_extra[i].index;
	for (i = 0; i < 2 * KVM_NR_VAR_MTRR; i++)
		entries[nr++].index = MTRRphysBase_MSR(0) + i;
	return nr;
}

static bool msr_is_var_mtrr(u32 index)
{
	return index - MTRRphysBase_MSR(0) < 2 * KVM_NR_VAR_MTRR;
}

/* A number for each that a record may have; -1: none of them. */
static int msr_number(u32 index)
{
	int listed = msr_list_find(index);
	u32 i;

	if (msr_is_var_mtrr(index))
		return index - MTRRphysBase_MSR(0);
	for (i = 0; i < nr_msrs_extra; i++)
		if (msrs_extra[i].index == index)
			return 2 * KVM_NR_VAR_MTRR + i;
	if (listed < 0 || index == MSR_IA32_TSC)
		return -1;
	return 2 * KVM_NR_VAR_MTRR + nr_msrs_extra + listed;
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
	seen = bitmap_zalloc(msrs_list_max(), GFP_KERNEL);
	if (!seen)
		return -ENOMEM;
	for (i = 0; !ret && i < nr; i++) {
		int number = msr_number(entries[i].index);

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

static u32 mce_count_banks(u64 mcg_cap)
{
	return min_t(u32, mcg_cap & MCG_BANKCNT_MASK, MCE_BANKS_MAX);
}

static int mce_write_bank(struct kvmfork_target *target, u64 mcg_cap, u32 i,
			  const struct kvmfork_state_mce_bank *bank)
{
	struct kvm_msr_entry entries[] = {
		{ .index = MSR_IA32_MCx_CTL(i), .data = bank->ctl },
		{ .index = MSR_IA32_MCx_STATUS(i), .data = bank->status },
		{ .index = MSR_IA32_MCx_ADDR(i), .data = bank->addr },
		{ .index = MSR_IA32_MCx_MISC(i), .data = bank->misc },
		/* Only there with: */
		{ .index = MSR_IA32_MCx_CTL2(i), .data = bank->ctl2 },
	};
	u32 nr = ARRAY_SIZE(entries) - !(mcg_cap & MCG_CMCI_P);

	return min(msrs_write(target, entries, nr), 0L);
}

/* The capabilities first: they say which banks there are. */
static int mce_load(struct kvmfork_target *target,
		    const struct kvmfork_record *record)
{
	const struct kvmfork_state_mce *saved = (const void *)record->data;
	struct kvm_vcpu *vcpu = kvmfork_file_to_vcpu(target->file);
	struct kvmfork_state_mce_bank *now;
	u32 i, nr = mce_count_banks(saved->mcg_cap);
	int ret = 0;

	if (kvmfork_vcpu_mcg_cap(vcpu) != saved->mcg_cap)
		ret = kvmfork_kvm_set(target->scratch, target->file, record->type->cmd,
				      &saved->mcg_cap, sizeof(saved->mcg_cap));
	if (ret < 0)
		return kvmfork_target_report(target, record->type->name, ret);

	now = kcalloc(nr, sizeof(*now), GFP_KERNEL);
	if (!now)
		return -ENOMEM;
	kvmfork_vcpu_mce_banks(vcpu, now, nr);
	for (i = 0; !ret && i < nr; i++)
		if (memcmp(&now[i], &saved->banks[i], sizeof(*now)))
			ret = mce_write_bank(target, saved->mcg_cap, i,
					     &saved->banks[i]);
	kfree(now);
	return ret;
}

static int mce_check(const struct kvmfork_record *record,
		     struct kvmfork_report *reason)
{
	const struct kvmfork_state_mce *saved = (const void *)record->data;

	if (record->size < sizeof(*saved) ||
	    (saved->mcg_cap & MCG_BANKCNT_MASK) > MCE_BANKS_MAX ||
	    record->size != struct_size(saved, banks,
					mce_count_banks(saved->mcg_cap)))
		return kvmfork_report(reason, -EINVAL,
				      "mcg_cap does not match the size");
	return 0;
}

const struct kvmfork_record_type kvmfork_record_mce = {
	.id = KVMFORK_STATE_MCE,
	.name = "KVM_X86_SETUP_MCE",
	.cmd = KVM_X86_SETUP_MCE,
	.load = mce_load,
	.check = mce_check,
};

static int mce_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
{
	u64 mcg_cap = kvmfork_vcpu_mcg_cap(vcpu);
	u32 nr = mce_count_banks(mcg_cap);
	struct kvmfork_record *record;
	struct kvmfork_state_mce *saved;

	record = kvmfork_state_add(state, &kvmfork_record_mce,
				   struct_size(saved, banks, nr));
	if (!record)
		return -ENOMEM;
	saved = (void *)record->data;
	saved->mcg_cap = mcg_cap;
	kvmfork_vcpu_mce_banks(vcpu, saved->banks, nr);
	return 0;
}

static bool msr_is_vmx(u32 index)
{
	return index >= MSR_IA32_VMX_BASIC && index <= MSR_IA32_VMX_VMFUNC;
}

int kvmfork_msrs_save_vmx(struct kvmfork_target *target,
			  struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct kvm_msr_entry *entries;
	u32 i, nr = 0;
	long ret;

	if (!boot_cpu_has(X86_FEATURE_VMX))
		return 0;
	record = kvmfork_state_add(state, &kvmfork_record_vmx_msrs,
				   (1 + kvmfork_msr_list->nmsrs) * sizeof(*entries));
	if (!record)
		return -ENOMEM;
	entries = (void *)record->data;
	entries[nr++].index = MSR_IA32_FEAT_CTL;
	/* Of those that follow from others, KVM lists and lets be set none. */
	for (i = 0; i < kvmfork_msr_list->nmsrs; i++)
		if (msr_is_vmx(kvmfork_msr_list->indices[i]))
			entries[nr++].index = kvmfork_msr_list->indices[i];
	ret = msrs_read(target, entries, nr);
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_MSRS", ret);
	record->size = ret * sizeof(*entries);
	return 0;
}

int kvmfork_msrs_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct kvm_msr_entry *entries;
	long ret = mce_save(vcpu, state);

	if (ret)
		return ret;
	record = kvmfork_state_add(state, &kvmfork_record_msrs,
				   msrs_list_max() * sizeof(*entries));
	if (!record)
		return -ENOMEM;
	entries = (void *)record->data;
	ret = msrs_read(target, entries,
			msrs_list(entries, kvmfork_vcpu_has_hyperv(vcpu)));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_MSRS", ret);
	record->size = ret * sizeof(*entries);
	return 0;
}
