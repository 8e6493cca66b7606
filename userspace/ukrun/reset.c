// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "device.h"
#include "fork.h"
#include "log.h"
#include "option.h"
#include "reset.h"
#include "vcpu.h"
#include "vm.h"

#define RESETS_MAX	(1UL << 62)
#define RESETS_KEPT	64

static void reset_option(struct vm *vm, const char *arg)
{
	vm->config.reset_on_exit = true;
	vm->config.nr_resets = option_number("--reset-on-exit", arg, 0, RESETS_MAX);
}

DECLARE_OPTION(reset_on_exit, {
	.name = "reset-on-exit",
	.arg = "N",
	.help = "N times, a VM that exits with 0 goes back to its call FREEZE",
	.handle = reset_option,
});

void reset_check(struct vm *vm)
{
	if (vm->config.reset_on_exit && vm->config.fork_on == FORK_ON_OFF)
		die("--reset-on-exit: takes kvmfork.ko, which --fork-on=off leaves out: use ud2 or port");
}

void reset_from_start(struct vm *vm)
{
	struct fork_report report = {};
	struct fork_job job = {};

	/* With --template it is the children who are reset. */
	if (!vm->config.reset_on_exit || vm->config.nr_clones)
		return;
	if (fork_freeze(vm, &job, &report)) {
		fork_warn(vm, "--reset-on-exit: freezing the VM", &report);
		_exit(STATUS_UKRUN_FAILED);
	}
	device_save_all(vm);
	reset_take(vm, &job);
}

void reset_take(struct vm *vm, const struct fork_job *job)
{
	struct reset *reset = &vm->reset;

	if (!vm->config.reset_on_exit) {
		close(job->template);
		return;
	}
	if (reset->possible)
		close(reset->template);
	reset->possible = true;
	reset->template = job->template;
	reset->caller = job->caller;
	reset->number = job->result;
	reset->frozen = job->frozen;
	reset->identity = vm->identity;
	reset->first_child = family_next_id(vm);
}

void reset_forget(struct vm *vm)
{
	if (vm->reset.possible)
		close(vm->reset.template);
	vm->reset = (struct reset){};
}

bool reset_is_possible(const struct vm *vm)
{
	return vm->reset.possible;
}

/*
 * Pages that were written are likely to be written again, so they are kept; and
 * now and then dropped, with those of them that are not.
 */
static uint64_t reset_flags(const struct vm *vm)
{
	uint64_t flags = KVMFORK_RESET_MEMORY | KVMFORK_RESET_STATE;

	return (vm->reset.runs + 1) % RESETS_KEPT ? flags | KVMFORK_RESET_KEEP : flags;
}

int reset_to(struct vm *vm, int template, uint64_t flags, struct fork_report *report)
{
	int32_t fds[VCPUS_MAX];
	struct kvmfork_reset args = {
		.flags = flags,
		.vcpu_fds = (uintptr_t)fds,
		.nr_vcpus = vm->config.nr_vcpus,
		.template_fd = template,
		.message = (uintptr_t)report->message,
		.message_size = sizeof(report->message),
	};
	uint32_t i;

	for (i = 0; i < vm->config.nr_vcpus; i++)
		fds[i] = vm->vcpus[i].fd;
	return ioctl(vm->attach_fd, KVMFORK_RESET, &args) ? -errno : 0;
}

/* With all vCPUs parked. Says why when it fails. */
static bool reset_run(struct vm *vm)
{
	struct reset *reset = &vm->reset;
	struct fork_report report = {};
	struct kvm_regs regs;

	children_kill(vm, reset->first_child);
	device_restore_all(vm);
	report.error = -reset_to(vm, reset->template, reset_flags(vm), &report);
	if (report.error) {
		fork_warn(vm, "resetting the VM", &report);
		return false;
	}
	reset->runs++;
	vm->family.self->resets++;
	vm->identity.wanted = reset->identity.wanted;
	vm->identity.gpa = reset->identity.gpa;
	report.error = -identity_renew(vm, reset->frozen);
	if (report.error) {
		fork_warn(vm, "the identity after a reset", &report);
		return false;
	}
	if (reset->caller) {
		vcpu_get_regs(reset->caller, &regs);
		regs.rax = reset->number ?: (int64_t)reset->runs;
		regs.rsi = reset->runs;
		vcpu_set_regs(reset->caller, &regs);
	}
	vm_log(vm, "reset %llu", (unsigned long long)reset->runs);
	return true;
}

void vm_reset(struct vm *vm)
{
	if (!vm_stop(vm))
		return;
	if (reset_run(vm))
		vm_restart(vm);
	else
		vm_end(vm, STATUS_UKRUN_FAILED);
}

/* The status is nobody else's business once the VM has ended. */
bool reset_on_exit(struct vm *vm)
{
	struct reset *reset = &vm->reset;

	if (!reset->possible || vm->status || vm->quit || reset->exits == vm->config.nr_resets)
		return false;
	vm_stop_ended(vm);
	reset->exits++;
	if (!reset_run(vm)) {
		vm->status = STATUS_UKRUN_FAILED;
		return false;
	}
	vm_restart(vm);
	return true;
}
