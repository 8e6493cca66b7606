// SPDX-License-Identifier: GPL-2.0-only
/* Linked into tests which have nothing to test without the module. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void __attribute__((constructor)) require_kvmfork(void)
{
	const char *missing = NULL;

	if (access("/dev/kvm", R_OK | W_OK))
		missing = "/dev/kvm";
	else if (access("/dev/kvmfork", R_OK | W_OK))
		missing = "/dev/kvmfork (insmod kvmfork.ko)";
	if (!missing)
		return;
	printf("TAP version 13\n1..0 # SKIP no %s\n", missing);
	fflush(stdout);
	_exit(4);
}
