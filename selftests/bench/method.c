// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "fork.h"
#include "method.h"
#include "profile.h"

void method_begin(const struct method *method, struct method_state *state, struct vm *parent)
{
	memset(state, 0, sizeof(*state));
	state->parent = parent;
	state->template_fd = -1;
	state->shape_fd = -1;
	method->setup(state);
}

void method_end(const struct method *method, struct method_state *state)
{
	method->teardown(state);
}

bool method_is_available(const struct method *method, const struct point *point)
{
	struct kvmfork_info info;

	TEST_REQUIRE(!xioctl(kvmfork_device(), KVMFORK_GET_INFO, &info), "KVMFORK_GET_INFO: %m");
	if (!(method->features & ~info.features))
		return true;
	result_skip(point, "this kvmfork.ko does not have KVMFORK_RESET");
	return false;
}

void method_measure(const struct method *method, struct vm *parent, unsigned int rounds,
		    void (*before)(struct vm *parent, uint64_t arg), uint64_t arg,
		    const struct point *point)
{
	struct series *series = series_create(rounds + WARM_UP_ROUNDS);
	struct method_state state;
	struct stopwatch watch;
	struct vm clone;

	method_begin(method, &state, parent);
	for (unsigned int i = 0; i < rounds + WARM_UP_ROUNDS; i++) {
		if (i == WARM_UP_ROUNDS)
			profile_forget();
		if (before)
			before(parent, arg);
		stopwatch_start(&watch);
		method->clone(&state, &clone);
		subject_run(&clone);
		stopwatch_add(&watch, series);
		method->release(&state, &clone);
	}
	method_end(method, &state);
	result_series(point, "", series, WARM_UP_ROUNDS);
	series_destroy(series);
}
