// SPDX-License-Identifier: GPL-2.0-only
/* Registers of a vCPU that KVM is slow to tell, read from its structures. */
#include <linux/kvm_host.h>

#include "compat/kvm.h"
#include "kvmpeek.h"

u64 kvmfork_vcpu_mcg_cap(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.mcg_cap);
}

/* KVM has the first four of each bank side by side. */
static struct kvmfork_state_mce_bank mce_bank(struct kvm_vcpu *vcpu, u32 i)
{
	const u64 *bank = &vcpu->arch.mce_banks[4 * i];

	return (struct kvmfork_state_mce_bank) {
		.ctl = READ_ONCE(bank[0]),
		.status = READ_ONCE(bank[1]),
		.addr = READ_ONCE(bank[2]),
		.misc = READ_ONCE(bank[3]),
		.ctl2 = READ_ONCE(vcpu->arch.mci_ctl2_banks[i]),
	};
}

void kvmfork_vcpu_mce_banks(struct kvm_vcpu *vcpu,
			    struct kvmfork_state_mce_bank *banks, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		banks[i] = mce_bank(vcpu, i);
}

bool kvmfork_vcpu_has_mce_bank(struct kvm_vcpu *vcpu, u32 i,
			       const struct kvmfork_state_mce_bank *bank)
{
	struct kvmfork_state_mce_bank now = mce_bank(vcpu, i);

	return now.ctl == bank->ctl && now.status == bank->status &&
	       now.addr == bank->addr && now.misc == bank->misc &&
	       now.ctl2 == bank->ctl2;
}

bool kvmfork_vcpu_mtrr(struct kvm_vcpu *vcpu, u32 index, u64 *value)
{
	return compat_kvm_mtrr(vcpu, index, value);
}

bool kvmfork_vcpu_has_pmu(struct kvm_vcpu *vcpu)
{
	return vcpu->kvm->arch.enable_pmu;
}
