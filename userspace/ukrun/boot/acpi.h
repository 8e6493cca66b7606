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

/* Where KVM has them. */
#define IOAPIC_ADDRESS		0xfec00000
#define LAPIC_ADDRESS		0xfee00000

/* Of the Generic Event Device: a line that guests without ACPI do not look at. */
#define ACPI_GED_GSI		23

/* The VM's generation id, on a page of its own. */
#define ACPI_VMGENID		(LOW_END - 0x1000)

/* Once all devices are made. */
void acpi_setup(struct vm *vm);

#endif
