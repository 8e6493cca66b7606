// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saving the state of a vCPU. The records are made in the order in which they
 * can be loaded; what depends on what is said at each.
 */
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <asm/fpu/types.h>

#include "compat/compat.h"
#include "compat/kvm.h"
#include "kvmpeek.h"
#include "state.h"

static int cpuid_load(struct kvmfork_target *target,
		      const struct kvmfork_record *record)
{
	long ret;

	if (kvmfork_vcpu_has_cpuid(kvmfork_file_to_vcpu(target->file),
				   (const void *)record->data))
		return 0;
	ret = kvmfork_kvm_set(target->scratch, target->file, record->type->cmd,
			      record->data, record->size);
	return ret < 0 ? kvmfork_target_report(target, record->type->name, ret) : 0;
}

static int cpuid_check(const struct kvmfork_record *record,
		       struct kvmfork_report *reason)
{
	const struct kvm_cpuid2 *cpuid = (const void *)record->data;

	if (record->size < sizeof(*cpuid) ||
	    record->size != struct_size(cpuid, entries, cpuid->nent))
		return kvmfork_report(reason, -EINVAL,
				      "nent does not match the size");
	if (cpuid->nent > KVM_MAX_CPUID_ENTRIES)
		return kvmfork_report(reason, -EINVAL,
				      "nent is more than %d",
				      KVM_MAX_CPUID_ENTRIES);
	return 0;
}

const struct kvmfork_record_type kvmfork_record_cpuid = {
	.id = KVMFORK_STATE_CPUID,
	.name = "KVM_SET_CPUID2",
	.cmd = KVM_SET_CPUID2,
	.load = cpuid_load,
	.presence = KVMFORK_SOMETIMES,
	.check = cpuid_check,
};

/*
 * How many entries there are is asked of KVM's structures: 6.1 does not tell
 * by KVM_GET_CPUID2, against its documentation.
 */
static int cpuid_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct kvmfork_state *state)
{
	u32 nent = kvmfork_vcpu_count_cpuid(vcpu);
	struct kvmfork_record *record;
	struct kvm_cpuid2 *cpuid;
	long ret;

	if (!nent)
		return 0;
	record = kvmfork_state_add(state, &kvmfork_record_cpuid,
				   struct_size(cpuid, entries, nent));
	if (!record)
		return -ENOMEM;
	cpuid = (void *)record->data;
	cpuid->nent = nent;
	ret = kvmfork_kvm_exchange(target->scratch, target->file,
				   KVM_GET_CPUID2, cpuid, record->size);
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_CPUID2", ret);
	/* Another thread of the caller's can have written there. */
	cpuid->nent = nent;
	return 0;
}

static int pv_cpuid_enforce(struct kvmfork_target *target, bool enforce)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID,
		.args[0] = enforce,
	};
	long ret;

	ret = kvmfork_kvm_set(target->scratch, target->file, KVM_ENABLE_CAP,
			      &cap, sizeof(cap));
	if (ret < 0)
		return kvmfork_target_report(target,
					     "KVM_CAP_ENFORCE_PV_FEATURE_CPUID",
					     ret);
	return 0;
}

static int pv_cpuid_load(struct kvmfork_target *target,
			 const struct kvmfork_record *record)
{
	return pv_cpuid_enforce(target, true);
}

static int pv_cpuid_check(const struct kvmfork_record *record,
			  struct kvmfork_report *reason)
{
	return record->size ? kvmfork_report(reason, -EINVAL, "it has a payload") : 0;
}

const struct kvmfork_record_type kvmfork_record_pv_cpuid = {
	.id = KVMFORK_STATE_PV_CPUID,
	.name = "KVM_CAP_ENFORCE_PV_FEATURE_CPUID",
	.load = pv_cpuid_load,
	.presence = KVMFORK_SOMETIMES,
	.check = pv_cpuid_check,
};

/* After the MSRs, which it may keep from being set. */
static int pv_cpuid_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
{
	if (!kvmfork_vcpu_enforces_pv_cpuid(vcpu))
		return 0;
	return kvmfork_state_add(state, &kvmfork_record_pv_cpuid, 0) ? 0 : -ENOMEM;
}

/*
 * NMI, SMI, INIT and SIPI may be on their way to the vCPU; KVM takes them when
 * it is asked for the state that they change.
 */
