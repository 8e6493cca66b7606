/* SPDX-License-Identifier: GPL-2.0-only */
/* What `ukrun ps` has found, for people and for programs. */
#ifndef UKRUN_PS_PRINT_H
#define UKRUN_PS_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ps_vm {
	uint64_t family;	/* a number that VMs of other families do not have */
	uint64_t id;
	uint64_t parent_id;	/* 0: none. It may have ended */
	pid_t pid;
	bool found;		/* all above and below is known */
	uint64_t forks, resets, shells, shell_forks;
	uint64_t uptime_ns;
	bool has_memory;	/* memory of kvmfork, which has counters */
	uint64_t private_kib, shared_kib;
	char *command;		/* words, a NUL behind each */
	size_t command_size;
};

struct ps_list {
	struct ps_vm *vms;	/* by family, then by id */
	size_t nr;
};

void ps_print_tree(const struct ps_list *list);
void ps_print_json(const struct ps_list *list);

#endif
