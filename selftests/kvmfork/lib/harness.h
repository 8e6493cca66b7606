/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's harness, with time enough for emulated machines. */
#ifndef _KVMFORK_TEST_HARNESS_H
#define _KVMFORK_TEST_HARNESS_H

#include "kselftest_harness.h"
#include "util.h"

/* The runner has a limit for the whole program. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	600

/* The limits of the tests are for a kernel of usual speed, and a usual race. */
static inline int harness_run(int argc, char **argv)
{
	for (struct __fixture_metadata *f = __fixture_list; f; f = f->next)
		for (struct __test_metadata *t = f->tests; t; t = t->next)
			t->timeout = t->timeout * test_slowness() + test_seconds();
	return test_harness_run(argc, argv);
}

/* By TEST_HARNESS_MAIN. */
#define test_harness_run	harness_run

#endif /* _KVMFORK_TEST_HARNESS_H */
