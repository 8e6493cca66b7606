// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forking a VM: freeze it to a template, fork() this process, and spawn from
 * the template there. The runner's own state, devices included, is copied by
 * fork(): all vCPU threads are parked, so no lock is held, and only the main
 * thread, which does all this, exists on the other side.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "device.h"
#include "fork.h"
#include "log.h"
#include "vcpu.h"
#include "vm.h"

#define MAPPINGS_MAX	4

int fork_freeze(struct vm *vm, struct fork_job *job, struct fork_report *report)
{
	int32_t fds[VCPUS_MAX];
	struct kvmfork_freeze freeze = {
		.vcpu_fds = (uintptr_t)fds,
		.nr_vcpus = vm->config.nr_vcpus,
		.message = (uintptr_t)report->message,
		.message_size = sizeof(report->message),
	};
	uint32_t i;

	for (i = 0; i < vm->config.nr_vcpus; i++)
		fds[i] = vm->vcpus[i].fd;
	job->frozen = identity_now();
	job->template = ioctl(vm->attach_fd, KVMFORK_FREEZE, &freeze);
	report->error = job->template < 0 ? errno : 0;
	return -report->error;
}

/* The VM's files, from here on, are those of the new VM. */
static int fork_adopt(struct vm *vm, const struct kvmfork_spawn *spawn,
		      const struct kvmfork_vcpu *vcpus, const struct kvmfork_mapping *mappings)
{
	struct memory *memory = &vm->memory;
	uint32_t i;

	vm->vm_fd = spawn->vm_fd;
	vm->attach_fd = spawn->attach_fd;
	/* One memory file, though it may be in several pieces. */
	memory->fd = mappings[0].memory_fd;
	for (i = 0; i < spawn->nr_mappings; i++)
		if (mappings[i].address != mappings[i].parent_address ||
		    mappings[i].memory_fd != memory->fd)
			return -EFAULT;
	if (madvise(memory->base, memory->size, MADV_DONTFORK))
		return -errno;
	for (i = 0; i < spawn->nr_vcpus; i++) {
		if (vcpus[i].id >= vm->config.nr_vcpus)
			return -EINVAL;
		vm->vcpus[vcpus[i].id].fd = vcpus[i].fd;
		vcpu_map_run(&vm->vcpus[vcpus[i].id]);
	}
	return 0;
}

static int fork_spawn(struct vm *vm, int template, struct fork_report *report)
{
	struct kvmfork_vcpu vcpus[VCPUS_MAX];
	struct kvmfork_mapping mappings[MAPPINGS_MAX];
	struct kvmfork_spawn spawn = {
		.flags = KVMFORK_SPAWN_FIXED,
		.vcpus = (uintptr_t)vcpus,
		.mappings = (uintptr_t)mappings,
		.message = (uintptr_t)report->message,
		.message_size = sizeof(report->message),
		.kvm_fd = vm->kvm_fd,
		.nr_vcpus = vm->config.nr_vcpus,
		.nr_mappings = MAPPINGS_MAX,
	};

	if (ioctl(template, KVMFORK_SPAWN, &spawn))
		return -errno;
	return fork_adopt(vm, &spawn, vcpus, mappings);
}

/* As a new VM: nothing is asked, nobody waits. */
static void fork_reset_threads(struct vm *vm)
{
	uint32_t i;

	vm_lock_init(vm);
	vm->stop = false;
	for (i = 0; i < vm->config.nr_vcpus; i++) {
		vm->vcpus[i].parked = false;
		vm->vcpus[i].request = VCPU_WANTS_NOTHING;
	}
}

static void fork_close_parents(struct vm *vm)
{
	uint32_t i;

	close(vm->memory.fd);
	close(vm->attach_fd);
	for (i = 0; i < vm->config.nr_vcpus; i++)
		close(vm->vcpus[i].fd);
	close(vm->vm_fd);
}

/* Zero leaves what was frozen. */
static int fork_set_result(struct vcpu *caller, int64_t result)
{
	struct kvm_regs regs;

	if (!result)
		return 0;
	if (ioctl(caller->fd, KVM_GET_REGS, &regs))
		return -errno;
	regs.rax = result;
	return ioctl(caller->fd, KVM_SET_REGS, &regs) ? -errno : 0;
}

