// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saving the state of a vCPU. The records are made in the order in which they
 * can be loaded; what depends on what is said at each.
 */
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <asm/fpu/types.h>

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
	ret = kvmfork_kvm_set(target->scratch, target->file, record->cmd,
			      record->data, record->size);
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

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
	record = kvmfork_state_add(state, "KVM_SET_CPUID2", KVM_SET_CPUID2,
				   cpuid_load,
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

/* After the MSRs, which it may keep from being set. */
static int pv_cpuid_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
{
	if (!kvmfork_vcpu_enforces_pv_cpuid(vcpu))
		return 0;
	return kvmfork_state_add(state, "KVM_CAP_ENFORCE_PV_FEATURE_CPUID", 0,
				 pv_cpuid_load, 0) ? 0 : -ENOMEM;
}

static int tsc_khz_load(struct kvmfork_target *target,
			const struct kvmfork_record *record)
{
	u32 khz = *(const u32 *)record->data;
	long ret;

	/* Without TSC scaling it can only be what it is. */
	if (kvmfork_kvm_call(target->file, KVM_GET_TSC_KHZ, 0) == khz)
		return 0;
	ret = kvmfork_kvm_call(target->file, KVM_SET_TSC_KHZ, khz);
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

static int tsc_khz_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	long khz;

	khz = kvmfork_kvm_call(target->file, KVM_GET_TSC_KHZ, 0);
	if (khz < 0)
		return kvmfork_target_report(target, "KVM_GET_TSC_KHZ", khz);
	record = kvmfork_state_add(state, "KVM_SET_TSC_KHZ", KVM_SET_TSC_KHZ,
				   tsc_khz_load, sizeof(u32));
	if (!record)
		return -ENOMEM;
	*(u32 *)record->data = khz;
	return 0;
}

/* A struct that names a user address, with what is there behind it. */
struct tsc_offset_args {
	struct kvm_device_attr attr;
	u64 offset;
};

static void tsc_offset_prepare(struct kvmfork_target *target,
			       struct tsc_offset_args *args)
{
	args->attr = (struct kvm_device_attr) {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = target->scratch->addr +
			offsetof(struct tsc_offset_args, offset),
	};
}

static int tsc_offset_load(struct kvmfork_target *target,
			   const struct kvmfork_record *record)
{
	struct tsc_offset_args args;
	long ret;

	tsc_offset_prepare(target, &args);
	args.offset = *(const u64 *)record->data;
	ret = kvmfork_kvm_set(target->scratch, target->file,
			      KVM_SET_DEVICE_ATTR, &args, sizeof(args));
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

/*
 * The offset to the host's TSC and not the guest's TSC: so the child's goes on
 * as the parent's does, and those of several vCPUs stay together.
 */
static int tsc_offset_save(struct kvmfork_target *target,
			   struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct tsc_offset_args args;
	long ret;

	record = kvmfork_state_add(state, "KVM_VCPU_TSC_OFFSET", 0,
				   tsc_offset_load, sizeof(u64));
	if (!record)
		return -ENOMEM;
	tsc_offset_prepare(target, &args);
	args.offset = 0;
	ret = kvmfork_kvm_exchange(target->scratch, target->file,
				   KVM_GET_DEVICE_ATTR, &args, sizeof(args));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_VCPU_TSC_OFFSET", ret);
	*(u64 *)record->data = args.offset;
	return 0;
}

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

/* How large it can be; 0: there is none. */
static int nested_size(struct file *vm_file)
{
	long size = kvmfork_kvm_call(vm_file, KVM_CHECK_EXTENSION,
				     KVM_CAP_NESTED_STATE);

	if (size < (long)sizeof(struct kvm_nested_state))
		return min(size, 0L);
	return size > KVMFORK_SCRATCH_SIZE ? -E2BIG : size;
}

static int nested_save(struct kvmfork_target *target, struct file *vm_file,
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
	record = kvmfork_state_add(state, "KVM_SET_NESTED_STATE",
				   KVM_SET_NESTED_STATE, NULL, size);
	if (!record)
		return -ENOMEM;
	ret = nested_read(target, (void *)record->data, size);
	if (ret >= 0)
		return 0;
report:
	return kvmfork_target_report(target, "KVM_GET_NESTED_STATE", ret);
}

/* Out of nested mode: a record is only there for what is not the default. */
static int nested_calm(struct kvmfork_target *target, struct file *vm_file)
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
	return 0;
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
	ret = ret ?: nested_calm(target, vm_file);
	return ret ?: kvmfork_msrs_calm(target);
}

/* KVM_SET_XCRS is an error on a host without XSAVE, where there are none. */
static int xcrs_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	static const struct kvmfork_pair pair = KVMFORK_PAIR(XCRS, struct kvm_xcrs);
	struct kvmfork_record *record;
	int ret;

	ret = kvmfork_state_save_pair(target, state, &pair);
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
 * the image has for them, which is that state.
 */
static int xsave_load(struct kvmfork_target *target,
		      const struct kvmfork_record *record)
{
	const u64 legacy = XFEATURE_MASK_FPSSE;
	const struct xregs_state *saved = (const void *)record->data;
	struct xregs_state *full;
	long ret = 0;

	if ((saved->header.xfeatures & legacy) != legacy) {
		full = kmemdup(record->data, record->size, GFP_KERNEL_ACCOUNT);
		if (!full)
			return -ENOMEM;
		full->header.xfeatures |= legacy;
		ret = kvmfork_kvm_set(target->scratch, target->file, record->cmd,
				      full, record->size);
		kfree(full);
	}
	if (ret >= 0)
		ret = kvmfork_kvm_set(target->scratch, target->file, record->cmd,
				      record->data, record->size);
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

static int xsave_save(struct kvmfork_target *target, struct file *vm_file,
		      struct kvmfork_state *state)
{
	struct kvmfork_pair pair = {
		.name = "KVM_SET_XSAVE",
		.get = KVM_GET_XSAVE2,
		.set = KVM_SET_XSAVE,
	};
	long size;
	int ret;

	/* Larger than struct kvm_xsave when the guest may use AMX. */
	size = kvmfork_kvm_call(vm_file, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	if (size < 0)
		return size;
	if (size > KVMFORK_SCRATCH_SIZE)
		return -E2BIG;
	pair.size = max_t(long, size, sizeof(struct kvm_xsave));
	ret = kvmfork_state_save_pair(target, state, &pair);
	if (!ret && boot_cpu_has(X86_FEATURE_XSAVE))
		kvmfork_state_last(state)->load = xsave_load;
	return ret;
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
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

/* The shadow stack pointer, of guests that have shadow stacks. */
static int ssp_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct one_reg_args args = {};

	ssp_prepare(target, &args);
	if (kvmfork_kvm_exchange(target->scratch, target->file, KVM_GET_ONE_REG,
				 &args, sizeof(args)) < 0)
		return 0;
	record = kvmfork_state_add(state, "KVM_REG_GUEST_SSP", 0, ssp_load,
				   sizeof(u64));
	if (!record)
		return -ENOMEM;
	*(u64 *)record->data = args.value;
	return 0;
}
#else
static int ssp_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	return 0;
}
#endif

/* What user space has told KVM through kvm_run. */
struct run_inputs {
	u64 cr8;
	u64 apic_base;
	u64 kvm_valid_regs;
	u8 request_interrupt_window;
};

static int run_load(struct kvmfork_target *target,
		    const struct kvmfork_record *record)
{
	const struct run_inputs *inputs = (const void *)record->data;
	struct kvm_run *run;

	run = kvmfork_vcpu_run(kvmfork_file_to_vcpu(target->file));
	run->cr8 = inputs->cr8;
	run->apic_base = inputs->apic_base;
	run->kvm_valid_regs = inputs->kvm_valid_regs;
	run->request_interrupt_window = inputs->request_interrupt_window;
	return 0;
}

static int run_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
{
	const struct kvm_run *run = kvmfork_vcpu_run(vcpu);
	struct kvmfork_record *record;
	struct run_inputs *inputs;

	record = kvmfork_state_add(state, "kvm_run", 0, run_load,
				   sizeof(*inputs));
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
	ret = kvmfork_kvm_set(target->scratch, target->file, record->cmd, debug,
			      sizeof(*debug));
	return ret < 0 ? kvmfork_target_report(target, record->name, ret) : 0;
}

static int guest_debug_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state)
{
	struct kvmfork_record *record;

	record = kvmfork_state_add(state, "KVM_SET_GUEST_DEBUG",
				   KVM_SET_GUEST_DEBUG, guest_debug_load,
				   sizeof(struct kvm_guest_debug));
	if (!record)
		return -ENOMEM;
	kvmfork_vcpu_guest_debug(vcpu, (void *)record->data);
	return 0;
}

int kvmfork_vcpu_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct file *vm_file, struct kvmfork_state *state)
{
	static const struct kvmfork_pair
		sregs = KVMFORK_PAIR(SREGS2, struct kvm_sregs2),
		debugregs = KVMFORK_PAIR(DEBUGREGS, struct kvm_debugregs),
		lapic = KVMFORK_PAIR(LAPIC, struct kvm_lapic_state),
		regs = KVMFORK_PAIR(REGS, struct kvm_regs),
		events = KVMFORK_PAIR(VCPU_EVENTS, struct kvm_vcpu_events),
		mp_state = KVMFORK_PAIR(MP_STATE, struct kvm_mp_state);
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
	ret = ret ?: tsc_khz_save(target, state);
	ret = ret ?: tsc_offset_save(target, state);
	/* EFER and CR4 before what they enable; APIC base before the LAPIC. */
	ret = ret ?: kvmfork_state_save_pair(target, state, &sregs);
	ret = ret ?: kvmfork_msrs_save_vmx(target, state);
	ret = ret ?: nested_save(target, vm_file, state);
	ret = ret ?: xcrs_save(target, state);
	ret = ret ?: xsave_save(target, vm_file, state);
	ret = ret ?: kvmfork_state_save_pair(target, state, &debugregs);
	/* The timer mode is in the LAPIC, the TSC deadline among the MSRs. */
	if (!ret && kvmfork_vcpu_has_lapic(vcpu))
		ret = kvmfork_state_save_pair(target, state, &lapic);
	ret = ret ?: kvmfork_msrs_save(target, vcpu, state);
	ret = ret ?: pv_cpuid_save(vcpu, state);
	ret = ret ?: ssp_save(target, state);
	/* Drops pending exceptions, so before the events. */
	ret = ret ?: kvmfork_state_save_pair(target, state, &regs);
	ret = ret ?: kvmfork_state_save_pair(target, state, &events);
	ret = ret ?: kvmfork_state_save_pair(target, state, &mp_state);
	ret = ret ?: guest_debug_save(vcpu, state);
	return ret ?: run_save(vcpu, state);
}
