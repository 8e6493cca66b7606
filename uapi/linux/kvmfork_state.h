/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The state of a template as KVMFORK_EXPORT gives it and KVMFORK_LOAD takes it.
 *
 * docs/state-format.rst has the rules. The state is a struct
 * kvmfork_state_header and records behind it: each a struct
 * kvmfork_state_record, its payload, and zeroes up to a multiple of
 * KVMFORK_STATE_ALIGN bytes. All numbers are little-endian, all of it begins
 * at such multiples.
 */
#ifndef _UAPI_LINUX_KVMFORK_STATE_H
#define _UAPI_LINUX_KVMFORK_STATE_H

#include <linux/kvm.h>
#include <linux/types.h>

/* Eight bytes with the zero at the end. */
#define KVMFORK_STATE_MAGIC	"KVMFORK"
#define KVMFORK_STATE_VERSION	1
#define KVMFORK_STATE_ALIGN	8

/**
 * struct kvmfork_state_header - what a state begins with
 * @magic: KVMFORK_STATE_MAGIC
 * @version: KVMFORK_STATE_VERSION
 * @reserved: zero
 * @size: of all of it, with this header, in bytes
 */
struct kvmfork_state_header {
	__u8 magic[8];
	__u32 version;
	__u32 reserved;
	__u64 size;
};

/* kvmfork_state_record.vcpu of a record of the VM. */
#define KVMFORK_STATE_VM	0xffffffff

/**
 * struct kvmfork_state_record - what a record begins with
 * @type: KVMFORK_STATE_*: what the payload is
 * @vcpu: the id of the vCPU that it belongs to, or KVMFORK_STATE_VM
 * @size: of the payload, without this header and the zeroes behind, in bytes
 * @reserved: zero
 */
struct kvmfork_state_record {
	__u32 type;
	__u32 vcpu;
	__u32 size;
	__u32 reserved;
};

/*
 * Records of the VM, in this order, before those of the vCPUs. GSI_ROUTING is
 * there when the shape has an interrupt controller, all others are always.
 */
#define KVMFORK_STATE_HOST		0x01	/* struct kvmfork_state_host */
#define KVMFORK_STATE_SHAPE		0x02	/* struct kvmfork_state_shape */
#define KVMFORK_STATE_CAPS		0x03	/* struct kvmfork_state_cap[] */
#define KVMFORK_STATE_MEMORIES		0x04	/* __u64[]: sizes, in bytes */
#define KVMFORK_STATE_SLOTS		0x05	/* struct kvmfork_state_slot[] */
#define KVMFORK_STATE_GSI_ROUTING	0x06	/* struct kvm_irq_routing */
#define KVMFORK_STATE_CLOCK		0x07	/* struct kvm_clock_data */

/* Records of a vCPU, in this order; the vCPUs in that of their creation. */
#define KVMFORK_STATE_CPUID		0x100	/* struct kvm_cpuid2 */
#define KVMFORK_STATE_TSC_KHZ		0x101	/* __u32 */
#define KVMFORK_STATE_TSC_OFFSET	0x102	/* __u64 */
#define KVMFORK_STATE_SREGS		0x103	/* struct kvm_sregs2 */
#define KVMFORK_STATE_VMX_MSRS		0x104	/* struct kvm_msr_entry[] */
#define KVMFORK_STATE_NESTED		0x105	/* struct kvm_nested_state */
#define KVMFORK_STATE_XCRS		0x106	/* struct kvm_xcrs */
#define KVMFORK_STATE_XSAVE		0x107	/* struct kvm_xsave */
#define KVMFORK_STATE_DEBUGREGS		0x108	/* struct kvm_debugregs */
#define KVMFORK_STATE_LAPIC		0x109	/* struct kvm_lapic_state */
#define KVMFORK_STATE_MCE		0x10a	/* struct kvmfork_state_mce */
#define KVMFORK_STATE_MSRS		0x10b	/* struct kvm_msr_entry[] */
#define KVMFORK_STATE_PV_CPUID		0x10c	/* nothing */
#define KVMFORK_STATE_GUEST_SSP		0x10d	/* __u64 */
#define KVMFORK_STATE_REGS		0x10e	/* struct kvm_regs */
#define KVMFORK_STATE_EVENTS		0x10f	/* struct kvm_vcpu_events */
#define KVMFORK_STATE_MP_STATE		0x110	/* struct kvm_mp_state */
#define KVMFORK_STATE_GUEST_DEBUG	0x111	/* struct kvm_guest_debug */
#define KVMFORK_STATE_RUN		0x112	/* struct kvmfork_state_run */

