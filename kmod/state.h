/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of a vCPU or VM as a list of records: each is the argument of one
 * KVM call that sets a part of it, in the order in which KVM accepts them.
 */
#ifndef KVMFORK_STATE_H
#define KVMFORK_STATE_H

#include <linux/kvmfork_state.h>
#include <linux/list.h>
#include <linux/types.h>

#include "kvmcall.h"
#include "report.h"

struct kvm_msr_entry;
struct kvm_vcpu;

/* A KVM file with what is needed to talk to it and about it. */
struct kvmfork_target {
	struct file *file;
	struct kvmfork_scratch *scratch;
	struct kvmfork_report *report;
	const char *name;		/* "VM" or "vCPU" */
	u32 id;				/* of a vCPU */
	bool is_new;			/* made for this load, has never run */
};

struct kvmfork_record;
typedef int (*kvmfork_load_fn)(struct kvmfork_target *target,
			       const struct kvmfork_record *record);

/* When a record is there. */
enum kvmfork_presence {
	KVMFORK_ALWAYS,
	KVMFORK_SOMETIMES,
	KVMFORK_WITH_VMX,
	KVMFORK_WITH_LAPIC,
	KVMFORK_WITH_PIC,
	KVMFORK_WITH_PIT,
};

/* What a record can be. */
struct kvmfork_record_type {
	u32 id;				/* KVMFORK_STATE_* */
	const char *name;		/* of the KVM call, for messages */
	unsigned int get;		/* of a plain pair of KVM calls */
	unsigned int cmd;
	kvmfork_load_fn load;		/* NULL: the plain call */
	u32 size;			/* 0: they differ */
	enum kvmfork_presence presence;
	/*
	 * Can what came from user space be given to load()? NULL: whatever it
	 * is. -EINVAL, -EOPNOTSUPP: no, and @reason says why.
	 */
	int (*check)(const struct kvmfork_record *record,
		     struct kvmfork_report *reason);
};

struct kvmfork_record {
	struct list_head link;
	const struct kvmfork_record_type *type;
	u32 size;
	u8 data[] __aligned(8);
};

/* Records in order, and the memory that they are in. */
struct kvmfork_state {
	struct list_head records;
	struct list_head chunks;
};

/* A plain pair of KVM calls on a struct of fixed size. */
#define KVMFORK_PAIR(_id, pair, type)		\
	.id = KVMFORK_STATE_##_id,		\
	.name = "KVM_SET_" #pair,		\
	.get = KVM_GET_##pair,			\
	.cmd = KVM_SET_##pair,			\
	.size = sizeof(type)

/* records.c: all types of records, in the order in which they are there. */
extern const struct kvmfork_record_type *const kvmfork_vcpu_records[];
extern const struct kvmfork_record_type *const kvmfork_device_records[];

/* They are defined where they are saved and loaded. */
extern const struct kvmfork_record_type
	kvmfork_record_cpuid, kvmfork_record_pv_cpuid, kvmfork_record_sregs,
	kvmfork_record_xcrs, kvmfork_record_xsave, kvmfork_record_debugregs,
	kvmfork_record_lapic, kvmfork_record_guest_ssp, kvmfork_record_regs,
	kvmfork_record_events, kvmfork_record_mp_state,
	kvmfork_record_guest_debug, kvmfork_record_run,
	kvmfork_record_tsc_khz, kvmfork_record_tsc_offset,
	kvmfork_record_nested, kvmfork_record_vmx_msrs, kvmfork_record_mce,
	kvmfork_record_msrs, kvmfork_record_pic_slave,
	kvmfork_record_pic_master, kvmfork_record_ioapic, kvmfork_record_pit;

void kvmfork_state_init(struct kvmfork_state *state);
/* Append a record with @size bytes of zeroes. NULL: out of memory. */
struct kvmfork_record *
kvmfork_state_add(struct kvmfork_state *state,
		  const struct kvmfork_record_type *type, u32 size);
/* The last one added, to be taken back or to be looked at. */
void kvmfork_state_drop_last(struct kvmfork_state *state);
struct kvmfork_record *kvmfork_state_last(struct kvmfork_state *state);
void kvmfork_state_destroy(struct kvmfork_state *state);

/* Read one pair and append it. An error is reported by name. */
int kvmfork_state_save_pair(struct kvmfork_target *target,
			    struct kvmfork_state *state,
			    const struct kvmfork_record_type *type);
