// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <kvmfork/guest.h>

#include "compiler.h"
#include "device.h"
#include "log.h"
#include "option.h"
#include "props.h"
#include "vcpu.h"
#include "vm.h"

#define SIGNAL_KICK	(SIGRTMIN + 1)

#define STACK_SIZE	(256UL << 10)
#define GUARD_SIZE	4096UL

static void vcpu_option_smp(struct vm *vm, const char *arg)
{
	struct props *props = NULL;

	/* QEMU's other words for it say how CPUs are arranged: one core each. */
	props_add(&props, "-smp", arg, "cpus");
	vm->config.nr_vcpus = option_number("-smp", props_need(props, "cpus"), 1, VCPUS_MAX);
	props_finish(props);
}

DECLARE_OPTION(smp, {
	.name = "smp",
	.arg = "N",
	.help = "vCPUs (1)",
	.handle = vcpu_option_smp,
});

void vcpu_map_run(struct vcpu *vcpu)
{
	int size = ioctl(vcpu->vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die_errno("/dev/kvm: mapping vCPU %u", vcpu->index);
	/* A child that had it mapped would keep this VM alive. */
	madvise(vcpu->run, size, MADV_DONTFORK);
}

/* As a BIOS leaves it: the 8259 through LINT0, NMI through LINT1. */
static void vcpu_setup_lapic(struct vcpu *vcpu)
{
	const unsigned int ext_int = 0x700, nmi = 0x400;
	struct kvm_lapic_state lapic;

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic))
		die_errno("/dev/kvm: KVM_GET_LAPIC");
	memcpy(&lapic.regs[0x350], &ext_int, sizeof(ext_int));
	memcpy(&lapic.regs[0x360], &nmi, sizeof(nmi));
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic))
		die_errno("/dev/kvm: KVM_SET_LAPIC");
}

/*
 * A child has the same thread with the same stack. One of libc's own it would use
 * again, too, but by a way that libc has to find first, in each child.
 */
static void vcpu_make_stack(struct vcpu *vcpu)
{
	char *stack = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (stack == MAP_FAILED || mprotect(stack, GUARD_SIZE, PROT_NONE))
		die_errno("stack of vCPU %u", vcpu->index);
	vcpu->stack = stack + GUARD_SIZE;
}

void vcpu_create_all(struct vm *vm)
{
	struct vcpu *vcpu;
	uint32_t i;

	vm->vcpus = xcalloc(vm->config.nr_vcpus, sizeof(*vm->vcpus));
	for (i = 0; i < vm->config.nr_vcpus; i++) {
		vcpu = &vm->vcpus[i];
		vcpu->vm = vm;
		vcpu->index = i;
		snprintf(vcpu->name, sizeof(vcpu->name), "vcpu%u", i);
		vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, i);
		if (vcpu->fd < 0)
			die_errno("/dev/kvm: vCPU %u", i);
		vcpu_map_run(vcpu);
		vcpu_make_stack(vcpu);
		cpuid_setup(vm, vcpu);
	}
	vcpu_setup_lapic(&vm->vcpus[0]);
}

static void vcpu_failed(struct vcpu *vcpu, int status, const char *what)
{
	struct kvm_regs regs = {};

	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	vm_warn(vcpu->vm, "vCPU %u: %s, RIP 0x%llx", vcpu->index, what,
		(unsigned long long)regs.rip);
	vm_end(vcpu->vm, status);
}

static void vcpu_refused(struct vcpu *vcpu, const char *call)
{
	char what[80];

	snprintf(what, sizeof(what), "%s: %s", call, strerror(errno));
	vcpu_failed(vcpu, STATUS_GUEST_KVM, what);
}

void vcpu_get_regs(struct vcpu *vcpu, struct kvm_regs *regs)
{
	if (ioctl(vcpu->fd, KVM_GET_REGS, regs))
		vcpu_refused(vcpu, "KVM_GET_REGS");
}

void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs)
{
	if (ioctl(vcpu->fd, KVM_SET_REGS, regs))
		vcpu_refused(vcpu, "KVM_SET_REGS");
}

static void vcpu_park(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	pthread_mutex_lock(&vm->lock);
	if (vm->stop || vm->ended || vcpu->request) {
		vcpu->parked = true;
		pthread_cond_broadcast(&vm->changed);
		while (vm->stop || vm->ended || vcpu->request)
			pthread_cond_wait(&vm->resumed, &vm->lock);
		vcpu->parked = false;
	}
	vcpu->run->immediate_exit = 0;
	pthread_mutex_unlock(&vm->lock);
}

void vcpu_complete_io(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	vcpu->run->immediate_exit = 1;
	if (!ioctl(vcpu->fd, KVM_RUN, 0) || errno != EINTR)
		vcpu_refused(vcpu, "completing a port access");
	/* Unless the VM has begun to stop. */
	pthread_mutex_lock(&vm->lock);
	vcpu->run->immediate_exit = vm->stop || vm->ended;
	pthread_mutex_unlock(&vm->lock);
}

void vcpu_ask(struct vcpu *vcpu, enum vcpu_request request, unsigned int length)
{
	struct vm *vm = vcpu->vm;

	pthread_mutex_lock(&vm->lock);
	vcpu->call_length = length;
	vcpu->request = request;
	pthread_mutex_unlock(&vm->lock);
	loop_wake(vm);
	vcpu_park(vcpu);
}

struct vcpu *vcpu_find_request(struct vm *vm)
{
	struct vcpu *vcpu = NULL;
	uint32_t i;

