// SPDX-License-Identifier: GPL-2.0-only
/* The state of a vCPU whose guest has guests of its own. */
#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "state.h"

/* KVM reads as much as the size in it says. */
static int nested_check(const struct kvmfork_record *record,
			struct kvmfork_report *reason)
{
	const struct kvm_nested_state *nested = (const void *)record->data;

	if (record->size < sizeof(*nested) || nested->size < sizeof(*nested) ||
	    nested->size > record->size)
		return kvmfork_report(reason, -EINVAL,
				      "the size in it does not match");
	return 0;
}

const struct kvmfork_record_type kvmfork_record_nested = {
	.id = KVMFORK_STATE_NESTED,
	.name = "KVM_SET_NESTED_STATE",
	.cmd = KVM_SET_NESTED_STATE,
	.presence = KVMFORK_SOMETIMES,
	.check = nested_check,
};

/* Is there nothing but what a vCPU starts with? */
static bool nested_is_default(const struct kvm_nested_state *nested)
{
	if (nested->format == KVM_STATE_NESTED_FORMAT_SVM)
		return nested->flags == KVM_STATE_NESTED_GIF_SET;
	return !nested->flags && nested->hdr.vmx.vmxon_pa == ~0ULL &&
	       nested->size <= sizeof(*nested);
}

/*
 * Read the nested state into @nested, which has room for @size bytes. 1: it is
 * the default one, 0: another. -E2BIG: another, and larger.
 */
static int nested_read(struct kvmfork_target *target,
		       struct kvm_nested_state *nested, u32 size)
{
	long ret;

	nested->size = size;
	ret = kvmfork_kvm_exchange(target->scratch, target->file,
				   KVM_GET_NESTED_STATE, nested, size);
	if (ret < 0)
		return ret;
	return nested->size > size ? -EINVAL : nested_is_default(nested);
}

/*
 * As nested_read(), but of what is not the default only what is in front of it,
 * which is all that a vCPU needs that has never used it.
 */
static int nested_read_head(struct kvmfork_target *target,
			    struct kvm_nested_state *head)
{
	int ret = nested_read(target, head, sizeof(*head));

	return ret == -E2BIG ? 0 : ret;
}

/* How large it can be; 0: there is none. It is the same for all VMs of a host. */
static int nested_size(struct file *vm_file)
{
	static long known;
	long size = READ_ONCE(known);

	if (!size) {
		size = kvmfork_kvm_call(vm_file, KVM_CHECK_EXTENSION,
					KVM_CAP_NESTED_STATE);
		WRITE_ONCE(known, max(size, 0L));
	}
	if (size < (long)sizeof(struct kvm_nested_state))
		return min(size, 0L);
	return size > KVMFORK_SCRATCH_SIZE ? -E2BIG : size;
}

int kvmfork_nested_save(struct kvmfork_target *target, struct file *vm_file,
			struct kvmfork_state *state)
{
	struct kvm_nested_state head = {};
	struct kvmfork_record *record;
	int ret, size = nested_size(vm_file);

	if (size <= 0)
		return size;
	ret = nested_read_head(target, &head);
	if (ret == 1)
		return 0;
	if (ret < 0)
		goto report;
	record = kvmfork_state_add(state, &kvmfork_record_nested, size);
	if (!record)
		return -ENOMEM;
	ret = nested_read(target, (void *)record->data, size);
	if (ret >= 0)
		return 0;
report:
	return kvmfork_target_report(target, "KVM_GET_NESTED_STATE", ret);
}

/*
 * When KVM is told to leave an SVM guest's guest, it goes on with that one's page
 * tables of its own, until something changes that they depend on. L1 and L2 may
 * have all that in common, so see that one thing does: the next registers that are
 * loaded put it right.
 */
static int nested_forget_mmu(struct kvmfork_target *target)
{
	struct kvm_sregs2 sregs;
	long ret;

	ret = kvmfork_kvm_get(target->scratch, target->file, KVM_GET_SREGS2,
			      &sregs, sizeof(sregs));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_SREGS2", ret);
	sregs.cr3 ^= PAGE_SIZE;
	/* The segments are L1's by now, the mode is L2's still. */
	sregs.cs.l = 0;
	ret = kvmfork_kvm_set(target->scratch, target->file, KVM_SET_SREGS2,
			      &sregs, sizeof(sregs));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_SET_SREGS2", ret);
	return 0;
}

/*
 * When VMX leaves L2, KVM notes that some of its registers are still to be written
 * into the VMCS that L1 has made, and does that when somebody asks for it; also
 * when it is another one by then. So leave L2 with VMX on, and ask.
 */
static int nested_sync(struct kvmfork_target *target, int size)
{
	const u16 in_l2 = KVM_STATE_NESTED_GUEST_MODE |
			  KVM_STATE_NESTED_RUN_PENDING;
	struct kvm_nested_state *nested;
	long ret;

	nested = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!nested)
		return -ENOMEM;
	ret = nested_read(target, nested, size);
	if (ret || !(nested->flags & KVM_STATE_NESTED_GUEST_MODE))
		goto read;
	nested->flags &= ~in_l2;
	ret = kvmfork_kvm_set(target->scratch, target->file,
			      KVM_SET_NESTED_STATE, nested, nested->size);
	if (ret < 0) {
		ret = kvmfork_target_report(target, "KVM_SET_NESTED_STATE", ret);
		goto free;
	}
	ret = nested_read(target, nested, size);
read:
	if (ret < 0)
		ret = kvmfork_target_report(target, "KVM_GET_NESTED_STATE", ret);
free:
	kvfree(nested);
	return ret < 0 ? ret : 0;
}

/* Out of nested mode: a record is only there for what is not the default. */
int kvmfork_nested_calm(struct kvmfork_target *target, struct file *vm_file)
{
	struct kvm_nested_state now = {}, fresh = { .size = sizeof(fresh) };
	int ret, size = nested_size(vm_file);

	if (size <= 0)
		return size;
	ret = nested_read_head(target, &now);
	if (ret == 1)
		return 0;
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_NESTED_STATE", ret);
	if (now.format == KVM_STATE_NESTED_FORMAT_VMX) {
		ret = nested_sync(target, size);
		if (ret < 0)
			return ret;
	}

	fresh.format = boot_cpu_has(X86_FEATURE_SVM) ?
		       KVM_STATE_NESTED_FORMAT_SVM : KVM_STATE_NESTED_FORMAT_VMX;
	if (fresh.format == KVM_STATE_NESTED_FORMAT_SVM) {
		fresh.flags = KVM_STATE_NESTED_GIF_SET;
	} else {
		fresh.hdr.vmx.vmxon_pa = ~0ULL;
		fresh.hdr.vmx.vmcs12_pa = ~0ULL;
	}
	ret = kvmfork_kvm_set(target->scratch, target->file,
			      KVM_SET_NESTED_STATE, &fresh, sizeof(fresh));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_SET_NESTED_STATE", ret);
	return nested_forget_mmu(target);
}
