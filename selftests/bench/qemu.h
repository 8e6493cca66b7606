/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * QEMU's leanest machine with the guest of monitor.h. selftests/bench/run puts
 * programs and their libraries into QEMU_DIR.
 */
#ifndef _KVMFORK_BENCH_QEMU_H
#define _KVMFORK_BENCH_QEMU_H

#include <stdbool.h>

#include "monitor.h"

#define QEMU_DIR	"/qemu"
#define QEMU_FILE	"/tmp/bench.migration"

/* The leanest one, and one with all there is: only that has a network of sockets. */
#define QEMU_LEAN	QEMU_DIR "/qemu-system-x86_64-microvm"
#define QEMU_FULL	QEMU_DIR "/qemu-system-x86_64"

/* The first words of each command line. */
#define QEMU_WORDS(program)						\
	QEMU_DIR "/ld-linux-x86-64.so.2", "--library-path", QEMU_DIR,	\
	program, "-L", QEMU_DIR, "-M", "microvm", "-accel", "kvm",	\
	"-cpu", "host", "-nodefaults", "-no-user-config", "-display", "none"

bool qemu_is_there(void);

/* From the image, or from what has been saved. */
void qemu_start(struct monitor *monitor, unsigned int mib, bool incoming);

/* To QEMU_FILE. The guest does not run any more. */
void qemu_save(void);

#endif /* _KVMFORK_BENCH_QEMU_H */
