/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What guests that were made for PCs find in the first MiB without asking
 * anybody: as a BIOS would leave it, that answers every call with "unsupported".
 */
#ifndef UKRUN_BIOS_H
#define UKRUN_BIOS_H

struct vm;

void bios_setup(struct vm *vm);

#endif
