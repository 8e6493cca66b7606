/* SPDX-License-Identifier: GPL-2.0-only */
/* The one VM of this process: all state of ukrun hangs off it. */
#ifndef UKRUN_VM_H
#define UKRUN_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "children.h"
#include "console.h"
#include "family.h"
#include "identity.h"
#include "io.h"
#include "loop.h"
#include "memory.h"
#include "reset.h"
#include "shell.h"
#include "template.h"
#include "tty.h"

struct device;
struct device_state;
struct hvt;
struct pci;
struct props;
struct qmp;
struct vcpu;
struct virtio_pci;

enum fork_on {
	FORK_ON_DEFAULT,	/* what the image's type says */
	FORK_ON_UD2,
	FORK_ON_PORT,
	FORK_ON_OFF,
};

/* What the command line said. */
struct config {
	const char *image;
	const char *initrd;
	const char *append;	/* null when not given */
	const char *guest_args;	/* joined by blanks, may be empty */
	uint64_t memory_size;
	uint64_t memory_flags;	/* KVMFORK_MEMORY_* */
	uint32_t nr_vcpus;
	uint32_t max_vms;
	uint32_t nr_clones;	/* --template; 0: not given */
	uint32_t nr_shells;
	uint64_t nr_resets;	/* --reset-on-exit */
	enum fork_on fork_on;
	struct props *devices, *drives, *netdevs;
	bool acpi;
	bool sandbox;
	bool reset_on_exit;
	bool kill_children;
	bool verbose;
};

struct vm {
	struct config config;

	uint64_t id;		/* 1 is the first */
	uint64_t parent_id;	/* 0: none */
	struct family family;
	struct children children;

	int kvm_fd;		/* /dev/kvm */
	int vm_fd;
	int attach_fd;		/* -1 when this VM cannot fork */
	struct memory memory;
	struct io io;
	struct device *devices;
	struct device_state *device_states;
	unsigned int nr_irqs;	/* device_take_irq() has given */
	unsigned int nr_virtio;
	struct virtio_pci *virtio_pci;	/* of the device that is being made; null: over MMIO */
	struct pci *pci;	/* null: no bus */
	struct console console;
	struct tty tty;
	struct loop loop;
	struct template template;
	struct shells shells;
	struct reset reset;
	struct identity identity;
	struct qmp *qmp;	/* null: none */
	struct hvt *hvt;	/* of a Solo5 guest; null: another */

	bool paused;		/* by qmp: stopped, the main thread serves no vCPU */

	struct vcpu *vcpus;	/* config.nr_vcpus of them */

	/*
	 * Guards all below, the children, and the flags of the vCPUs that say so.
	 * Whoever changes something under it that another may wait for signals
	 * @changed, or, to vCPUs that are parked, @resumed. Held for short times
	 * only, never over KVM_RUN.
	 */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_cond_t resumed;
	bool stop;		/* vCPUs are to park */
	bool ended;
	bool quit;		/* ended by the user, not by the guest */
	int status;		/* once @ended */
};

/* kvm.c: the host's side of the VM */
void kvm_open(struct vm *vm);
void kvm_create_vm(struct vm *vm);
/* Attach to kvmfork.ko, and have it trap ud2 when the image wants that. */
void kvm_attach(struct vm *vm);
/* From any thread. */
void kvm_irq_line(struct vm *vm, uint32_t irq, bool level);
/* Set-up only: this line means something while it is up. */
void kvm_irq_level(struct vm *vm, uint32_t irq);
/* Fill one vCPU's CPUID. Call it after KVM_CREATE_VCPU. */
void cpuid_setup(struct vm *vm, struct vcpu *vcpu);

/*
 * End the VM; from any thread. The first to say so decides the status. The
 * calling vCPU goes on to its parking place by itself.
 */
void vm_end(struct vm *vm, int status);
/* The same, at the user's wish. */
void vm_quit(struct vm *vm);
void vm_lock_init(struct vm *vm);

/*
 * All vCPUs out of KVM_RUN with nothing half done, and devices quiesced. False:
 * the VM has ended.
 */
bool vm_stop(struct vm *vm);
/* Start the vCPUs of a VM, but keep them from running. */
void vm_stop_new(struct vm *vm);
void vm_resume(struct vm *vm);
/* The same for a VM that has ended. */
void vm_stop_ended(struct vm *vm);
/* What the vCPUs wanted, and the end, has never been. */
void vm_restart(struct vm *vm);
/*
 * Ahead of the end: all vCPUs out of KVM_RUN, but no longer than a second, as one may be
 * writing to where nobody reads.
 */
void vm_rest(struct vm *vm);

/*
 * Serve the vCPU that asked for a fork. Returns in the parent and, with
 * @vm turned into the child, in the new process.
 */
void vm_fork(struct vm *vm, struct vcpu *caller);

#endif
