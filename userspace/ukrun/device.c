// SPDX-License-Identifier: GPL-2.0-only
#include <stddef.h>
#include <string.h>

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

void device_add_state(struct vm *vm, void *state, size_t size)
{
	struct device_state *entry = xcalloc(1, sizeof(*entry));

	entry->state = state;
	entry->saved = xcalloc(1, size);
	entry->size = size;
	entry->next = vm->device_states;
	vm->device_states = entry;
}

int device_states(const struct vm *vm, struct iovec *iov, int max)
{
	const struct device_state *entry;
	int n = 0;

	for (entry = vm->device_states; entry; entry = entry->next) {
		if (n == max)
			return -1;
		iov[n++] = (struct iovec){ entry->state, entry->size };
	}
	return n;
}

void device_save_all(struct vm *vm)
{
	struct device_state *entry;

	for (entry = vm->device_states; entry; entry = entry->next)
		memcpy(entry->saved, entry->state, entry->size);
}

void device_restore_all(struct vm *vm)
{
	struct device_state *entry;

	for (entry = vm->device_states; entry; entry = entry->next)
		memcpy(entry->state, entry->saved, entry->size);
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
