// SPDX-License-Identifier: GPL-2.0-only
#include "vcpu.h"
#include "vm.h"

void vm_lock_init(struct vm *vm)
{
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	pthread_cond_init(&vm->resumed, NULL);
}

void vm_quit(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->quit = true;
	pthread_mutex_unlock(&vm->lock);
	vm_end(vm, 0);
}

void vm_end(struct vm *vm, int status)
{
	pthread_mutex_lock(&vm->lock);
	if (!vm->ended) {
		vm->ended = true;
		vm->status = status;
		vcpu_kick_all(vm);
		pthread_cond_broadcast(&vm->changed);
	}
	pthread_mutex_unlock(&vm->lock);
	loop_wake(vm);
}
