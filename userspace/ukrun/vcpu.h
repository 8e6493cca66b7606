/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One thread per vCPU. A vCPU *parks* when the VM stops for a fork, ends, or
 * when it has asked the main thread for something: its thread waits in
 * vcpu_park() with no lock held, KVM has nothing half done for it, and RIP is at an
 * instruction that has not been executed. A parked vCPU can be copied and
 * its registers changed by the main thread.
 */
#ifndef UKRUN_VCPU_H
#define UKRUN_VCPU_H

#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

#define VCPUS_MAX	64

/* What the main thread is to do for a vCPU. */
enum vcpu_request {
	VCPU_WANTS_NOTHING,
	VCPU_WANTS_FORK,
	VCPU_WANTS_FREEZE,
	VCPU_WANTS_RESET,
};

struct vcpu {
	struct vm *vm;
	uint32_t index;		/* also KVM's id and the APIC id */
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	char name[16];		/* of the thread */
	void *stack;
	/* Under vm->lock: */
	bool parked;
	enum vcpu_request request;
	/* Bytes of the instruction that asked, for when it is done. */
	unsigned int call_length;
};

/* Make all vCPUs; the first is the one that boots. */
void vcpu_create_all(struct vm *vm);
/* Use new files, after a fork. */
void vcpu_map_run(struct vcpu *vcpu);
/* After the devices, which are resumed here. */
void vcpu_start_all(struct vm *vm);

/* Under vm->lock: make all vCPUs leave KVM_RUN and come to vcpu_park(). */
void vcpu_kick_all(struct vm *vm);

/*
 * Finish the port access that KVM has reported, without running the guest
 * on. On the vCPU's own thread.
 */
void vcpu_complete_io(struct vcpu *vcpu);

/*
 * ppoll() on a vCPU's own thread, for a device that the guest waits for. -1 when
 * the VM is to stop: the device then returns soon.
 */
int vcpu_poll(struct vm *vm, struct pollfd *fds, unsigned int n, const struct timespec *timeout);

/* Ask for something and park until it is done, or has to be asked for anew. */
void vcpu_ask(struct vcpu *vcpu, enum vcpu_request request, unsigned int length);
/* The one whose turn it is, null when there is none. */
struct vcpu *vcpu_find_request(struct vm *vm);
/* On the main thread: what @vcpu asked for is done. */
void vcpu_answered(struct vcpu *vcpu);

/* These end the VM when KVM refuses. */
void vcpu_get_regs(struct vcpu *vcpu, struct kvm_regs *regs);
void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs);

/* call.c: the guest's calls. The vCPU has left at ud2, or at an out to the port. */
void call_ud(struct vcpu *vcpu);
void call_port(struct vcpu *vcpu);
/* Give the result and step over the instruction. */
void call_return(struct vcpu *vcpu, int64_t result, unsigned int length);
/* With a second result, in RSI. */
void call_return_two(struct vcpu *vcpu, int64_t result, uint64_t second, unsigned int length);

#endif
