// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forking a VM: freeze it to a template, fork() this process, and spawn from
 * the template there. The runner's own state, devices included, is copied by
 * fork(): all vCPU threads are parked, so no lock is held, and only the main
 * thread, which does all this, exists on the other side. Or a process that has
 * been made ahead is told to be the child.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "fork.h"
#include "log.h"
#include "newborn.h"
#include "vcpu.h"
#include "vm.h"

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

/* In the new process. Ends it when there is no VM to run. */
static void fork_child(struct vm *vm, const struct fork_job *job, int report_fd)
{
	struct fork_report report = {};
	int ret;

	newborn_forget(vm);
	ret = newborn_name(vm, job);
	ret = ret ?: newborn_spawn(vm, job->template, &report);
	ret = ret ?: newborn_finish(vm, job);
	report.error = -ret;
	if (write(report_fd, &report, sizeof(report)) != sizeof(report) || ret)
		_exit(STATUS_UKRUN_FAILED);
	close(report_fd);
}

void fork_hear(int fd, struct fork_report *report)
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
}

/* Returns the process's id, 0 in the new process, or a negative errno. */
static pid_t fork_new_process(struct vm *vm, const struct fork_job *job,
			      struct fork_report *report)
{
	int pipe_fds[2];
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC)) {
		report->error = errno;
		return -report->error;
	}
	pid = fork();
	if (!pid) {
		close(pipe_fds[0]);
		fork_child(vm, job, pipe_fds[1]);
		return 0;
	}
	if (pid < 0) {
		report->error = errno;
		snprintf(report->message, sizeof(report->message), "fork()");
	}
	close(pipe_fds[1]);
	if (pid > 0)
		fork_hear(pipe_fds[0], report);
	close(pipe_fds[0]);
	if (pid > 0 && report->error)
		waitpid(pid, NULL, 0);
	return report->error ? -report->error : pid;
}

int64_t fork_process(struct vm *vm, struct fork_job *job, struct fork_report *report)
{
	struct child *child = calloc(1, sizeof(*child));
	pid_t pid;

	if (!child) {
		report->error = ENOMEM;
		return -ENOMEM;
	}
	job->id = family_new_id(vm);
	job->parent = getpid();
	/* Here, where the code that this takes is mapped already. */
	snprintf(job->name, sizeof(job->name), "ukrun:%llu", (unsigned long long)job->id);
	pid = shells_fork(vm, job);
	if (!pid)
		pid = fork_new_process(vm, job, report);
	if (pid <= 0) {
		free(child);
		return pid;
	}
	children_add(vm, child, job->id, pid);
	vm->family.self->forks++;
	return job->id;
}

void fork_warn(struct vm *vm, const char *what, const struct fork_report *report)
{
	vm_warn(vm, "%s: %s%s%s", what, strerror(report->error), report->message[0] ? ": " : "",
		report->message);
}

/* The VM is stopped. As fork_process(). */
static int64_t fork_stopped(struct vm *vm, struct vcpu *caller, struct fork_report *report)
{
	struct fork_job job = { .caller = caller };
	int64_t result;

	if (!family_has_room(vm)) {
		report->error = EAGAIN;
		snprintf(report->message, sizeof(report->message), "--max-vms is %u",
			 vm->config.max_vms);
		return -EAGAIN;
	}
	result = fork_freeze(vm, &job, report);
	if (result)
		return result;
	result = fork_process(vm, &job, report);
	/* The child has closed its own. */
	if (result)
		shells_refill_from(vm, job.template);
	return result;
}

int64_t vm_fork_unasked(struct vm *vm, struct fork_report *report)
{
	int64_t result;

	if (!vm_stop(vm))
		return -ESRCH;
	result = fork_stopped(vm, NULL, report);
	if (result)
		vm_resume(vm);
	else
		vcpu_start_all(vm);
	return result;
}

void vm_fork(struct vm *vm, struct vcpu *caller)
{
	struct fork_report report = {};
	struct kvm_regs regs;
	int64_t result;

	if (!vm_stop(vm))
		return;
	/* What the child finds; the parent's result is written over it. */
	call_return(caller, 0, caller->call_length);
	result = fork_stopped(vm, caller, &report);
	if (!result) {
		vcpu_start_all(vm);
		return;
	}
	/* Of the limit, the guest hears from us and can tell. */
	if (result == -EAGAIN)
		vm_log(vm, "fork: %s: %s", strerror(EAGAIN), report.message);
	else if (result < 0)
		fork_warn(vm, "fork", &report);
	vcpu_get_regs(caller, &regs);
	regs.rax = result;
	vcpu_set_regs(caller, &regs);
	vm_log(vm, "fork by vCPU %u before 0x%llx: %lld", caller->index, regs.rip,
	       (long long)result);
	vcpu_answered(caller);
	vm_resume(vm);
}
