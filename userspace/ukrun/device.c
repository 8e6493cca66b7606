// SPDX-License-Identifier: GPL-2.0-only
#include <stddef.h>

#include "device.h"
#include "log.h"

void device_add(struct vm *vm, const struct device_type *type, void *dev)
{
	struct device *device = xcalloc(1, sizeof(*device));

	device->type = type;
	device->dev = dev;
	device->next = vm->devices;
	vm->devices = device;
}

void device_setup_all(struct vm *vm)
{
	const struct device_type *const *type;

	for (type = __start_ukrun_devices; type < __stop_ukrun_devices; type++)
		(*type)->setup(vm);
}

void device_forked_all(struct vm *vm)
{
	struct device *device;

	for (device = vm->devices; device; device = device->next)
		if (device->type->forked)
			device->type->forked(vm, device->dev);
}

void device_end_all(struct vm *vm)
{
	struct device *device;

	for (device = vm->devices; device; device = device->next)
		if (device->type->end)
			device->type->end(vm, device->dev);
}
