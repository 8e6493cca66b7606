/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The calls of kvmfork. As in vm.h: those with two underscores return -errno,
 * the others assert.
 */
#ifndef _KVMFORK_TEST_FORK_H
#define _KVMFORK_TEST_FORK_H

#include <linux/kvmfork.h>
#include <stdint.h>

#include "util.h"
#include "vm.h"

#define FORK_MAX_MAPPINGS	VM_MAX_SLOTS
#define FORK_MESSAGE_SIZE	256

/* /dev/kvmfork, opened once. */
int kvmfork_device(void);

int __memory_create(uint64_t size, uint64_t flags);
int memory_create(uint64_t size);
void *memory_map(int fd, uint64_t size);

/* The memory of a template. */
int __template_open_memory(int template_fd, uint32_t index, uint32_t flags);
int template_open_memory(int template_fd, uint32_t index);
/* The first that has this size. */
int template_open_memory_of(int template_fd, uint64_t size);

int __vm_attach(int vm_fd, uint32_t flags);
int vm_attach(int vm_fd);
int __vm_trap(int attach_fd, uint64_t events);

/* Everything that FREEZE, SPAWN and FORK read and write. */
struct fork_call {
	struct kvmfork_fork args;
	int32_t vcpu_fds[VM_MAX_VCPUS + 1];
	struct kvmfork_vcpu vcpus[VM_MAX_VCPUS];
	struct kvmfork_mapping mappings[FORK_MAX_MAPPINGS];
	char message[FORK_MESSAGE_SIZE];
};

/* Fill in a call that is right; a test then spoils what it is about. */
void fork_call_init(struct fork_call *call, struct vm *vm);
void spawn_call_init(struct fork_call *call);
int fork_call_freeze(struct fork_call *call, int attach_fd);
int fork_call_fork(struct fork_call *call, int attach_fd);
/* The message goes to the spawn part; needs no parent. */
int fork_call_spawn(struct fork_call *call, int template_fd);

/* Everything that RESET reads and writes. */
struct reset_call {
	struct kvmfork_reset args;
	int32_t vcpu_fds[VM_MAX_VCPUS + 1];
	char message[FORK_MESSAGE_SIZE];
};

#define RESET_ALL	(KVMFORK_RESET_MEMORY | KVMFORK_RESET_STATE)

/* Memory and state, to be spoilt likewise. */
void reset_call_init(struct reset_call *call, struct vm *vm, int template_fd);
int reset_call_run(struct reset_call *call, int attach_fd);

/*
 * The child of a call that succeeded: @parent tells how it was made, also
 * where it no longer exists.
 */
void fork_call_child(struct fork_call *call, const struct vm *parent, struct vm *child);

/* Messages of failures go to stderr. */
int __vm_freeze(struct vm *vm);
int __vm_fork(struct vm *parent, struct vm *child);
int __vm_spawn(int template_fd, const struct vm *parent, struct vm *child);
int __vm_reset(struct vm *vm, int template_fd, uint64_t flags);
int vm_freeze(struct vm *vm);
void vm_fork(struct vm *parent, struct vm *child);
void vm_spawn(int template_fd, const struct vm *parent, struct vm *child);
/* Memory and state. */
void vm_reset(struct vm *vm, int template_fd);

/*
 * Another way to make a child, which __vm_fork() goes: set by via.c when
 * KVMFORK_TEST_VIA asks for it.
 */
extern int (*vm_fork_via)(struct vm *parent, struct vm *child);

#endif /* _KVMFORK_TEST_FORK_H */
