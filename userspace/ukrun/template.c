// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>

#include <kvmfork/guest.h>

#include "device.h"
#include "fork.h"
#include "log.h"
#include "option.h"
#include "template.h"
#include "vcpu.h"
#include "vm.h"

#define CLONES_MAX	(MAX_VMS_LIMIT - 1)

/* What a shell makes of a process that a signal has ended. */
#define STATUS_SIGNAL	128

static void template_option(struct vm *vm, const char *arg)
{
	vm->config.nr_clones = option_number("--template", arg, 1, CLONES_MAX);
}

DECLARE_OPTION(template, {
	.name = "template",
	.arg = "N",
	.help = "start N VMs from where the guest makes the call FREEZE",
	.handle = template_option,
});

void template_check(struct vm *vm)
{
	if (!vm->config.nr_clones)
		return;
	if (vm->config.fork_on == FORK_ON_OFF)
		die("--template: the guest cannot make the call FREEZE with --fork-on=off: use ud2 or port");
	if (vm->config.nr_clones >= vm->config.max_vms)
		die("--template %u: these and the first are more VMs than --max-vms allows: add --max-vms %u",
		    vm->config.nr_clones, vm->config.nr_clones + 1);
}

bool template_is_wanted(const struct vm *vm)
{
	return vm->id == 1 && !vm->template.made &&
	       (vm->config.nr_clones || vm->config.reset_on_exit);
}

/* False in a child. */
static bool template_start_clones(struct vm *vm, struct fork_job *job)
{
	struct fork_report report = {};
	int64_t id = 1;
	uint32_t i;

	for (i = 1; i <= vm->config.nr_clones && id > 0; i++) {
		job->result = i;
		id = fork_process(vm, job, &report);
		if (!id)
			return false;
		vm_log(vm, "template: child %u is vm %lld", i, (long long)id);
	}
	if (id < 0) {
		fork_warn(vm, "--template: starting a VM", &report);
		children_kill(vm, vm->template.first);
		vm_end(vm, STATUS_UKRUN_FAILED);
	}
	return true;
}

void vm_freeze(struct vm *vm, struct vcpu *caller)
{
	struct fork_report report = {};
	struct fork_job job = { .caller = caller };
	uint32_t i;

	/* Another vCPU was quicker: this one makes the call anew, which then does nothing. */
	if (!template_is_wanted(vm)) {
		vcpu_answered(caller);
		vm_resume(vm);
		return;
	}
	if (!vm_stop(vm))
		return;
	vm->template.made = true;
	/* It may have been reset to its start. */
	call_return_two(caller, vm->reset.runs, vm->reset.runs, caller->call_length);
	if (fork_freeze(vm, &job, &report)) {
		fork_warn(vm, "freezing the VM", &report);
		vm_end(vm, STATUS_UKRUN_FAILED);
		return;
	}
	device_save_all(vm);
	if (!vm->config.nr_clones) {
		reset_take(vm, &job);
		vcpu_answered(caller);
		vm_resume(vm);
		return;
	}
	vm->template.first = family_next_id(vm);
	vm->template.waits = true;
	job.warm = true;
	if (!template_start_clones(vm, &job)) {
		vcpu_start_all(vm);
		return;
	}
	shells_end(vm);
	/* Nobody is served any more: all vCPUs stay parked. */
	for (i = 0; i < vm->config.nr_vcpus; i++)
		vcpu_answered(&vm->vcpus[i]);
	close(job.template);
	/* What the children have all written is freed, when only they hold it. */
	memory_release(vm);
}

void template_watch(struct vm *vm)
{
	int status;

	if (!vm->template.waits || !children_have_ended(vm, vm->template.first, &status))
		return;
	if (status > KVMFORK_STATUS_KILLED)
		status += STATUS_SIGNAL - KVMFORK_STATUS_KILLED;
	vm_end(vm, status);
}

void template_pass_on(struct vm *vm, int signo)
{
	if (vm->template.waits)
		family_kill_others(vm, signo);
}

int template_status(const struct vm *vm, int status)
{
	if (status || vm->quit || vm->id != 1 || vm->template.made || !vm->config.nr_clones)
		return status;
	vm_warn(vm, "--template: the guest ended without the call FREEZE, so no VM was started: see docs/guest-abi.rst");
	return STATUS_UKRUN_FAILED;
}
