/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libslirp, for net/user.c. It is loaded when a network asks for it: with the
 * libraries that it needs itself it takes half of the runner's mappings, which
 * each fork() would copy.
 */
#ifndef UKRUN_NET_SLIRP_H
#define UKRUN_NET_SLIRP_H

#include <slirp/libslirp.h>

/* Each is libslirp's function slirp_NAME. */
struct slirp_calls {
	typeof(slirp_new) *new;
	typeof(slirp_cleanup) *cleanup;
	typeof(slirp_input) *input;
	typeof(slirp_add_hostfwd) *add_hostfwd;
	typeof(slirp_pollfds_fill) *pollfds_fill;
	typeof(slirp_pollfds_poll) *pollfds_poll;
};

/* Ends the program when there is no such library. */
const struct slirp_calls *slirp_load(void);

#endif
