/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The least of ACPI that makes Linux find its CPUs and switch itself off.
 * There is no PCI, no 8042 and no PM timer.
 */
#ifndef UKRUN_ACPI_H
#define UKRUN_ACPI_H

#include "memory.h"

/* In the area that guests search for it. Nothing is there with -machine acpi=off. */
#define ACPI_RSDP	LOW_ACPI

/* Power management registers, as on QEMU's machines. */
#define ACPI_PM_EVENT_PORT	0x600
#define ACPI_PM_CONTROL_PORT	0x604
#define ACPI_SCI_IRQ		9

/* Once all devices are made. */
void acpi_setup(struct vm *vm);

#endif
