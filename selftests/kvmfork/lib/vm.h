/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small VM builder in the spirit of tools/testing/selftests/kvm. Functions
 * assert that what they do works; those with two underscores return -errno.
 */
#ifndef _KVMFORK_TEST_VM_H
#define _KVMFORK_TEST_VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest.h"

#define VM_MAX_VCPUS	8
#define VM_MAX_SLOTS	16

enum vm_irqchip {
	VM_IRQCHIP_NONE,
	VM_IRQCHIP_SPLIT,
	VM_IRQCHIP_KERNEL,	/* with a PIT */
};

struct vcpu {
	int fd;
	uint32_t id;
	struct kvm_run *run;
};

struct vm_slot {
	uint32_t slot;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;	/* in the memory file */
	char *hva;
	int memory_fd;		/* -1: not of kvmfork */
};

struct vm {
	int vm_fd;
	int attach_fd;		/* -1: not attached */
	unsigned int nr_vcpus;	/* vcpus[] in the order of creation */
	unsigned int nr_slots;
	struct vcpu vcpus[VM_MAX_VCPUS];
	struct vm_slot slots[VM_MAX_SLOTS];
};

/* /dev/kvm, opened once. */
int kvm_device(void);
int kvm_check_cap(int cap);

/* An empty VM: no slot, no vCPU, not attached. */
void vm_create(struct vm *vm, enum vm_irqchip irqchip);
void vm_close(struct vm *vm);

/* Slot over memory at @hva; or over new kvmfork memory, which is returned. */
int __vm_slot_set(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa,
		  uint64_t size, void *hva);
void vm_slot_add(struct vm *vm, uint32_t flags, uint64_t gpa, uint64_t size,
		 void *hva, int memory_fd, uint64_t offset);
void *vm_memory_add(struct vm *vm, uint32_t flags, uint64_t gpa, uint64_t size);

/* Host address of guest memory. */
void *vm_hva(struct vm *vm, uint64_t gpa);

struct vcpu *vcpu_add(struct vm *vm, uint32_t id);
void vcpu_map(struct vcpu *vcpu, uint32_t id, int fd);

struct vcpu_cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[128];
};

/* What KVM supports, with the deadline timer where that needs asking for. */
void vcpu_set_cpuid(struct vcpu *vcpu);
int vcpu_get_cpuid(struct vcpu *vcpu, struct vcpu_cpuid *cpuid);

/* Page tables, descriptors and the guest code into the memory at address 0. */
void vm_load_guest(struct vm *vm);
void vm_set_handler(struct vm *vm, unsigned int vector, const void *guest_fn);
uint64_t guest_address(const void *guest_fn);

/* 64-bit mode, about to call guest_fn(arg). */
void vcpu_start(struct vcpu *vcpu, unsigned int index, void (*guest_fn)(uint64_t arg),
		uint64_t arg);

/* vm_create() + GUEST_MEMORY + guest + vCPUs 0 … nr - 1 + attach. */
void vm_create_default(struct vm *vm, enum vm_irqchip irqchip, unsigned int nr_vcpus);

int __vcpu_run(struct vcpu *vcpu);
void vcpu_run(struct vcpu *vcpu);

/* Run until the next exit, which must be a write to @port; its value. */
uint32_t vcpu_run_to_port(struct vcpu *vcpu, uint16_t port);
/* Finish the exit that KVM_RUN last returned with, and run no further. */
int __vcpu_complete_io(struct vcpu *vcpu);
/* The data of a PIO exit. */
void *vcpu_pio_data(struct vcpu *vcpu);

uint64_t vcpu_get_msr(struct vcpu *vcpu, uint32_t index);
int __vcpu_get_msr(struct vcpu *vcpu, uint32_t index, uint64_t *value);
int __vcpu_set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value);

#endif /* _KVMFORK_TEST_VM_H */
