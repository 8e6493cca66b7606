/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failing allocations of this thread: of kvmfork.ko when that was built with
 * FAULTS=1 (kmod/fault.h), else of all the kernel where it has fault injection.
 */
#ifndef _KVMFORK_TEST_FAIL_H
#define _KVMFORK_TEST_FAIL_H

#include <stdbool.h>

/* Once in each process. False: this kernel and module have neither. */
bool fail_open(void);

/* From now on the nth allocation fails, once. */
void fail_nth(unsigned int nth);

/* No more. Has one failed? */
bool fail_end(void);

#endif /* _KVMFORK_TEST_FAIL_H */