	pthread_mutex_lock(&vm->lock);
	for (i = 0; i < vm->config.nr_vcpus && !vcpu; i++)
		if (vm->vcpus[i].request)
			vcpu = &vm->vcpus[i];
	pthread_mutex_unlock(&vm->lock);
	return vcpu;
}

void vcpu_answered(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	pthread_mutex_lock(&vm->lock);
	vcpu->request = VCPU_WANTS_NOTHING;
	pthread_mutex_unlock(&vm->lock);
}

static void vcpu_exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;
	uint32_t i;

	if (write && run->io.port == KVMFORK_PORT && run->io.size == 4 &&
	    vcpu->vm->config.fork_on == FORK_ON_PORT) {
		call_port(vcpu);
		return;
	}
	for (i = 0; i < run->io.count; i++, data += run->io.size)
		io_access(vcpu->vm, IO_PORT, run->io.port, run->io.size, write, data);
}

static void vcpu_exit_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
	case KVM_SYSTEM_EVENT_RESET:
		vm_end(vcpu->vm, 0);
		break;
	default:
		vcpu_failed(vcpu, STATUS_GUEST_SHUTDOWN, "the guest says it crashed");
	}
}

static void vcpu_handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	char what[80];

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		vcpu_exit_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		io_access(vcpu->vm, IO_MMIO, run->mmio.phys_addr, run->mmio.len,
			  run->mmio.is_write, run->mmio.data);
		break;
	case KVM_EXIT_EXCEPTION:
		call_ud(vcpu);
		break;
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		vcpu_exit_system_event(vcpu);
		break;
	case KVM_EXIT_SHUTDOWN:
		vcpu_failed(vcpu, STATUS_GUEST_SHUTDOWN, "triple fault");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(what, sizeof(what), "the CPU refused the guest's state, reason 0x%llx",
			 run->fail_entry.hardware_entry_failure_reason);
		vcpu_failed(vcpu, STATUS_GUEST_ENTRY, what);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(what, sizeof(what), "KVM internal error %u%s", run->internal.suberror,
			 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ?
			 ", it cannot emulate an instruction" : "");
		vcpu_failed(vcpu, STATUS_GUEST_KVM, what);
		break;
	default:
		snprintf(what, sizeof(what), "unexpected KVM exit %u", run->exit_reason);
		vcpu_failed(vcpu, STATUS_GUEST_KVM, what);
	}
}

static void vcpu_kick_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGNAL_KICK);
}

/* A kick that comes once we have looked is let through by ppoll() alone. */
int vcpu_poll(struct vm *vm, struct pollfd *fds, unsigned int n, const struct timespec *timeout)
{
	sigset_t kick, old;
	int ret = -1;
	bool stop;

	vcpu_kick_set(&kick);
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	pthread_mutex_lock(&vm->lock);
	stop = vm->stop || vm->ended;
	pthread_mutex_unlock(&vm->lock);
	if (!stop)
		ret = ppoll(fds, n, timeout, &old);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

/*
 * KVM makes what it needs to run a vCPU at all when that is to run for the first
 * time. With a signal pending it does so, and does not enter the guest.
 */
static void vcpu_warm_up(struct vcpu *vcpu)
{
	struct {
		struct kvm_signal_mask mask;
		uint64_t set;
	} __packed none = { .mask.len = sizeof(none.set) };
	sigset_t kick;

	vcpu->run->immediate_exit = 0;
	vcpu_kick_set(&kick);
	pthread_sigmask(SIG_BLOCK, &kick, NULL);
	pthread_kill(pthread_self(), SIGNAL_KICK);
	/* Without the signal it would be the guest that runs. */
	if (!ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &none)) {
		ioctl(vcpu->fd, KVM_RUN, 0);
		ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, NULL);
	}
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	prctl(PR_SET_NAME, vcpu->name);
	/* Started ahead, by vm_stop_new(). */
	if (vcpu->vm->stop) {
		vcpu_warm_up(vcpu);
		vcpu_park(vcpu);
	}
	for (;;) {
		if (!ioctl(vcpu->fd, KVM_RUN, 0)) {
			vcpu_handle_exit(vcpu);
			continue;
		}
		if (errno == EINTR)
			vcpu_park(vcpu);
		else if (errno != EAGAIN)
			vcpu_refused(vcpu, "KVM_RUN");
	}
	return NULL;
}

static void vcpu_kicked(int signo)
{
	(void)signo;
}

void vcpu_start_all(struct vm *vm)
{
	/* Without SA_RESTART, so that a device's system call returns as well. */
	struct sigaction action = { .sa_handler = vcpu_kicked };
	pthread_attr_t attr;
	struct vcpu *vcpu;
	uint32_t i;

	device_resume_all(vm);
	sigaction(SIGNAL_KICK, &action, NULL);
	pthread_attr_init(&attr);
	for (i = 0; i < vm->config.nr_vcpus; i++) {
		vcpu = &vm->vcpus[i];
		pthread_attr_setstack(&attr, vcpu->stack, STACK_SIZE);
		errno = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
		if (errno)
			die_errno("thread of vCPU %u", i);
	}
}

void vcpu_kick_all(struct vm *vm)
{
	struct vcpu *vcpu;
	uint32_t i;

	for (i = 0; i < vm->config.nr_vcpus; i++) {
		vcpu = &vm->vcpus[i];
		/* Seen by a thread that is about to enter KVM; the signal by one inside. */
		vcpu->run->immediate_exit = 1;
		if (!vcpu->parked)
			pthread_kill(vcpu->thread, SIGNAL_KICK);
	}
}
