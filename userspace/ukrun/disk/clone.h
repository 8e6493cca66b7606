/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * -drive clone=keep: when a child ends, its disk becomes a file beside the first
 * VM's, FILE.ID, which is smaller than the disk until all is there.
 */
#ifndef UKRUN_CLONE_H
#define UKRUN_CLONE_H

struct disk;

/* During set-up. */
void clone_offer(struct disk *disk);
/* In a child: make its file. 0 or a negative errno. */
int clone_open(struct disk *disk);
/* At its end: fill it. What cannot be written is told. */
void clone_save(struct disk *disk);

#endif