/* The same, where the size is another each time. */
int kvmfork_state_save_sized(struct kvmfork_target *target,
			     struct kvmfork_state *state,
			     const struct kvmfork_record_type *type, u32 size);

/* Set all records, in order. The first that fails is reported. */
int kvmfork_state_load(struct kvmfork_target *target,
		       const struct kvmfork_state *state);

/* Report that @what failed for @target; returns @err. */
int kvmfork_target_report(struct kvmfork_target *target, const char *what,
			  int err);

/* vcpu_state.c: all of a stopped vCPU. */
int kvmfork_vcpu_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct file *vm_file, struct kvmfork_state *state);

/*
 * Take from a stopped vCPU, before its state is replaced, what no record
 * replaces: events on their way, being in nested mode, async page faults.
 */
int kvmfork_vcpu_calm(struct kvmfork_target *target, struct file *vm_file);
/* msrs.c: its part of that. */
int kvmfork_msrs_calm(struct kvmfork_target *target);

/*
 * msrs.c: write the MSRs of @entries, which come back in another order. 0, -ENOMEM,
 * or what KVM did not take, reported.
 */
int kvmfork_msrs_write(struct kvmfork_target *target,
		       struct kvm_msr_entry *entries, u32 nr);

/*
 * msrs.c: append the MSRs; those that say which VMX the guest has separately,
 * as they can only be set before nested state, and the others need what comes
 * after that.
 */
int kvmfork_msrs_save_vmx(struct kvmfork_target *target,
			  struct kvmfork_state *state);
int kvmfork_msrs_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct kvmfork_state *state);
/* mce.c: append the machine-check banks; before the MSRs. */
int kvmfork_mce_save(struct kvm_vcpu *vcpu, struct kvmfork_state *state);

/* nested.c: its part of both. */
int kvmfork_nested_save(struct kvmfork_target *target, struct file *vm_file,
			struct kvmfork_state *state);
int kvmfork_nested_calm(struct kvmfork_target *target, struct file *vm_file);

/* time.c: the rate of the TSC, and its offset to the host's. */
int kvmfork_tsc_save(struct kvmfork_target *target, struct kvmfork_state *state);

/* The guest's clock, and the host's at the same instant. */
struct kvmfork_clock {
	u64 clock;
	u64 boottime;
	u64 host_tsc;
	u32 host_khz;		/* rate of that TSC; 0: not known */
};

/*
 * The clock goes on while a template waits: it is loaded with the time that has
 * passed added. It comes before the vCPUs, some of whose MSRs are measured
 * against it; the devices after them, since an I/O APIC with a pending
 * interrupt hands that on to the local APICs when it is loaded.
 */
int kvmfork_clock_save(struct kvmfork_target *target, struct kvmfork_clock *clock);
int kvmfork_clock_load(struct kvmfork_target *target,
		       const struct kvmfork_clock *clock);

/*
 * To and from a struct that means the same after the host has been restarted;
 * host_khz is not in it.
 */
void kvmfork_clock_export(const struct kvmfork_clock *clock,
			  struct kvm_clock_data *data);
void kvmfork_clock_import(struct kvmfork_clock *clock,
			  const struct kvm_clock_data *data);
/*
 * What has to be added to the TSC offset of @vcpu so that its TSC has gone on
 * since @clock, by as much as the time that has passed. Zero as long as the
 * host's TSC has just counted on.
 */
struct kvmfork_tsc_shift {
	bool needed;
	u64 passed;		/* nanoseconds, by the host's clock */
	u64 then, now;		/* the host's TSC: of that host, and of this */
	u32 then_khz;		/* rate of that host's */
};

void kvmfork_tsc_shift_find(struct kvmfork_clock *clock,
			    struct kvmfork_tsc_shift *shift);
void kvmfork_tsc_shift_apply(const struct kvmfork_tsc_shift *shift,
			     struct kvmfork_state *state);

/* vm_state.c */
struct kvmfork_shape;
/*
 * Stop the devices that act on their own, before the state of the VM is
 * replaced: no interrupt of the old PIT reaches the new vCPUs.
 */
int kvmfork_devices_calm(struct kvmfork_target *target,
			 const struct kvmfork_shape *shape);
int kvmfork_routing_load(struct kvmfork_target *target,
			 const struct kvm_irq_routing *routing);
int kvmfork_devices_save(struct kvmfork_target *target,
			 const struct kvmfork_shape *shape,
			 struct kvmfork_state *state);

#endif
