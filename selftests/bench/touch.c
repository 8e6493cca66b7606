// SPDX-License-Identifier: GPL-2.0-only
#include "subject.h"
#include "touch.h"

void touch_by_guest(struct vm *vm, enum touch op, uint32_t count, struct series *series)
{
	uint64_t arg = subject_pages_arg(count, 1);
	struct stopwatch watch;

	/* What a first run takes by itself is not of the pages. */
	subject_start(vm, subject_hello, 0);
	subject_run(vm);
	subject_start(vm, op == TOUCH_WRITE ? subject_write : subject_read, arg);
	stopwatch_start(&watch);
	subject_run(vm);
	stopwatch_add_per(&watch, series, count);
}

void touch_by_process(struct vm *vm, enum touch op, uint32_t count, struct series *series)
{
	volatile uint64_t *page = vm_hva(vm, SUBJECT_PAGES);
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (uint32_t i = 0; i < count; i++, page += PAGE_SIZE / sizeof(*page)) {
		if (op == TOUCH_WRITE)
			*page = i;
		else
			(void)*page;
	}
	stopwatch_add_per(&watch, series, count);
}