static int events_calm(struct kvmfork_target *target)
{
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	long ret;

	ret = kvmfork_kvm_get(target->scratch, target->file,
			      KVM_GET_VCPU_EVENTS, &events, sizeof(events));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_VCPU_EVENTS", ret);
	ret = kvmfork_kvm_get(target->scratch, target->file, KVM_GET_MP_STATE,
			      &mp_state, sizeof(mp_state));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_MP_STATE", ret);
	kvmfork_vcpu_cancel_shutdown(kvmfork_file_to_vcpu(target->file));
	return 0;
}

int kvmfork_vcpu_calm(struct kvmfork_target *target, struct file *vm_file)
{
	struct kvm_vcpu *vcpu = kvmfork_file_to_vcpu(target->file);
	int ret = events_calm(target);

	if (!ret && kvmfork_vcpu_enforces_pv_cpuid(vcpu))
		ret = pv_cpuid_enforce(target, false);
	ret = ret ?: kvmfork_nested_calm(target, vm_file);
	return ret ?: kvmfork_msrs_calm(target);
}

const struct kvmfork_record_type kvmfork_record_sregs = {
	KVMFORK_PAIR(SREGS, SREGS2, struct kvm_sregs2),
};

const struct kvmfork_record_type kvmfork_record_debugregs = {
	KVMFORK_PAIR(DEBUGREGS, DEBUGREGS, struct kvm_debugregs),
};

const struct kvmfork_record_type kvmfork_record_lapic = {
	KVMFORK_PAIR(LAPIC, LAPIC, struct kvm_lapic_state),
	.presence = KVMFORK_WITH_LAPIC,
};

const struct kvmfork_record_type kvmfork_record_regs = {
	KVMFORK_PAIR(REGS, REGS, struct kvm_regs),
};

const struct kvmfork_record_type kvmfork_record_events = {
	KVMFORK_PAIR(EVENTS, VCPU_EVENTS, struct kvm_vcpu_events),
};

const struct kvmfork_record_type kvmfork_record_mp_state = {
	KVMFORK_PAIR(MP_STATE, MP_STATE, struct kvm_mp_state),
};

const struct kvmfork_record_type kvmfork_record_xcrs = {
	KVMFORK_PAIR(XCRS, XCRS, struct kvm_xcrs),
	.presence = KVMFORK_SOMETIMES,
};

/* KVM_SET_XCRS is an error on a host without XSAVE, where there are none. */
static int xcrs_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	int ret;

	ret = kvmfork_state_save_pair(target, state, &kvmfork_record_xcrs);
	if (ret)
		return ret;
	record = kvmfork_state_last(state);
	if (!((struct kvm_xcrs *)record->data)->nr_xcrs)
		kvmfork_state_drop_last(state);
	return 0;
}

/*
 * Registers that XSTATE_BV says are in their initial state: KVM leaves MXCSR as
 * it was, and shows old contents by KVM_GET_FPU. So they are first set to what
 * the image has for them, which is that state. A new vCPU is in it, unless it may use
 * AMX: KVM_SET_CPUID2 gave it larger memory for its registers, all zeroes.
 */
static int xsave_load(struct kvmfork_target *target,
		      const struct kvmfork_record *record)
{
	const u64 legacy = XFEATURE_MASK_FPSSE;
	const struct xregs_state *saved = (const void *)record->data;
	bool is_initial = target->is_new && record->size <= sizeof(struct kvm_xsave);
	struct xregs_state *full;
	long ret = 0;

	/* On a host without XSAVE there is no header either. */
	if (!is_initial && boot_cpu_has(X86_FEATURE_XSAVE) &&
	    (saved->header.xfeatures & legacy) != legacy) {
		full = kmemdup(record->data, record->size, GFP_KERNEL_ACCOUNT);
		if (!full)
			return -ENOMEM;
		full->header.xfeatures |= legacy;
		ret = kvmfork_kvm_set(target->scratch, target->file, record->type->cmd,
				      full, record->size);
		kfree(full);
	}
	if (ret >= 0)
		ret = kvmfork_kvm_set(target->scratch, target->file, record->type->cmd,
				      record->data, record->size);
	return ret < 0 ? kvmfork_target_report(target, record->type->name, ret) : 0;
}

/*
 * The first of @features whose part does not lie within @size bytes, -1: none.
 * Intel SDM volume 1, 13.4.3: extended region of an XSAVE area.
 */
static int xsave_beyond(u64 features, u32 size)
{
	u32 bytes, offset, ecx, edx;
	int i;

	for (i = 2; i < 63; i++) {
		if (!(features & BIT_ULL(i)))
			continue;
		cpuid_count(0xd, i, &bytes, &offset, &ecx, &edx);
		if (offset > size || bytes > size - offset)
			return i;
	}
	return -1;
}

