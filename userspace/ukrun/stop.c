// SPDX-License-Identifier: GPL-2.0-only
/* Stopping all vCPUs, so that the VM can be copied, and having them run on. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "device.h"
#include "vcpu.h"
#include "vm.h"

/* A vCPU may be writing to a console that nobody reads: Ctrl-C still ends us. */
static void stop_wait(struct vm *vm)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	if (pthread_cond_timedwait(&vm->changed, &vm->lock, &until) != ETIMEDOUT)
		return;
	pthread_mutex_unlock(&vm->lock);
	loop_take_signals(vm);
	pthread_mutex_lock(&vm->lock);
}

/* Under vm->lock. */
static void __stop_wait_all(struct vm *vm, bool ended)
{
	uint32_t i;

	for (i = 0; i < vm->config.nr_vcpus && vm->ended == ended; i++)
		while (!vm->vcpus[i].parked && vm->ended == ended)
			stop_wait(vm);
}

bool vm_stop(struct vm *vm)
{
	bool ended;

	pthread_mutex_lock(&vm->lock);
	vm->stop = true;
	vcpu_kick_all(vm);
	/* Those that wait for a child. */
	pthread_cond_broadcast(&vm->changed);
	__stop_wait_all(vm, false);
	ended = vm->ended;
	pthread_mutex_unlock(&vm->lock);
	if (!ended)
		device_quiesce_all(vm);
	return !ended;
}

void vm_stop_new(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->stop = true;
	pthread_mutex_unlock(&vm->lock);
	vcpu_start_all(vm);
	pthread_mutex_lock(&vm->lock);
	__stop_wait_all(vm, false);
	pthread_mutex_unlock(&vm->lock);
}

void vm_stop_ended(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	__stop_wait_all(vm, true);
	pthread_mutex_unlock(&vm->lock);
	device_quiesce_all(vm);
}

void vm_resume(struct vm *vm)
{
	device_resume_all(vm);
	pthread_mutex_lock(&vm->lock);
	vm->stop = false;
	pthread_cond_broadcast(&vm->resumed);
	pthread_mutex_unlock(&vm->lock);
}

void vm_restart(struct vm *vm)
{
	uint32_t i;

	device_resume_all(vm);
	pthread_mutex_lock(&vm->lock);
	vm->stop = false;
	vm->ended = false;
	for (i = 0; i < vm->config.nr_vcpus; i++)
		vm->vcpus[i].request = VCPU_WANTS_NOTHING;
	pthread_cond_broadcast(&vm->resumed);
	pthread_mutex_unlock(&vm->lock);
}

void vm_rest(struct vm *vm)
{
	struct timespec until;
	int ret = 0;
	uint32_t i;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	pthread_mutex_lock(&vm->lock);
	vm->stop = true;
	vcpu_kick_all(vm);
	pthread_cond_broadcast(&vm->changed);
	for (i = 0; i < vm->config.nr_vcpus; i++)
		while (!vm->vcpus[i].parked && !ret)
			ret = pthread_cond_timedwait(&vm->changed, &vm->lock, &until);
	pthread_mutex_unlock(&vm->lock);
}
