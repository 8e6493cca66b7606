/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Opens for children what takes rights that a VM in the sandbox has no more. A
 * process of its own, which keeps them; it ends with the last VM of the family.
 * All that it can be asked for was named at set-up.
 */
#ifndef UKRUN_HELPER_H
#define UKRUN_HELPER_H

#include <stdint.h>

struct vm;

/*
 * During set-up: @open gives a descriptor of @arg for VM @id, or a negative errno. It does not
 * block. @id may be that of any VM to come, and comes once. Returns the offer's number.
 */
unsigned int helper_offer(int (*open)(void *arg, uint64_t id), void *arg);
/* Before sandbox_enter(). Without offers, or without a sandbox, there is no helper. */
void helper_start(struct vm *vm);
/* In child @vm: the descriptor that offer @number gives, or a negative errno. */
int helper_open(const struct vm *vm, unsigned int number);

#endif