static int xsave_check(const struct kvmfork_record *record,
		       struct kvmfork_report *reason)
{
	const struct xregs_state *saved = (const void *)record->data;
	int beyond;

	if (record->size < sizeof(struct kvm_xsave))
		return kvmfork_report(reason, -EINVAL, "it is too short");
	if (boot_cpu_has(X86_FEATURE_XSAVE) &&
	    !cpu_has_xfeatures(saved->header.xfeatures, NULL))
		return kvmfork_report(reason, -EOPNOTSUPP,
				      "this CPU does not have all features of %#llx",
				      saved->header.xfeatures);
	/* KVM would read on: what the scratch memory had before. */
	beyond = boot_cpu_has(X86_FEATURE_XSAVE) ?
		 xsave_beyond(saved->header.xfeatures, record->size) : -1;
	if (beyond >= 0)
		return kvmfork_report(reason, -EINVAL,
				      "it is too short for feature %d", beyond);
	return 0;
}

const struct kvmfork_record_type kvmfork_record_xsave = {
	.id = KVMFORK_STATE_XSAVE,
	.name = "KVM_SET_XSAVE",
	.get = KVM_GET_XSAVE2,
	.cmd = KVM_SET_XSAVE,
	.load = xsave_load,
	.check = xsave_check,
};

static int xsave_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct kvmfork_state *state)
{
	u32 size = max_t(u32, kvmfork_vcpu_xsave_size(vcpu),
			 sizeof(struct kvm_xsave));

	if (size > KVMFORK_SCRATCH_SIZE)
		return -E2BIG;
	return kvmfork_state_save_sized(target, state, &kvmfork_record_xsave,
					size);
}

#ifdef KVM_REG_GUEST_SSP
struct one_reg_args {
	struct kvm_one_reg reg;
	u64 value;
};

static void ssp_prepare(struct kvmfork_target *target, struct one_reg_args *args)
{
	args->reg.id = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP);
	args->reg.addr = target->scratch->addr +
			 offsetof(struct one_reg_args, value);
}

static int ssp_load(struct kvmfork_target *target,
		    const struct kvmfork_record *record)
{
	struct one_reg_args args;
	long ret;

	ssp_prepare(target, &args);
	args.value = *(const u64 *)record->data;
	ret = kvmfork_kvm_set(target->scratch, target->file, KVM_SET_ONE_REG,
			      &args, sizeof(args));
	return ret < 0 ? kvmfork_target_report(target, record->type->name, ret) : 0;
}

const struct kvmfork_record_type kvmfork_record_guest_ssp = {
	.id = KVMFORK_STATE_GUEST_SSP,
	.name = "KVM_REG_GUEST_SSP",
	.load = ssp_load,
	.size = sizeof(u64),
	.presence = KVMFORK_SOMETIMES,
};

/* The shadow stack pointer, of guests that have shadow stacks. */
static int ssp_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct one_reg_args args = {};

	ssp_prepare(target, &args);
	if (kvmfork_kvm_exchange(target->scratch, target->file, KVM_GET_ONE_REG,
				 &args, sizeof(args)) < 0)
		return 0;
	record = kvmfork_state_add(state, &kvmfork_record_guest_ssp,
				   sizeof(u64));
	if (!record)
		return -ENOMEM;
	*(u64 *)record->data = args.value;
	return 0;
}
#else
static int ssp_check(const struct kvmfork_record *record,
		     struct kvmfork_report *reason)
{
	return kvmfork_report(reason, -EOPNOTSUPP,
			      "this kernel has no shadow stacks for guests");
}

const struct kvmfork_record_type kvmfork_record_guest_ssp = {
	.id = KVMFORK_STATE_GUEST_SSP,
	.name = "KVM_REG_GUEST_SSP",
	.size = sizeof(u64),
	.presence = KVMFORK_SOMETIMES,
	.check = ssp_check,
};

static int ssp_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	return 0;
}
#endif

/* What user space has told KVM through kvm_run. */
static int run_load(struct kvmfork_target *target,
		    const struct kvmfork_record *record)
{
	const struct kvmfork_state_run *inputs = (const void *)record->data;
	struct kvm_run *run;

	run = kvmfork_vcpu_run(kvmfork_file_to_vcpu(target->file));
	run->cr8 = inputs->cr8;
	run->apic_base = inputs->apic_base;
	run->kvm_valid_regs = inputs->kvm_valid_regs;
	run->request_interrupt_window = inputs->request_interrupt_window;
	return 0;
}

static int run_check(const struct kvmfork_record *record,
		     struct kvmfork_report *reason)
{
	const struct kvmfork_state_run *inputs = (const void *)record->data;

