// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a parent's writes take after a fork, per page: while the child is alive,
 * when they copy, and once it is gone. By the guest and by its monitor; with
 * kvmfork, and with anonymous memory after a fork() of the process. There KVM's
 * MMU notifier is called for each copy, so the same without a VM as well.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "bench.h"
#include "fork.h"
#include "held.h"
#include "touch.h"

#define MIB	64
#define PAGES	8192
#define ROUNDS	5

typedef void (*touch_fn)(struct vm *vm, enum touch op, uint32_t count,
			 struct series *series);

static void round_kvmfork(struct vm *parent, touch_fn touch, bool alive, struct series *series)
{
	struct vm child;

	vm_fork(parent, &child);
	if (!alive)
		vm_close(&child);
	touch(parent, TOUCH_WRITE, PAGES, series);
	if (alive)
		vm_close(&child);
}

static void round_linux(struct vm *parent, touch_fn touch, bool alive, struct series *series)
{
	struct held child;

	held_init(&child);
	held_fork(&child);
	if (!alive)
		held_end(&child);
	touch(parent, TOUCH_WRITE, PAGES, series);
	if (alive)
		held_end(&child);
}

typedef void (*round_fn)(struct vm *parent, touch_fn touch, bool alive,
			 struct series *series);

static void measure(struct vm *parent, const char *how, round_fn round, touch_fn touch)
{
	unsigned int rounds = bench_rounds(ROUNDS);

	for (int alive = 1; alive >= 0; alive--) {
		struct series *series = series_create(rounds + 1);
		char variant[64];
		struct point point = { "parent-write", variant, NULL, 0 };

		snprintf(variant, sizeof(variant), "child %s: %s", alive ? "alive" : "gone", how);
		for (unsigned int i = 0; i < rounds + 1; i++)
			round(parent, touch, alive, series);
		result_series(&point, "/page", series, 1);
		series_destroy(series);
	}
}

static void measure_kvmfork(void)
{
	struct subject_spec spec = { .memory = SUBJECT_KVMFORK, .mib = MIB };
	struct vm parent;

	subject_create(&parent, &spec);
	measure(&parent, "kvmfork, guest", round_kvmfork, touch_by_guest);
	measure(&parent, "kvmfork, process", round_kvmfork, touch_by_process);
	vm_close(&parent);
}

static void measure_linux(void)
{
	struct subject_spec spec = { .memory = SUBJECT_ANONYMOUS, .mib = MIB };
	struct vm parent, memory;

	subject_create(&parent, &spec);
	measure(&parent, "Linux fork(), guest", round_linux, touch_by_guest);
	measure(&parent, "Linux fork(), process with a VM", round_linux, touch_by_process);
	vm_close(&parent);

	subject_create_memory(&memory, &spec);
	measure(&memory, "Linux fork(), process", round_linux, touch_by_process);
	munmap(memory.slots[0].hva, memory.slots[0].size);
}

static void run(void)
{
	measure_kvmfork();
	measure_linux();
}

const struct benchmark bench_parent_write = {
	.name = "parent-write",
	.title = "a parent's write into each 4 KiB page after a fork, per page",
	.run = run,
};
