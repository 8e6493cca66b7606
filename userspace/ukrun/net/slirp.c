// SPDX-License-Identifier: GPL-2.0-only
#include <dlfcn.h>
#include <stddef.h>

#include "log.h"
#include "net/slirp.h"

/* The name of the interface that <slirp/libslirp.h> describes. */
#define LIBSLIRP	"libslirp.so.0"

static void *slirp_find(void *library, const char *name)
{
	void *symbol = dlsym(library, name);

	if (!symbol)
		die("-netdev user: %s", dlerror());
	return symbol;
}

const struct slirp_calls *slirp_load(void)
{
	static struct slirp_calls calls;
	void *library;

	if (calls.new)
		return &calls;
	library = dlopen(LIBSLIRP, RTLD_NOW);
	if (!library)
		die("-netdev user: %s: install libslirp (Debian: libslirp0)", dlerror());
	calls.cleanup = slirp_find(library, "slirp_cleanup");
	calls.input = slirp_find(library, "slirp_input");
	calls.add_hostfwd = slirp_find(library, "slirp_add_hostfwd");
	calls.pollfds_fill = slirp_find(library, "slirp_pollfds_fill");
	calls.pollfds_poll = slirp_find(library, "slirp_pollfds_poll");
	calls.new = slirp_find(library, "slirp_new");
	return &calls;
}
