/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Linux with two disks and a network, as a guest of ukrun and of QEMU's leanest
 * machine, told the same words. It does what root-init's test.bench says.
 */
#ifndef _KVMFORK_BENCH_LINUX_H
#define _KVMFORK_BENCH_LINUX_H

#include <stdbool.h>
#include <stdint.h>

#include "monitor.h"

/* The disk, which is read and written; in small pieces less of it. */
#define LINUX_DISK_MIB	16
#define LINUX_SMALL_MIB	4
/* Of the large page, and how much that is. */
#define LINUX_PAGE	"page"
#define LINUX_LARGE	"large"
#define LINUX_LARGE_MIB	4

enum linux_host {
	LINUX_UKRUN,
	LINUX_QEMU,
};

bool linux_is_there(enum linux_host host);

/* Disks as they were made. Takes long: not while time is taken. */
void linux_prepare(void);

/* From exec() until its first process has the root file system: "up". */
void linux_boot(struct monitor *monitor, enum linux_host host, bool network);

/* Until it says that it has done what @letter stands for. */
void linux_ask(struct monitor *monitor, char letter);

/* Fetch a page; how much that is, in bytes. */
uint64_t linux_fetch(const char *page);

#endif /* _KVMFORK_BENCH_LINUX_H */
