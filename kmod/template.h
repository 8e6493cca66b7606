/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Templates: all that makes a VM, frozen. Immutable once made, so that any
 * number of tasks may spawn from one at a time without a lock; bound to no
 * address space and to no other VM.
 */
#ifndef KVMFORK_TEMPLATE_H
#define KVMFORK_TEMPLATE_H

#include <linux/fs.h>
#include <linux/kvmfork.h>

#include "kvmpeek.h"
#include "mem.h"
#include "report.h"
#include "state.h"

struct kvmfork_vm;

struct kvmfork_template_vcpu {
	u32 id;
	struct kvmfork_state state;
};

/* A stretch of the parent's memory that slots refer to. */
struct kvmfork_template_mapping {
	unsigned long addr;
	unsigned long size;
	u64 offset;		/* in the memory file */
	u32 memory;		/* index of it */
};

struct kvmfork_template {
	struct kvmfork_shape shape;
	struct kvmfork_clock clock;
	struct kvmfork_state devices;
	u32 nr_vcpus;
	struct kvmfork_template_vcpu *vcpus;	/* in order of creation */
	u32 nr_memories;
	struct kvmfork_frozen *memories;
	u32 nr_mappings;
	struct kvmfork_template_mapping *mappings;	/* by rising addr */
	u64 traps;
	unsigned long nr_dirty;		/* pages frozen that were dirty */
};

/* One without anything in it, NULL: out of memory. */
struct kvmfork_template *kvmfork_template_alloc(void);

/*
 * Freeze @vm, with its vCPUs given by @args. The caller holds vm->lock. The VM
 * goes on, whether this fails or not. ERR_PTR on failure, reported.
 */
struct kvmfork_template *
kvmfork_template_create(struct kvmfork_vm *vm, const struct kvmfork_freeze *args,
			struct kvmfork_report *report);
void kvmfork_template_destroy(struct kvmfork_template *template);

/*
 * Put @template into a file and return its fd. The file owns it; on failure it
 * stays with the caller.
 */
int kvmfork_template_install(struct kvmfork_template *template);
/* The template in @file, NULL when it is another kind of file. */
const struct kvmfork_template *kvmfork_template_from_file(struct file *file);

/*
 * mappings.c: find the memory files behind the slots of template->shape in the
 * caller's address space. Fills nr_mappings, mappings, and an array of
 * @nr_files referenced files, in the order of kvmfork_template_mapping.memory,
 * which the caller puts and frees. -EMEDIUMTYPE, reported: a slot has other
 * memory.
 */
int kvmfork_mappings_find(struct kvmfork_template *template,
			  struct file ***files, u32 *nr_files,
			  struct kvmfork_report *report);
/*
 * In between: by rising addr; and joining what touches or overlaps, as slots
 * may share memory and may be split. False: two overlap and are not the same.
 */
void kvmfork_mappings_sort(struct kvmfork_template *template);
bool kvmfork_mappings_merge(struct kvmfork_template *template);
/* Which memory a slot shows, and from where on. */
u32 kvmfork_mappings_memory(const struct kvmfork_template *template,
			    const struct kvm_userspace_memory_region *slot,
			    u64 *offset);
/* The mapping that @addr is in. */
const struct kvmfork_template_mapping *
kvmfork_mappings_at(const struct kvmfork_template *template, unsigned long addr);

/*
 * spawn.c: make a VM of @template in the caller's address space as @args say,
 * tell the caller about it at @to, where @args came from, and make all fds
 * visible at once as the last step. Nothing is left behind on failure. -E2BIG:
 * nr_vcpus and nr_mappings at @to have been set to what is needed.
 */
struct kvmfork_args;
int kvmfork_spawn(const struct kvmfork_template *template,
		  const struct kvmfork_spawn *args,
		  struct kvmfork_spawn __user *to,
		  struct kvmfork_report *report);
/* Several; @args, which came from @to, are updated there. */
int kvmfork_spawn_many(const struct kvmfork_template *template,
		       struct kvmfork_spawn_many *args,
		       const struct kvmfork_args *to);

/*
 * reset.c: put @vm, whose lock the caller holds, into the state of @template,
 * as @args say. -ESTALE: it is not of that shape, and nothing has changed. Any
 * later error leaves a VM that is neither, and can be reset again.
 */
int kvmfork_reset(struct kvmfork_vm *vm, const struct kvmfork_template *template,
		  const struct kvmfork_reset *args,
		  struct kvmfork_report *report);

/* -EINVAL: flags or reserved fields of @args that mean nothing. */
int kvmfork_spawn_check(const struct kvmfork_spawn *args);

#endif