/* In the new process. Ends it when there is no VM to run. */
static void fork_child(struct vm *vm, const struct fork_job *job, uint64_t id, pid_t parent,
		       int report_fd)
{
	struct fork_report report = {};
	char name[16];

	/* Dies with the parent's main thread, which is the one that ran fork(). */
	if (vm->config.kill_children &&
	    (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		_exit(STATUS_UKRUN_FAILED);
	vm->parent_id = vm->id;
	vm->id = id;
	vm->tty = (struct tty){};
	fork_reset_threads(vm);
	children_forget(vm);
	reset_forget(vm);
	report.error = -family_join(vm);
	if (!report.error) {
		fork_close_parents(vm);
		loop_forked(vm);
		report.error = -fork_spawn(vm, job->template, &report);
	}
	if (!report.error)
		report.error = -fork_set_result(job->caller, job->result);
	if (!report.error)
		report.error = -identity_renew(vm, job->frozen);
	if (!report.error) {
		console_forked(vm);
		device_forked_all(vm);
		snprintf(name, sizeof(name), "ukrun:%llu", (unsigned long long)id);
		prctl(PR_SET_NAME, name);
		vm->family.shared->several = true;
		vm_log(vm, "is here, pid %d, child of vm %llu", getpid(),
		       (unsigned long long)vm->parent_id);
	}
	if (write(report_fd, &report, sizeof(report)) != sizeof(report) || report.error)
		_exit(STATUS_UKRUN_FAILED);
	close(report_fd);
}

/* Hear what became of the new process. */
static void fork_hear(int fd, pid_t pid, struct fork_report *report)
{
	ssize_t n;

	do {
		n = read(fd, report, sizeof(*report));
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(*report)) {
		memset(report, 0, sizeof(*report));
		report->error = EIO;
		snprintf(report->message, sizeof(report->message), "the new process died");
	}
	report->message[sizeof(report->message) - 1] = '\0';
	if (report->error)
		waitpid(pid, NULL, 0);
}

int64_t fork_process(struct vm *vm, const struct fork_job *job, struct fork_report *report)
{
	struct child *child = calloc(1, sizeof(*child));
	uint64_t id = family_new_id(vm);
	pid_t parent = getpid();
	int pipe_fds[2];
	pid_t pid = -1;

	if (!child || pipe2(pipe_fds, O_CLOEXEC)) {
		report->error = errno;
		goto free_child;
	}
	pid = fork();
	if (!pid) {
		close(pipe_fds[0]);
		fork_child(vm, job, id, parent, pipe_fds[1]);
		free(child);
		return 0;
	}
	report->error = pid < 0 ? errno : 0;
	close(pipe_fds[1]);
	if (pid > 0)
		fork_hear(pipe_fds[0], pid, report);
	close(pipe_fds[0]);
	if (!report->error) {
		children_add(vm, child, id, pid);
		vm->family.self->forks++;
		return id;
	}
free_child:
	free(child);
	return -report->error;
}

void fork_warn(struct vm *vm, const char *what, const struct fork_report *report)
{
	vm_warn(vm, "%s: %s%s%s", what, strerror(report->error), report->message[0] ? ": " : "",
		report->message);
}

static int64_t fork_vm(struct vm *vm, struct vcpu *caller)
{
	struct fork_report report = { .error = EAGAIN };
	struct fork_job job = { .caller = caller };
	int64_t result = -EAGAIN;

	if (family_has_room(vm)) {
		result = fork_freeze(vm, &job, &report);
		if (!result) {
			result = fork_process(vm, &job, &report);
			close(job.template);
		}
	}
	/* Of the limit, the guest hears from us and can tell. */
	if (result == -EAGAIN)
		vm_log(vm, "fork: %s, --max-vms is %u", strerror(EAGAIN), vm->config.max_vms);
	else if (result < 0)
		fork_warn(vm, "fork", &report);
	return result;
}

void vm_fork(struct vm *vm, struct vcpu *caller)
{
	struct kvm_regs regs;
	int64_t result;

	if (!vm_stop(vm))
		return;
	/* What the child finds; the parent's result is written over it. */
	call_return(caller, 0, caller->call_length);
	result = fork_vm(vm, caller);
	if (!result) {
		vcpu_start_all(vm);
		return;
	}
	vcpu_get_regs(caller, &regs);
	regs.rax = result;
	vcpu_set_regs(caller, &regs);
	vm_log(vm, "fork by vCPU %u before 0x%llx: %lld", caller->index, regs.rip,
	       (long long)result);
	vcpu_answered(caller);
	vm_resume(vm);
}
