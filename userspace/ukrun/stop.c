// SPDX-License-Identifier: GPL-2.0-only
/* Stopping all vCPUs, so that the VM can be copied, and having them run on. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

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

bool vm_stop(struct vm *vm)
{
	bool ended;
	uint32_t i;

	pthread_mutex_lock(&vm->lock);
	vm->stop = true;
	vcpu_kick_all(vm);
	/* Those that wait for a child. */
	pthread_cond_broadcast(&vm->changed);
	for (i = 0; i < vm->config.nr_vcpus && !vm->ended; i++)
		while (!vm->vcpus[i].parked && !vm->ended)
			stop_wait(vm);
	ended = vm->ended;
	pthread_mutex_unlock(&vm->lock);
	return !ended;
}

void vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->stop = false;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}
