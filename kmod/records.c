// SPDX-License-Identifier: GPL-2.0-only
/*
 * All that the state of a VM can consist of, in the order in which it is
 * saved and loaded: a state from user space must have it in the same.
 */
#include "state.h"

const struct kvmfork_record_type *const kvmfork_vcpu_records[] = {
	&kvmfork_record_cpuid,
	&kvmfork_record_tsc_khz,
	&kvmfork_record_tsc_offset,
	&kvmfork_record_sregs,
	&kvmfork_record_vmx_msrs,
	&kvmfork_record_nested,
	&kvmfork_record_xcrs,
	&kvmfork_record_xsave,
	&kvmfork_record_debugregs,
	&kvmfork_record_lapic,
	&kvmfork_record_mce,
	&kvmfork_record_msrs,
	&kvmfork_record_pv_cpuid,
	&kvmfork_record_guest_ssp,
	&kvmfork_record_regs,
	&kvmfork_record_events,
	&kvmfork_record_mp_state,
	&kvmfork_record_guest_debug,
	&kvmfork_record_run,
	NULL
};

const struct kvmfork_record_type *const kvmfork_device_records[] = {
	&kvmfork_record_pic_slave,
	&kvmfork_record_pic_master,
	&kvmfork_record_ioapic,
	&kvmfork_record_pit,
	NULL
};
