/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * QEMU's leanest machine with the guest of monitor.h. selftests/bench/run puts a
 * program and its libraries into QEMU_DIR.
 */
#ifndef _KVMFORK_BENCH_QEMU_H
#define _KVMFORK_BENCH_QEMU_H

#include <stdbool.h>

#include "monitor.h"

#define QEMU_DIR	"/qemu"
#define QEMU_FILE	"/tmp/bench.migration"

bool qemu_is_there(void);

/* From the image, or from what has been saved. */
void qemu_start(struct monitor *monitor, unsigned int mib, bool incoming);

/* To QEMU_FILE. The guest does not run any more. */
void qemu_save(void);

#endif /* _KVMFORK_BENCH_QEMU_H */
