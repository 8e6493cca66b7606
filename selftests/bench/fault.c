// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page of a clone, read for the first time, written for the first time, and
 * written after it was read; per page, by the guest. At depth 1, and at depth
 * 1,000: after so many freezes, all kept, with some pages written between.
 *
 * The same over memory of Linux, always through KVM, since its part in a fault
 * is the larger:
 *  - private anonymous memory after fork(): a forked process has a VM over what
 *    it shares with its parent, which is how Linux itself would do this;
 *  - a private mapping of a memfd, as the userspace method has it;
 *  - anonymous memory that nobody has touched: no copy, but a page of zeroes.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench.h"
#include "fork.h"
#include "touch.h"

#define MIB		64
#define PAGES		8192
#define ROUNDS		3
#define DEPTH		1000
#define DEPTH_WRITES	4	/* pages between two freezes */

enum fault {
	FAULT_READ,
	FAULT_COPY,
	FAULT_COPY_AFTER_READ,
	FAULT_END,
};

static const char *const fault_names[] = { "read", "copy", "copy after read" };

/* Where the VM comes from that is touched; with none of its pages touched. */
struct source {
	const char *name;
	void (*touch)(void *arg, enum fault kind, struct series *series);
};

static void touch_vm(struct vm *vm, enum fault kind, struct series *series)
{
	/* Read first, and not as what is measured. */
	if (kind == FAULT_COPY_AFTER_READ) {
		subject_start(vm, subject_read, subject_pages_arg(PAGES, 1));
		subject_run(vm);
	}
	touch_by_guest(vm, kind == FAULT_READ ? TOUCH_READ : TOUCH_WRITE, PAGES, series);
}

static void measure(const struct source *source, void *arg)
{
	unsigned int rounds = bench_rounds(ROUNDS);

	for (enum fault kind = 0; kind < FAULT_END; kind++) {
		char variant[64];
		struct point point = { "fault", variant, NULL, 0 };
		struct series *series = series_create(rounds);

		snprintf(variant, sizeof(variant), "%s: %s", fault_names[kind], source->name);
		for (unsigned int i = 0; i < rounds; i++)
			source->touch(arg, kind, series);
		result_series(&point, "/page", series, 0);
		series_destroy(series);
	}
}

struct template {
	int fd;
	struct vm *parent;
};

static void touch_spawned(void *arg, enum fault kind, struct series *series)
{
	struct template *template = arg;
	struct vm clone;

	vm_spawn(template->fd, template->parent, &clone);
	touch_vm(&clone, kind, series);
	vm_close(&clone);
}

static void write_some(struct vm *parent, unsigned int round)
{
	char *pages = vm_hva(parent, SUBJECT_PAGES);

	for (unsigned int i = 0; i < DEPTH_WRITES; i++)
		pages[(round * DEPTH_WRITES + i) % PAGES * PAGE_SIZE] = round;
}

static void measure_kvmfork(void)
{
	static const struct source shallow = { "kvmfork, depth 1", touch_spawned };
	char name[32];
	const struct source deep = { name, touch_spawned };
	struct subject_spec spec = { .memory = SUBJECT_KVMFORK, .mib = MIB };
	unsigned int depth = bench_quick ? DEPTH / 10 : DEPTH;
	struct template template;
	struct vm parent;
	int fds[DEPTH];

	snprintf(name, sizeof(name), "kvmfork, depth %u", depth);
	subject_create(&parent, &spec);
	template.parent = &parent;
	fds[0] = vm_freeze(&parent);
	template.fd = fds[0];
	measure(&shallow, &template);
	for (unsigned int i = 1; i < depth; i++) {
		write_some(&parent, i);
		fds[i] = vm_freeze(&parent);
	}
	template.fd = fds[depth - 1];
	measure(&deep, &template);
	for (unsigned int i = 0; i < depth; i++)
		close(fds[i]);
	vm_close(&parent);
}

static void measure_huge(void)
{
	static const struct source source = { "kvmfork, huge pages", touch_spawned };
	struct subject_spec spec = { .memory = SUBJECT_HUGE, .mib = MIB };
	struct template template;
	struct vm parent;

	subject_create(&parent, &spec);
	template.parent = &parent;
	template.fd = vm_freeze(&parent);
	measure(&source, &template);
	close(template.fd);
	vm_close(&parent);
}

struct forked {
	const struct vm *parent;
	enum fault kind;
	struct series *series;
};

static int forked_process(void *arg)
{
	struct forked *forked = arg;
	struct vm vm;

	subject_create_beside(forked->parent, &vm);
	touch_vm(&vm, forked->kind, forked->series);
	return 0;
}

static void touch_forked(void *arg, enum fault kind, struct series *series)
{
	struct forked forked = { arg, kind, series };

	TEST_REQUIRE(process_exited(process_run(forked_process, &forked), 0),
		     "the forked process failed");
}

static void measure_fork(void)
{
	static const struct source source = { "anonymous memory after fork()", touch_forked };
	struct subject_spec spec = { .memory = SUBJECT_ANONYMOUS, .mib = MIB };
	struct vm parent;

	subject_create(&parent, &spec);
	measure(&source, &parent);
	vm_close(&parent);
}

static void touch_private(void *arg, enum fault kind, struct series *series)
{
	struct vm clone;

	method_userspace.clone(arg, &clone);
	touch_vm(&clone, kind, series);
	method_userspace.release(arg, &clone);
}

static void measure_private(void)
{
	static const struct source source = { "MAP_PRIVATE of a memfd", touch_private };
	struct subject_spec spec = { .memory = SUBJECT_MEMFD, .mib = MIB };
	struct method_state state;
	struct vm parent;

	subject_create(&parent, &spec);
	method_begin(&method_userspace, &state, &parent);
	measure(&source, &state);
	method_end(&method_userspace, &state);
	vm_close(&parent);
}

static void touch_new(void *arg, enum fault kind, struct series *series)
{
	struct vm vm;

	subject_create(&vm, arg);
	touch_vm(&vm, kind, series);
	vm_close(&vm);
}

static void measure_new(void)
{
	static const struct source source = { "new anonymous memory", touch_new };
	struct subject_spec spec = { .memory = SUBJECT_ANONYMOUS, .mib = MIB, .empty = true };

	measure(&source, &spec);
}

static void run(void)
{
	measure_kvmfork();
	measure_huge();
	measure_fork();
	measure_private();
	measure_new();
}

const struct benchmark bench_fault = {
	.name = "fault",
	.title = "the first access to a page of a clone, by its guest, per page",
	.run = run,
};
