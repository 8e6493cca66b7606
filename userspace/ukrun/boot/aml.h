/* SPDX-License-Identifier: GPL-2.0-only */
/* ACPI's byte code, as much of it as describing devices takes. */
#ifndef UKRUN_AML_H
#define UKRUN_AML_H

#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data;
	size_t size, room;
};

void aml_bytes(struct aml *aml, const void *data, size_t size);

/* Scopes and devices, whose content comes between _begin and _end. */
size_t aml_scope_begin(struct aml *aml, const char *path);
/* @name has four characters. */
size_t aml_device_begin(struct aml *aml, const char *name);
void aml_end(struct aml *aml, size_t begin);

void aml_number(struct aml *aml, uint32_t value);
void aml_name_number(struct aml *aml, const char *name, uint32_t value);
/* @elements come before aml_end(): numbers, or packages. */
size_t aml_package_begin(struct aml *aml, uint8_t elements);
size_t aml_name_package_begin(struct aml *aml, const char *name, uint8_t elements);
void aml_name_string(struct aml *aml, const char *name, const char *value);
/* @id as "PNP0501". */
void aml_name_eisa(struct aml *aml, const char *name, const char *id);

/* _CRS: all that was collected in @resources by the functions below. */
void aml_name_resources(struct aml *aml, struct aml *resources);
void aml_resource_ports(struct aml *resources, uint16_t base, uint8_t size);
void aml_resource_irq(struct aml *resources, unsigned int irq);
void aml_resource_mmio(struct aml *resources, uint32_t base, uint32_t size);
/* An edge on any line of the IOAPIC, not shared. */
void aml_resource_gsi(struct aml *resources, uint32_t gsi);

/* What a bridge passes on, both ends included. */
enum aml_window {
	AML_WINDOW_MEMORY,
	AML_WINDOW_PORTS,
	AML_WINDOW_BUSES,
};

void aml_resource_window(struct aml *resources, enum aml_window kind, uint32_t min, uint32_t max);

#endif