/* Records of the VM, in this order, behind those of the vCPUs. */
#define KVMFORK_STATE_PIC_SLAVE		0x200	/* struct kvm_irqchip */
#define KVMFORK_STATE_PIC_MASTER	0x201	/* struct kvm_irqchip */
#define KVMFORK_STATE_IOAPIC		0x202	/* struct kvm_irqchip */
#define KVMFORK_STATE_PIT		0x203	/* struct kvm_pit_state2 */

#define KVMFORK_STATE_HOST_SVM		1
#define KVMFORK_STATE_HOST_VMX		2

/**
 * struct kvmfork_state_host - where the state comes from
 * @virtualization: KVMFORK_STATE_HOST_SVM or KVMFORK_STATE_HOST_VMX
 * @tsc_khz: rate of the host's TSC, which TSC offsets are to; 0: not known, and
 *	taken for that of the host where it is loaded
 */
struct kvmfork_state_host {
	__u32 virtualization;
	__u32 tsc_khz;
};

#define KVMFORK_STATE_IRQCHIP_NONE	0
#define KVMFORK_STATE_IRQCHIP_KERNEL	1	/* KVM_CREATE_IRQCHIP */
#define KVMFORK_STATE_IRQCHIP_SPLIT	2	/* KVM_CAP_SPLIT_IRQCHIP */

#define KVMFORK_STATE_SHAPE_PIT		(1U << 0)
/* KVM_PIT_SPEAKER_DUMMY */
#define KVMFORK_STATE_SHAPE_SPEAKER	(1U << 1)

/**
 * struct kvmfork_state_shape - what a VM is made with
 * @irqchip: KVMFORK_STATE_IRQCHIP_*
 * @split_pins: argument of KVM_CAP_SPLIT_IRQCHIP, else zero
 * @flags: KVMFORK_STATE_SHAPE_*
 * @nr_vcpus: how many vCPUs there are
 * @boot_cpu_id: as for KVM_SET_BOOT_CPU_ID
 * @tsc_khz: of vCPUs to come, as for KVM_SET_TSC_KHZ on the VM
 * @tss_addr: as for KVM_SET_TSS_ADDR; 0: not set
 * @identity_map_addr: as for KVM_SET_IDENTITY_MAP_ADDR; 0: not set
 * @traps: as for KVMFORK_TRAP
 */
struct kvmfork_state_shape {
	__u32 irqchip;
	__u32 split_pins;
	__u32 flags;
	__u32 nr_vcpus;
	__u32 boot_cpu_id;
	__u32 tsc_khz;
	__u64 tss_addr;
	__u64 identity_map_addr;
	__u64 traps;
};

/**
 * struct kvmfork_state_cap - what a capability of the VM is set to
 * @cap: KVM_CAP_*
 * @reserved: zero
 * @value: its argument; all ones for KVM_CAP_HALT_POLL that is not set
 */
struct kvmfork_state_cap {
	__u32 cap;
	__u32 reserved;
	__u64 value;
};

/**
 * struct kvmfork_state_slot - a memory slot
 * @region: as for KVM_SET_USER_MEMORY_REGION, with the address where the
 *	parent had the memory; slots are there by rising number
 * @offset: of its first byte in the memory file
 * @memory: index of that. They are numbered by the lowest userspace_addr at
 *	which a slot shows them
 * @reserved: zero
 */
struct kvmfork_state_slot {
	struct kvm_userspace_memory_region region;
	__u64 offset;
	__u32 memory;
	__u32 reserved;
};

/**
 * struct kvmfork_state_mce_bank - the machine-check registers of one bank
 * @ctl: MSR_IA32_MCx_CTL
 * @status: MSR_IA32_MCx_STATUS
 * @addr: MSR_IA32_MCx_ADDR
 * @misc: MSR_IA32_MCx_MISC
 * @ctl2: MSR_IA32_MCx_CTL2
 */
struct kvmfork_state_mce_bank {
	__u64 ctl;
	__u64 status;
	__u64 addr;
	__u64 misc;
	__u64 ctl2;
};

/**
 * struct kvmfork_state_mce - the machine-check registers of a vCPU
 * @mcg_cap: MSR_IA32_MCG_CAP, the argument of KVM_X86_SETUP_MCE
 * @banks: as many as that says, at most 32
 */
struct kvmfork_state_mce {
	__u64 mcg_cap;
	struct kvmfork_state_mce_bank banks[];
};

/**
 * struct kvmfork_state_run - what user space has told KVM by struct kvm_run
 * @cr8: of kvm_run
 * @apic_base: of kvm_run
 * @kvm_valid_regs: of kvm_run
 * @request_interrupt_window: of kvm_run
 * @reserved: zero
 */
struct kvmfork_state_run {
	__u64 cr8;
	__u64 apic_base;
	__u64 kvm_valid_regs;
	__u8 request_interrupt_window;
	__u8 reserved[7];
};

#endif /* _UAPI_LINUX_KVMFORK_STATE_H */
