/* SPDX-License-Identifier: GPL-2.0-only */
/* The state in which the guest's first vCPU starts; docs/ukrun.md has it. */
#ifndef UKRUN_BOOT_H
#define UKRUN_BOOT_H

struct boot;
struct vm;

void boot_setup(struct vm *vm, const struct boot *boot);

#endif
