// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "boot/aml.h"
#include "compiler.h"
#include "log.h"

#define AML_WORD_PREFIX		0x0b
#define AML_DWORD_PREFIX	0x0c
#define AML_STRING_PREFIX	0x0d
#define AML_NAME		0x08
#define AML_SCOPE		0x10
#define AML_BUFFER		0x11
#define AML_PACKAGE		0x12
#define AML_EXT			0x5b
#define AML_EXT_DEVICE		0x82

/* Always the form of three bytes: what comes is not known yet. */
#define LENGTH_BYTES		3
#define LENGTH_MAX		0xfffff

void aml_bytes(struct aml *aml, const void *data, size_t size)
{
	if (aml->room - aml->size < size) {
		aml->room = 2 * aml->room + size + 256;
		aml->data = realloc(aml->data, aml->room);
		if (!aml->data)
			die("out of memory on the host");
	}
	memcpy(aml->data + aml->size, data, size);
	aml->size += size;
}

static void aml_byte(struct aml *aml, uint8_t byte)
{
	aml_bytes(aml, &byte, 1);
}

static size_t aml_length_begin(struct aml *aml)
{
	size_t begin = aml->size;

	aml_bytes(aml, "\0\0\0", LENGTH_BYTES);
	return begin;
}

void aml_end(struct aml *aml, size_t begin)
{
	size_t length = aml->size - begin;

	if (length > LENGTH_MAX)
		die("-device: too many devices to describe");
	aml->data[begin] = (LENGTH_BYTES - 1) << 6 | (length & 0xf);
	aml->data[begin + 1] = length >> 4;
	aml->data[begin + 2] = length >> 12;
}

size_t aml_scope_begin(struct aml *aml, const char *path)
{
	size_t begin;

	aml_byte(aml, AML_SCOPE);
	begin = aml_length_begin(aml);
	aml_bytes(aml, path, strlen(path));
	return begin;
}

size_t aml_device_begin(struct aml *aml, const char *name)
{
	size_t begin;

	aml_byte(aml, AML_EXT);
	aml_byte(aml, AML_EXT_DEVICE);
	begin = aml_length_begin(aml);
	aml_bytes(aml, name, 4);
	return begin;
}

static void aml_name(struct aml *aml, const char *name)
{
	aml_byte(aml, AML_NAME);
	aml_bytes(aml, name, 4);
}

void aml_number(struct aml *aml, uint32_t value)
{
	aml_byte(aml, AML_DWORD_PREFIX);
	aml_bytes(aml, &value, sizeof(value));
}

size_t aml_package_begin(struct aml *aml, uint8_t elements)
{
	size_t begin;

	aml_byte(aml, AML_PACKAGE);
	begin = aml_length_begin(aml);
	aml_byte(aml, elements);
	return begin;
}

void aml_name_number(struct aml *aml, const char *name, uint32_t value)
{
	aml_name(aml, name);
	aml_number(aml, value);
}

size_t aml_name_package_begin(struct aml *aml, const char *name, uint8_t elements)
{
	aml_name(aml, name);
	return aml_package_begin(aml, elements);
}

void aml_name_string(struct aml *aml, const char *name, const char *value)
{
	aml_name(aml, name);
	aml_byte(aml, AML_STRING_PREFIX);
	aml_bytes(aml, value, strlen(value) + 1);
}

/* Three letters of five bits each, then four hexadecimal digits; big-endian. */
void aml_name_eisa(struct aml *aml, const char *name, const char *id)
{
	uint16_t letters = (id[0] & 0x1f) << 10 | (id[1] & 0x1f) << 5 | (id[2] & 0x1f);
	uint16_t number = strtoul(id + 3, NULL, 16);

	aml_name_number(aml, name, letters >> 8 | (letters & 0xff) << 8 |
			(uint32_t)(number >> 8 | (number & 0xff) << 8) << 16);
}

void aml_name_resources(struct aml *aml, struct aml *resources)
{
	/* The tag of the end, with a checksum that says "not calculated". */
	static const uint8_t end[] = { 0x79, 0x00 };
	uint16_t size;
	size_t begin;

	aml_bytes(resources, end, sizeof(end));
	size = resources->size;
	aml_name(aml, "_CRS");
	aml_byte(aml, AML_BUFFER);
	begin = aml_length_begin(aml);
	aml_byte(aml, AML_WORD_PREFIX);
	aml_bytes(aml, &size, sizeof(size));
	aml_bytes(aml, resources->data, resources->size);
	aml_end(aml, begin);
	free(resources->data);
	*resources = (struct aml){};
}

void aml_resource_ports(struct aml *resources, uint16_t base, uint8_t size)
{
	const struct {
		uint8_t tag, decodes_16;
		uint16_t min, max;
		uint8_t align, size;
	} __packed ports = { 0x47, 1, base, base, 1, size };

	aml_bytes(resources, &ports, sizeof(ports));
}

void aml_resource_irq(struct aml *resources, unsigned int irq)
{
	const struct {
		uint8_t tag;
		uint16_t mask;
	} __packed line = { 0x22, 1 << irq };

	aml_bytes(resources, &line, sizeof(line));
}

void aml_resource_mmio(struct aml *resources, uint32_t base, uint32_t size)
{
	const struct {
		uint8_t tag;
		uint16_t length;
		uint8_t writable;
		uint32_t base, size;
	} __packed mmio = { 0x86, 9, 1, base, size };

	aml_bytes(resources, &mmio, sizeof(mmio));
}

void aml_resource_gsi(struct aml *resources, uint32_t gsi)
{
	const struct {
		uint8_t tag;
		uint16_t length;
		uint8_t consumer_edge_high;
		uint8_t count;
		uint32_t gsi;
	} __packed line = { 0x89, 6, 0x3, 1, gsi };

	aml_bytes(resources, &line, sizeof(line));
}

void aml_resource_window(struct aml *resources, enum aml_window kind, uint32_t min, uint32_t max)
{
	const struct {
		uint8_t tag;
		uint16_t length;
		uint8_t kind, fixed, how;
		uint32_t granularity, min, max, translation, size;
	} __packed window = {
		.tag = 0x87, .length = 23, .kind = kind,
		/* Both ends are. */
		.fixed = 0x0c,
		/* Memory that is written, ports of all kinds. */
		.how = kind == AML_WINDOW_MEMORY ? 1 : kind == AML_WINDOW_PORTS ? 3 : 0,
		.min = min, .max = max, .size = max - min + 1,
	};

	aml_bytes(resources, &window, sizeof(window));
}
