/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's harness, with time enough for emulated machines. */
#ifndef _KVMFORK_TEST_HARNESS_H
#define _KVMFORK_TEST_HARNESS_H

#include "kselftest_harness.h"

/* The runner has a limit for the whole program. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	600

#endif /* _KVMFORK_TEST_HARNESS_H */
