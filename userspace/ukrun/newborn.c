// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "device.h"
#include "fork.h"
#include "log.h"
#include "newborn.h"
#include "vcpu.h"
#include "vm.h"

#define MAPPINGS_MAX	4

/* As a new VM: nothing is asked, nobody waits. */
static void newborn_reset_threads(struct vm *vm)
{
	uint32_t i;

	vm_lock_init(vm);
	vm->stop = false;
	for (i = 0; i < vm->config.nr_vcpus; i++) {
		vm->vcpus[i].parked = false;
		vm->vcpus[i].request = VCPU_WANTS_NOTHING;
	}
}

void newborn_forget(struct vm *vm)
{
	vm->tty = (struct tty){};
	vm->template.waits = false;
	newborn_reset_threads(vm);
	children_forget(vm);
	shells_forget(vm);
	reset_forget(vm);
}

static void newborn_close_parents(struct vm *vm)
{
	uint32_t i;

	close(vm->memory.fd);
	close(vm->attach_fd);
	for (i = 0; i < vm->config.nr_vcpus; i++)
		close(vm->vcpus[i].fd);
	close(vm->vm_fd);
}

/* The VM's files, from here on, are those of the new VM. */
static int newborn_adopt(struct vm *vm, const struct kvmfork_spawn *spawn,
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

int newborn_spawn(struct vm *vm, int template, struct fork_report *report)
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

	newborn_close_parents(vm);
	loop_forked(vm);
	if (ioctl(template, KVMFORK_SPAWN, &spawn))
		return -errno;
	return newborn_adopt(vm, &spawn, vcpus, mappings);
}

int newborn_name(struct vm *vm, const struct fork_job *job)
{
	/* Dies with the parent's main thread, which is the one that ran fork(). */
	if (vm->config.kill_children &&
	    (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != job->parent))
		return -ESRCH;
	vm->parent_id = vm->id;
	vm->id = job->id;
	return family_join(vm);
}

/* Zero leaves what was frozen. */
static int newborn_set_result(struct vcpu *caller, int64_t result)
{
	struct kvm_regs regs;

	if (!result)
		return 0;
	if (ioctl(caller->fd, KVM_GET_REGS, &regs))
		return -errno;
	regs.rax = result;
	return ioctl(caller->fd, KVM_SET_REGS, &regs) ? -errno : 0;
}

int newborn_finish(struct vm *vm, const struct fork_job *job)
{
	int ret;

	ret = newborn_set_result(job->caller, job->result);
	ret = ret ?: identity_renew(vm, job->frozen);
	if (ret)
		return ret;
	console_forked(vm, &vm->console);
	ret = device_forked_all(vm);
	if (ret)
		return ret;
	if (job->warm)
		reset_take(vm, job);
	else
		close(job->template);
	prctl(PR_SET_NAME, job->name);
	vm->family.shared->several = true;
	if (vm->config.verbose)
		vm_log(vm, "is here, pid %d, child of vm %llu", getpid(),
		       (unsigned long long)vm->parent_id);
	return 0;
}
