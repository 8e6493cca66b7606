/* SPDX-License-Identifier: GPL-2.0-only */
/* Reading or writing pages of guest memory, one word in each. */
#ifndef _KVMFORK_BENCH_TOUCH_H
#define _KVMFORK_BENCH_TOUCH_H

#include <stdbool.h>

#include "measure.h"
#include "vm.h"

enum touch {
	TOUCH_READ,
	TOUCH_WRITE,
};

/*
 * The first @count pages from SUBJECT_PAGES on; what it takes per page is added
 * to @series. By the guest, or by the process through its mapping.
 */
void touch_by_guest(struct vm *vm, enum touch op, uint32_t count, struct series *series);
void touch_by_process(struct vm *vm, enum touch op, uint32_t count, struct series *series);

#endif /* _KVMFORK_BENCH_TOUCH_H */
