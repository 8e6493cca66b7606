/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading a state (linux/kvmfork_state.h) from user memory, record by record.
 * Each byte is read once, and believed as far as it has been checked.
 */
#ifndef KVMFORK_BLOB_H
#define KVMFORK_BLOB_H

#include <linux/kvmfork_state.h>
#include <linux/types.h>

#include "report.h"
#include "state.h"

struct file;
struct kvmfork_template;

struct kvmfork_blob {
	const char __user *from;	/* these three are set by the caller */
	u64 size;
	struct kvmfork_report *report;
	u64 pos;			/* of the record */
	/* It lies within the blob. Type 0: there are no more. */
	struct kvmfork_state_record record;
};

/* Check the header, and go to the first record. */
int kvmfork_blob_open(struct kvmfork_blob *blob);
/* Is the record of this type, of this owner? */
bool kvmfork_blob_is(const struct kvmfork_blob *blob, u32 type, u32 vcpu);
/* Copy the payload to @to, and go to the next record. */
int kvmfork_blob_take(struct kvmfork_blob *blob, void *to);

/*
 * Take a record of the VM that must be of this @type, and of @size bytes, which
 * go to @to.
 */
int kvmfork_blob_take_vm(struct kvmfork_blob *blob, u32 type, const char *name,
			 void *to, u32 size);
/*
 * The same for an array with entries of @size bytes, of which there must not be
 * more than @max. It is allocated, NULL when it is empty; kvfree() it.
 */
int kvmfork_blob_take_array(struct kvmfork_blob *blob, u32 type,
			    const char *name, size_t size, u32 max,
			    void **to, u32 *nr);

/* Report what is wrong with the record, and return @err. */
__printf(3, 4)
int kvmfork_blob_refuse(const struct kvmfork_blob *blob, int err,
			const char *format, ...);
/* The same, when it should be @name and is not. */
int kvmfork_blob_miss(const struct kvmfork_blob *blob, const char *name);

/*
 * load_vm.c: all records of the VM that come before those of the vCPUs. @files
 * are the memories that the slots refer to.
 */
int kvmfork_load_vm(struct kvmfork_blob *blob, struct kvmfork_template *template,
		    struct file **files, u32 nr_files);

#endif
