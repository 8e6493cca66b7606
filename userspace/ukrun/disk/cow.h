/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a fork makes of a disk that can be written: parent and child see it as
 * it was, and never each other's writes.
 *
 * The first VM writes to the file itself, always: what it has flushed is
 * there, whatever happens to its family. Before a block is written for the
 * first time since a fork, its old content is *kept* for the children: in the
 * store, a file without a name that the family has in common, and in an index
 * in memory that is shared with the children of that fork.
 *
 * A child is *mapped*. Its writes go to the store; a map says where. The map
 * is ordinary memory, so that fork() copies it for a grandchild, and neither
 * that nor the look-up of a block depends on how often was forked before. A slot of the
 * store is written again only by the VM that made it, and only until it forks.
 */
#ifndef UKRUN_COW_H
#define UKRUN_COW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct cow;
struct disk;

/* @temporary: nothing ever goes to the file, the VM is mapped from the start. */
struct cow *cow_create(struct disk *disk, bool temporary);

bool cow_is_mapped(const struct cow *cow);

/* Unless mapped: to be called before the file is written. 0 or a negative errno. */
int cow_keep(struct cow *cow, uint64_t offset, uint64_t size);

/* When mapped. 0 or a negative errno. */
int cow_read(struct cow *cow, uint64_t offset, uint64_t size, struct iovec *iov, unsigned int n);
int cow_write(struct cow *cow, uint64_t offset, uint64_t size, struct iovec *iov, unsigned int n);
int cow_zero(struct cow *cow, uint64_t offset, uint64_t size);

/* A fork may come: in the parent, before it. */
void cow_quiesced(struct cow *cow);
int cow_forked(struct cow *cow);
void cow_end(struct cow *cow);

#endif
