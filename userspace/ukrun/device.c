// SPDX-License-Identifier: GPL-2.0-only
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "log.h"
#include "option.h"
#include "props.h"

static void device_option(struct vm *vm, const char *arg)
{
	props_add(&vm->config.devices, "-device", arg, "driver");
}

DECLARE_OPTION(device, {
	.name = "device",
	.arg = "MODEL[,...]",
	.help = "add a device: virtio-blk-device,drive=ID and others; docs/ukrun.md",
	.handle = device_option,
});

void device_add(struct vm *vm, const struct device_type *type, void *dev)
{
	struct device *device = xcalloc(1, sizeof(*device));
	struct device **at;

	device->type = type;
	device->dev = dev;
	for (at = &vm->devices; *at; at = &(*at)->next)
		;
	*at = device;
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

unsigned int device_take_irq(struct vm *vm)
{
	/* Not those of a PC's timer, keyboard, cascade, COM1, RTC, ACPI, FPU; ACPI has 23 too. */
	static const uint8_t lines[] = {
		5, 6, 7, 10, 11, 12, 14, 15, 3, 16, 17, 18, 19, 20, 21, 22,
	};

	if (vm->nr_irqs == ARRAY_SIZE(lines))
		die("-device: more than %zu devices with interrupts", ARRAY_SIZE(lines));
	return lines[vm->nr_irqs++];
}

static void __noreturn device_unknown(const char *model)
{
	const struct device_type *const *type;
	char names[512] = "";
	size_t used = 0;

	for (type = __start_ukrun_devices; type < __stop_ukrun_devices; type++) {
		if ((*type)->model && used < sizeof(names))
			used += snprintf(names + used, sizeof(names) - used, " %s", (*type)->model);
		if ((*type)->suffix && used < sizeof(names))
			used += snprintf(names + used, sizeof(names) - used, " virtio-*%s",
					 (*type)->suffix);
	}
	die("-device %s: no such device: there are%s", model, names);
}

bool device_create(struct vm *vm, const char *model, struct props *props)
{
	const struct device_type *const *type;
	size_t size = strlen(model), end;

	for (type = __start_ukrun_devices; type < __stop_ukrun_devices; type++) {
		if ((*type)->model && !strcmp((*type)->model, model)) {
			(*type)->create(vm, props);
			return true;
		}
		end = (*type)->suffix ? strlen((*type)->suffix) : size;
		if (end < size && !strcmp(model + size - end, (*type)->suffix))
			return (*type)->create_of(vm, model, props);
	}
	return false;
}

void device_setup_all(struct vm *vm)
{
	const struct device_type *const *type;
	struct props *props;
	const char *model;

	/* In the order of the command line: disks are named by it. */
	for (props = vm->config.devices; props; props = props->next) {
		model = props_get(props, "driver") ?: "";
		if (!device_create(vm, model, props))
			device_unknown(model);
		props_finish(props);
	}
	for (type = __start_ukrun_devices; type < __stop_ukrun_devices; type++)
		if ((*type)->setup)
			(*type)->setup(vm);
}

void device_describe_all(struct vm *vm, struct aml *aml)
{
	struct device *device;

	for (device = vm->devices; device; device = device->next)
		if (device->type->describe)
			device->type->describe(vm, device->dev, aml);
}

char *device_cmdline_all(struct vm *vm)
{
	char *all = xasprintf("%s", ""), *more, *old;
	struct device *device;

	for (device = vm->devices; device; device = device->next) {
		if (!device->type->cmdline)
			continue;
		more = device->type->cmdline(vm, device->dev);
		if (!more)
			continue;
		old = all;
		all = xasprintf("%s%s%s", old, *old ? " " : "", more);
		free(old);
		free(more);
	}
	return all;
}

void device_quiesce_all(struct vm *vm)
{
	struct device *device;

	for (device = vm->devices; device; device = device->next)
		if (device->type->quiesce)
			device->type->quiesce(vm, device->dev);
}

int device_forked_all(struct vm *vm)
{
	struct device *device;
	int ret = 0;

	for (device = vm->devices; device && !ret; device = device->next)
		if (device->type->forked)
			ret = device->type->forked(vm, device->dev);
	return ret;
}

int device_renew_all(struct vm *vm)
{
	struct device *device;
	int ret = 0;

	for (device = vm->devices; device && !ret; device = device->next)
		if (device->type->renew)
			ret = device->type->renew(vm, device->dev);
	return ret;
}

void device_resume_all(struct vm *vm)
{
	struct device *device;

	for (device = vm->devices; device; device = device->next)
		if (device->type->resume)
			device->type->resume(vm, device->dev);
}

void device_press_all(struct vm *vm)
{
	struct device *device;

	for (device = vm->devices; device; device = device->next)
		if (device->type->press)
			device->type->press(vm, device->dev);
}

void device_end_all(struct vm *vm)
{
	struct device *device;

	for (device = vm->devices; device; device = device->next)
		if (device->type->end)
			device->type->end(vm, device->dev);
}
