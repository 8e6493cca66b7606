/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device is one file. It declares a struct device_type, which lands in a
 * linker section, and its options (option.h): nothing else changes when one
 * is added.
 *
 * What a device does when its VM is copied, all on the main thread with all
 * vCPUs parked:
 *
 *	->quiesce()	its threads end, with nothing half done: what the guest
 *			has asked for is either done, or has not been looked at
 *	->forked()	only in a child: KVM's files and the id are new
 *	->renew()	in a child, and in a VM that has been reset: what must not
 *			be the same in two copies is made anew
 *	->resume()	threads run again, in parent and child, and also at the
 *			start. Whatever may have been missed is looked at
 */
#ifndef UKRUN_DEVICE_H
#define UKRUN_DEVICE_H

#include <stddef.h>
#include <sys/uio.h>

#include "compiler.h"
#include "io.h"
#include "vm.h"

struct aml;
struct props;

struct device_type {
	const char *name;
	/* As `-device NAME,...` has it; null for those which are not asked for so. */
	const char *model;
	/* Make one of @model. */
	void (*create)(struct vm *vm, struct props *props);
	/* The same for all models that end so. False: there is none of that name. */
	const char *suffix;
	bool (*create_of)(struct vm *vm, const char *model, struct props *props);
	/* Make what is there always, and what other options ask for. */
	void (*setup)(struct vm *vm);

	/* Of devices made with device_add(); each may be null. */
	void (*describe)(struct vm *vm, void *dev, struct aml *aml);
	/* A word for the command line of kernels without ACPI, or null; freed by the caller. */
	char *(*cmdline)(struct vm *vm, void *dev);
	void (*quiesce)(struct vm *vm, void *dev);
	/* 0 or a negative errno, and then there is no child. */
	int (*forked)(struct vm *vm, void *dev);
	/* 0 or a negative errno, likewise. */
	int (*renew)(struct vm *vm, void *dev);
	void (*resume)(struct vm *vm, void *dev);
	/* The host asks the guest to switch itself off. */
	void (*press)(struct vm *vm, void *dev);
	/* The VM has ended; it may be that its vCPUs still run. */
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

/* Have @type's hooks called for @dev, after those of devices added before. */
void device_add(struct vm *vm, const struct device_type *type, void *dev);

/*
 * @state is all that the guest can change of a device. It is put back when the VM
 * is reset, and sent to a child that waits for it in a process of its own
 * (shell.h). Wires need no more: KVM's side of them is in the template.
 */
void device_add_state(struct vm *vm, void *state, size_t size);

/*
 * An interrupt line that is nobody else's. The first ones can be reached
 * without an IOAPIC too; those from DEVICE_LEGACY_LINES up cannot.
 */
#define DEVICE_LEGACY_LINES	16
unsigned int device_take_irq(struct vm *vm);

/* Bounds of the linker section. */
extern const struct device_type *const __start_ukrun_devices[];
extern const struct device_type *const __stop_ukrun_devices[];

/* Make a device of @model. False: there is none. */
bool device_create(struct vm *vm, const char *model, struct props *props);

void device_setup_all(struct vm *vm);
void device_describe_all(struct vm *vm, struct aml *aml);
/* All words for the command line, joined by blanks. Freed by the caller. */
char *device_cmdline_all(struct vm *vm);
void device_quiesce_all(struct vm *vm);
int device_forked_all(struct vm *vm);
int device_renew_all(struct vm *vm);
void device_resume_all(struct vm *vm);
void device_press_all(struct vm *vm);
void device_end_all(struct vm *vm);

/*
 * Where the states are: the same list in all processes of a family. Returns
 * how many there are, or -1: more than @max.
 */
int device_states(const struct vm *vm, struct iovec *iov, int max);

/* With all devices quiesced: keep the state of all, and put it back. */
void device_save_all(struct vm *vm);
void device_restore_all(struct vm *vm);

#endif
