/* SPDX-License-Identifier: GPL-2.0-only */
/* The MP table: CPUs and interrupts for kernels that know no ACPI, xv6 for one. */
#ifndef UKRUN_MPTABLE_H
#define UKRUN_MPTABLE_H

struct vm;

void mptable_setup(struct vm *vm);

#endif
