/* SPDX-License-Identifier: GPL-2.0-only */
/* A vCPU that is in KVM_RUN, in a thread of its own, for as long as a test wants. */
#ifndef _KVMFORK_TEST_SPIN_H
#define _KVMFORK_TEST_SPIN_H

#include <pthread.h>

#include "vm.h"

/* It adds 1 to the word at @gpa, which is there, again and again; and has begun. */
pthread_t vcpu_spin(struct vm *vm, unsigned int nr, uint64_t gpa);
/* Leaves immediate_exit set, as it was asked to stop by that. */
void vcpu_spin_end(struct vm *vm, unsigned int nr, pthread_t thread);

#endif /* _KVMFORK_TEST_SPIN_H */
