/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of a vCPU or VM as a list of records: each is the argument of one
 * KVM call that sets a part of it, in the order in which KVM accepts them.
 */
#ifndef KVMFORK_STATE_H
#define KVMFORK_STATE_H

#include <linux/list.h>
#include <linux/types.h>

#include "kvmcall.h"
#include "report.h"

struct kvm_vcpu;

/* A KVM file with what is needed to talk to it and about it. */
struct kvmfork_target {
	struct file *file;
	struct kvmfork_scratch *scratch;
	struct kvmfork_report *report;
	const char *name;		/* "VM" or "vCPU" */
	u32 id;				/* of a vCPU */
};

struct kvmfork_record;
typedef int (*kvmfork_load_fn)(struct kvmfork_target *target,
			       const struct kvmfork_record *record);

struct kvmfork_record {
	struct list_head link;
	const char *name;		/* of the KVM call, for messages */
	unsigned int cmd;
	kvmfork_load_fn load;		/* NULL: the plain call */
	u32 size;
	u8 data[] __aligned(8);
};

/* Records in order, and the memory that they are in. */
struct kvmfork_state {
	struct list_head records;
	struct list_head chunks;
};

/* A plain pair of KVM calls on a struct of fixed size. */
struct kvmfork_pair {
	const char *name;
	unsigned int get;
	unsigned int set;
	u32 size;
};

#define KVMFORK_PAIR(state, type) \
	{ "KVM_SET_" #state, KVM_GET_##state, KVM_SET_##state, sizeof(type) }

void kvmfork_state_init(struct kvmfork_state *state);
/* Append a record with @size bytes of zeroes. NULL: out of memory. */
struct kvmfork_record *
kvmfork_state_add(struct kvmfork_state *state, const char *name, unsigned int cmd,
		  kvmfork_load_fn load, u32 size);
/* The last one added, to be taken back or to be looked at. */
void kvmfork_state_drop_last(struct kvmfork_state *state);
struct kvmfork_record *kvmfork_state_last(struct kvmfork_state *state);
void kvmfork_state_destroy(struct kvmfork_state *state);

/* Read one pair and append it. An error is reported by name. */
int kvmfork_state_save_pair(struct kvmfork_target *target,
			    struct kvmfork_state *state,
			    const struct kvmfork_pair *pair);

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

/* msrs.c: learn from a vCPU made for the purpose which MSRs there are. */
int kvmfork_msrs_learn(struct kvmfork_scratch *scratch, struct file *vcpu);

/*
 * msrs.c: append the MSRs; those that say which VMX the guest has separately,
 * as they can only be set before nested state, and the others need what comes
 * after that.
 */
int kvmfork_msrs_save_vmx(struct kvmfork_target *target,
			  struct kvmfork_state *state);
int kvmfork_msrs_save(struct kvmfork_target *target, struct kvm_vcpu *vcpu,
		      struct kvmfork_state *state);

/*
 * vm_state.c. The clock goes on while a template waits: it is loaded with the
 * time that has passed added. It comes before the vCPUs, some of whose MSRs
 * are measured against it; the devices after them, since an I/O APIC with a
 * pending interrupt hands that on to the local APICs when it is loaded.
 */
struct kvmfork_shape;
int kvmfork_clock_save(struct kvmfork_target *target, struct kvmfork_state *state);
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
