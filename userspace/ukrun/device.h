/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device is one file. It declares a struct device_type, which lands in a
 * linker section, and its options (option.h): nothing else changes when one
 * is added.
 */
#ifndef UKRUN_DEVICE_H
#define UKRUN_DEVICE_H

#include <stddef.h>
#include <sys/uio.h>

#include "compiler.h"
#include "io.h"
#include "vm.h"

struct device_type {
	const char *name;
	/* Make what the command line asks for: io_add(), device_add(). */
	void (*setup)(struct vm *vm);
	/* In a child, before its vCPUs run: VM fds and id are new. */
	void (*forked)(struct vm *vm, void *dev);
	/* The VM has ended. */
	void (*end)(struct vm *vm, void *dev);
};

struct device_state {
	void *state;
	void *saved;
	size_t size;
	struct device_state *next;
};

struct device {
	const struct device_type *type;
	void *dev;
	struct device *next;
};

#define DECLARE_DEVICE(id, ...)						\
	static const struct device_type declared_device_##id = __VA_ARGS__; \
	static const struct device_type *const declared_device_ptr_##id	\
	__section("ukrun_devices") __used = &declared_device_##id

/* Have @type's hooks called for @dev. */
void device_add(struct vm *vm, const struct device_type *type, void *dev);

/*
 * @state is all that the guest can change of a device. It is put back when the VM
 * is reset, and sent to a child that waits for it in a process of its own
 * (shell.h). Wires need no more: KVM's side of them is in the template.
 */
void device_add_state(struct vm *vm, void *state, size_t size);

/* Bounds of the linker section. */
extern const struct device_type *const __start_ukrun_devices[];
extern const struct device_type *const __stop_ukrun_devices[];

void device_setup_all(struct vm *vm);
void device_forked_all(struct vm *vm);
void device_end_all(struct vm *vm);

/*
 * Where the states are: the same list in all processes of a family. Returns
 * how many there are, or -1: more than @max.
 */
int device_states(const struct vm *vm, struct iovec *iov, int max);

/* With all vCPUs parked: keep the state of all devices, and put it back. */
void device_save_all(struct vm *vm);
void device_restore_all(struct vm *vm);

#endif