	if (memchr_inv(inputs->reserved, 0, sizeof(inputs->reserved)))
		return kvmfork_report(reason, -EINVAL, "reserved is not zero");
	return 0;
}

const struct kvmfork_record_type kvmfork_record_run = {
	.id = KVMFORK_STATE_RUN,
	.name = "kvm_run",
	.load = run_load,
	.size = sizeof(struct kvmfork_state_run),
	.check = run_check,
};

static int run_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
{
	const struct kvm_run *run = kvmfork_vcpu_run(vcpu);
	struct kvmfork_record *record;
	struct kvmfork_state_run *inputs;

	record = kvmfork_state_add(state, &kvmfork_record_run, sizeof(*inputs));
	if (!record)
		return -ENOMEM;
	inputs = (void *)record->data;
	inputs->cr8 = READ_ONCE(run->cr8);
	inputs->apic_base = READ_ONCE(run->apic_base);
	inputs->kvm_valid_regs = READ_ONCE(run->kvm_valid_regs);
	inputs->request_interrupt_window =
		READ_ONCE(run->request_interrupt_window);
	return 0;
}

static int guest_debug_load(struct kvmfork_target *target,
			    const struct kvmfork_record *record)
{
	const struct kvm_guest_debug *debug = (const void *)record->data;
	struct kvm_guest_debug now;
	long ret;

	kvmfork_vcpu_guest_debug(kvmfork_file_to_vcpu(target->file), &now);
	if (!debug->control && !now.control)
		return 0;
	ret = kvmfork_kvm_set(target->scratch, target->file, record->type->cmd, debug,
			      sizeof(*debug));
	return ret < 0 ? kvmfork_target_report(target, record->type->name, ret) : 0;
}

const struct kvmfork_record_type kvmfork_record_guest_debug = {
	.id = KVMFORK_STATE_GUEST_DEBUG,
	.name = "KVM_SET_GUEST_DEBUG",
	.cmd = KVM_SET_GUEST_DEBUG,
	.load = guest_debug_load,
	.size = sizeof(struct kvm_guest_debug),
};

static int guest_debug_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
{
	struct kvmfork_record *record;

	record = kvmfork_state_add(state, &kvmfork_record_guest_debug,
				   sizeof(struct kvm_guest_debug));
	if (!record)
		return -ENOMEM;
	kvmfork_vcpu_guest_debug(vcpu, (void *)record->data);
	return 0;
}

int kvmfork_vcpu_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct file *vm_file, struct kvmfork_state *state)
{
	struct kvm_mp_state scratch;
	int ret;

	ret = kvmfork_vcpu_check(vcpu, target->report);
	/* Takes pending INIT and SIPI, which changes what follows. */
	if (!ret)
		ret = kvmfork_kvm_get(target->scratch, target->file,
				      KVM_GET_MP_STATE, &scratch, sizeof(scratch));

	/* What KVM checks all else against. */
	ret = ret ?: cpuid_save(target, vcpu, state);
	/* Before anything is measured in TSC cycles. */
	ret = ret ?: kvmfork_tsc_save(target, state);
	/* EFER and CR4 before what they enable; APIC base before the LAPIC. */
	ret = ret ?: kvmfork_state_save_pair(target, state, &kvmfork_record_sregs);
	ret = ret ?: kvmfork_msrs_save_vmx(target, state);
	ret = ret ?: kvmfork_nested_save(target, vm_file, state);
	ret = ret ?: xcrs_save(target, state);
	ret = ret ?: xsave_save(target, vcpu, state);
	ret = ret ?: kvmfork_state_save_pair(target, state, &kvmfork_record_debugregs);
	/* The timer mode is in the LAPIC, the TSC deadline among the MSRs. */
	if (!ret && kvmfork_vcpu_has_lapic(vcpu))
		ret = kvmfork_state_save_pair(target, state, &kvmfork_record_lapic);
	ret = ret ?: kvmfork_mce_save(vcpu, state);
	ret = ret ?: kvmfork_msrs_save(target, vcpu, state);
	ret = ret ?: pv_cpuid_save(vcpu, state);
	ret = ret ?: ssp_save(target, state);
	/* Drops pending exceptions, so before the events. */
	ret = ret ?: kvmfork_state_save_pair(target, state, &kvmfork_record_regs);
	ret = ret ?: kvmfork_state_save_pair(target, state, &kvmfork_record_events);
	ret = ret ?: kvmfork_state_save_pair(target, state, &kvmfork_record_mp_state);
	ret = ret ?: guest_debug_save(vcpu, state);
	return ret ?: run_save(vcpu, state);
}
