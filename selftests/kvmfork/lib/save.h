/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Templates as bytes: KVMFORK_EXPORT and KVMFORK_LOAD, and templates that are
 * saved to files and come back from there.
 */
#ifndef _KVMFORK_TEST_SAVE_H
#define _KVMFORK_TEST_SAVE_H

#include <linux/kvmfork.h>
#include <linux/kvmfork_state.h>
#include <stdbool.h>
#include <stdint.h>

#include "fork.h"

#define SAVE_MAX_MEMORIES	VM_MAX_SLOTS

struct blob {
	uint8_t *bytes;		/* malloc()ed */
	uint64_t size;
};

/* @size as in struct kvmfork_export. */
int __template_export(int template_fd, void *state, uint64_t *size);
void template_export(int template_fd, struct blob *blob);

/* Everything that LOAD reads and writes. */
struct load_call {
	struct kvmfork_load args;
	int32_t memory_fds[SAVE_MAX_MEMORIES + 1];
	char message[FORK_MESSAGE_SIZE];
};

/* With the memories of a template, which load_call_close() closes again. */
void load_call_init(struct load_call *call, const struct blob *blob, int template_fd);
void load_call_close(struct load_call *call);
/* The fd of a template, or -errno. */
int load_call_run(struct load_call *call);

/* The record of this type of the vCPU with this id (or KVMFORK_STATE_VM), or NULL. */
struct kvmfork_state_record *blob_find(const struct blob *blob, uint32_t type, uint32_t vcpu);
/* The record after @record; NULL @record: the first. NULL: there are no more. */
struct kvmfork_state_record *blob_next(const struct blob *blob,
				       const struct kvmfork_state_record *record);
void *blob_payload(struct kvmfork_state_record *record);
/* With its head and the zeroes behind it. */
uint64_t blob_record_size(const struct kvmfork_state_record *record);

/* Into a directory of its own, whose name goes to @path; and a template of that. */
#define SAVE_PATH_SIZE	64
void template_save(int template_fd, char *path);
int template_restore(const char *path);
void template_saved_remove(const char *path);

#endif /* _KVMFORK_TEST_SAVE_H */
