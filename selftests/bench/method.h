/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways to make a copy of a VM, all measured alike: clone, run to the first
 * exit, release.
 */
#ifndef _KVMFORK_BENCH_METHOD_H
#define _KVMFORK_BENCH_METHOD_H

#include "measure.h"
#include "result.h"
#include "subject.h"

struct userspace_image;

/* What a method keeps between its calls. */
struct method_state {
	struct vm *parent;
	int template_fd;
	int shape_fd;			/* shells are made of this template */
	struct vm shell;
	struct userspace_image *image;
};

struct method {
	const char *name;
	enum subject_memory memory;	/* of the parent */
	uint64_t features;		/* KVMFORK_FEATURE_* that it needs */
	bool copies;			/* takes time and memory as the parent has */
	void (*setup)(struct method_state *state);
	/* The timed part. The clone has not run yet. */
	void (*clone)(struct method_state *state, struct vm *clone);
	/* Be done with a clone: the clone of a recycled shell stays, and is next. */
	void (*release)(struct method_state *state, struct vm *clone);
	void (*teardown)(struct method_state *state);
};

/* method_kvmfork.c */
extern const struct method method_fork;
extern const struct method method_spawn;
extern const struct method method_shell_new_live;
extern const struct method method_shell_live;
extern const struct method method_shell_new;
extern const struct method method_shell;

/* method_userspace.c */
extern const struct method method_userspace_live;
extern const struct method method_userspace;

void method_begin(const struct method *method, struct method_state *state, struct vm *parent);
void method_end(const struct method *method, struct method_state *state);

/* Has the module what @method needs? Says so in a result for @point when not. */
bool method_is_available(const struct method *method, const struct point *point);

/* Rounds that do not count: the first finds all of the parent's memory dirty. */
#define WARM_UP_ROUNDS	2

/*
 * So many rounds, from the call until the clone's first exit. @before, or NULL,
 * is called before each.
 */
void method_measure(const struct method *method, struct vm *parent, unsigned int rounds,
		    void (*before)(struct vm *parent, uint64_t arg), uint64_t arg,
		    const struct point *point);

#endif /* _KVMFORK_BENCH_METHOD_H */
