// SPDX-License-Identifier: GPL-2.0-only
/* The machine-check state of a vCPU: banks of MSRs, whose number is set first. */
#include <linux/kvm_host.h>
#include <asm/mce.h>

#include "kvmpeek.h"
#include "state.h"

/* The most that KVM keeps, as KVM_X86_GET_MCE_CAP_SUPPORTED says. */
#define MCE_BANKS_MAX		32

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

	return kvmfork_msrs_write(target, entries, nr);
}

/* The capabilities first: they say which banks there are. */
static int mce_load(struct kvmfork_target *target,
		    const struct kvmfork_record *record)
{
	const struct kvmfork_state_mce *saved = (const void *)record->data;
	struct kvm_vcpu *vcpu = kvmfork_file_to_vcpu(target->file);
	u32 i, nr = mce_count_banks(saved->mcg_cap);
	int ret = 0;

	if (kvmfork_vcpu_mcg_cap(vcpu) != saved->mcg_cap)
		ret = kvmfork_kvm_set(target->scratch, target->file, record->type->cmd,
				      &saved->mcg_cap, sizeof(saved->mcg_cap));
	if (ret < 0)
		return kvmfork_target_report(target, record->type->name, ret);

	for (i = 0; !ret && i < nr; i++)
		if (!kvmfork_vcpu_has_mce_bank(vcpu, i, &saved->banks[i]))
			ret = mce_write_bank(target, saved->mcg_cap, i,
					     &saved->banks[i]);
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

int kvmfork_mce_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
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
