/* SPDX-License-Identifier: GPL-2.0-only */
/* Spoils a VM, for what is to put all of it right again. */
#ifndef _KVMFORK_TEST_SCRAMBLE_H
#define _KVMFORK_TEST_SCRAMBLE_H

#include "vm.h"

/*
 * Overwrite all state of a stopped VM: with what a new one has or, where this
 * one has just that, with something else. Timers run and interrupts are on
 * their way afterwards. What this machine does not have is left out.
 */
void vm_scramble_state(struct vm *vm);
/* Write, read and punch pages of all slots, by their mapping and their file. */
void vm_scramble_memory(struct vm *vm);
/* Both. */
void vm_scramble(struct vm *vm);

#endif /* _KVMFORK_TEST_SCRAMBLE_H */
