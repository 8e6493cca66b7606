// SPDX-License-Identifier: GPL-2.0-only
/* -device pvpanic: a port at which a guest says that it has crashed, as QEMU has it. */
#include <json-c/json.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "boot/aml.h"
#include "device.h"
#include "log.h"
#include "props.h"
#include "qmp/qmp.h"

#define PVPANIC_PORT		0x505
#define PVPANIC_PANICKED	1

struct pvpanic {
	struct vm *vm;
	atomic_bool panicked;
};

/* What may be said. */
static uint64_t pvpanic_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return PVPANIC_PANICKED;
}

static void pvpanic_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pvpanic *pvpanic = dev;

	(void)offset;
	(void)size;
	if (!(value & PVPANIC_PANICKED) || atomic_exchange(&pvpanic->panicked, true))
		return;
	vm_warn(pvpanic->vm, "the guest says that it has crashed");
	vm_end(pvpanic->vm, STATUS_GUEST_SHUTDOWN);
}

/* On the main thread, where events can be sent. */
static void pvpanic_end(struct vm *vm, void *dev)
{
	struct json_object *data;
	struct pvpanic *pvpanic = dev;

	if (!pvpanic->panicked)
		return;
	data = json_object_new_object();
	json_object_object_add(data, "action", json_object_new_string("poweroff"));
	qmp_event(vm, "GUEST_PANICKED", data);
}

static void pvpanic_describe(struct vm *vm, void *dev, struct aml *aml)
{
	size_t device = aml_device_begin(aml, "PEVT");
	struct aml resources = {};

	(void)vm;
	(void)dev;
	aml_name_string(aml, "_HID", "QEMU0001");
	aml_resource_ports(&resources, PVPANIC_PORT, 1);
	aml_name_resources(aml, &resources);
	aml_end(aml, device);
}

static void pvpanic_create(struct vm *vm, struct props *props)
{
	static const struct device_type type = {
		.name = "pvpanic",
		.describe = pvpanic_describe,
		.end = pvpanic_end,
	};
	static const struct io_ops ops = { pvpanic_read, pvpanic_write };
	struct pvpanic *pvpanic = xcalloc(1, sizeof(*pvpanic));

	props_get(props, "id");
	pvpanic->vm = vm;
	io_add(vm, IO_PORT, PVPANIC_PORT, 1, &ops, pvpanic);
	device_add(vm, &type, pvpanic);
}

DECLARE_DEVICE(pvpanic, {
	.name = "pvpanic",
	.model = "pvpanic",
	.create = pvpanic_create,
});
