// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "fork.h"
#include "qmp/qmp.h"
#include "vcpu.h"
#include "vm.h"

static struct json_object *commands_fail(struct qmp_error *error, const char *text)
{
	error->class = QMP_GENERIC;
	snprintf(error->text, sizeof(error->text), "%s", text);
	return NULL;
}

static void commands_add(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

struct json_object *qmp_version(void)
{
	struct json_object *version = json_object_new_object();
	struct json_object *number = json_object_new_object();
	char *dot;

	commands_add(number, "major", strtoul(UKRUN_VERSION, &dot, 10));
	commands_add(number, "minor", strtoul(dot + 1, NULL, 10));
	commands_add(number, "micro", 0);
	json_object_object_add(version, "qemu", number);
	json_object_object_add(version, "package", json_object_new_string("ukrun " UKRUN_VERSION));
	return version;
}

static struct json_object *commands_version(struct vm *vm, struct qmp_error *error)
{
	(void)vm;
	(void)error;
	return qmp_version();
}

static struct json_object *commands_status(struct vm *vm, struct qmp_error *error)
{
	struct json_object *status = json_object_new_object();

	(void)error;
	json_object_object_add(status, "status",
			       json_object_new_string(vm->paused ? "paused" : "running"));
	json_object_object_add(status, "running", json_object_new_boolean(!vm->paused));
	return status;
}

static struct json_object *commands_stop(struct vm *vm, struct qmp_error *error)
{
	if (vm->template.waits)
		return commands_fail(error, "VM 1 is a template and does not run");
	if (!vm->paused) {
		if (!vm_stop(vm))
			return commands_fail(error, "the VM has ended");
		vm->paused = true;
		qmp_event(vm, "STOP", NULL);
	}
	return json_object_new_object();
}

static struct json_object *commands_cont(struct vm *vm, struct qmp_error *error)
{
	(void)error;
	if (vm->paused) {
		vm->paused = false;
		vm_resume(vm);
		qmp_event(vm, "RESUME", NULL);
	}
	return json_object_new_object();
}

static struct json_object *commands_powerdown(struct vm *vm, struct qmp_error *error)
{
	(void)error;
	device_press_all(vm);
	return json_object_new_object();
}

static struct json_object *commands_quit(struct vm *vm, struct qmp_error *error)
{
	(void)error;
	vm_quit(vm);
	return json_object_new_object();
}

struct json_object *qmp_fork(struct vm *vm, struct qmp_error *error)
{
	struct fork_report report = {};
	struct json_object *result;
	int64_t id;

	if (vm->attach_fd < 0)
		return commands_fail(error, "this VM cannot fork: --fork-on=off");
	if (vm->template.waits)
		return commands_fail(error, "VM 1 is a template and does not run");
	if (vm->paused)
		return commands_fail(error, "the VM is stopped: first cont");
	id = vm_fork_unasked(vm, &report);
	if (!id)
		return NULL;
	if (id < 0) {
		commands_fail(error, "");
		snprintf(error->text, sizeof(error->text), "%s%s%s", strerror(-id),
			 report.message[0] ? ": " : "", report.message);
		return NULL;
	}
	result = json_object_new_object();
	commands_add(result, "id", id);
	return result;
}

/* All VMs of the family that live. */
static struct json_object *commands_tree(struct vm *vm, struct qmp_error *error)
{
	struct json_object *list = json_object_new_array(), *entry;
	const struct family_vm *member;
	uint32_t i;

	(void)error;
	for (i = 0; i < vm->config.max_vms; i++) {
		member = family_at(vm, i);
		if (!member)
			continue;
		entry = json_object_new_object();
		commands_add(entry, "id", member->id);
		commands_add(entry, "parent", member->parent_id);
		commands_add(entry, "forks", member->forks);
		commands_add(entry, "resets", member->resets);
		json_object_array_add(list, entry);
	}
	return list;
}

DECLARE_QMP_COMMAND(version, { "query-version", .run = commands_version });
DECLARE_QMP_COMMAND(status, { "query-status", .run = commands_status });
DECLARE_QMP_COMMAND(stop, { "stop", .run = commands_stop });
DECLARE_QMP_COMMAND(cont, { "cont", .run = commands_cont });
DECLARE_QMP_COMMAND(powerdown, { "system_powerdown", .run = commands_powerdown });
DECLARE_QMP_COMMAND(quit, { "quit", .run = commands_quit });
DECLARE_QMP_COMMAND(fork, { "x-kvmfork-fork", .run = qmp_fork });
DECLARE_QMP_COMMAND(tree, { "x-kvmfork-tree", .run = commands_tree });
