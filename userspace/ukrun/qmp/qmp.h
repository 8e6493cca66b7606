/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * QEMU's machine protocol, -qmp: JSON over a Unix socket. All of it is done on
 * the main thread, between what vCPUs ask for.
 */
#ifndef UKRUN_QMP_H
#define UKRUN_QMP_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

struct poll_set;
struct vm;

/* For the loop: what to wait for, and that the wait is over. */
void qmp_poll(struct vm *vm, struct poll_set *set);
void qmp_polled(struct vm *vm, const struct poll_set *set);

/* Tell all clients. Takes @data, which may be null. */
void qmp_event(struct vm *vm, const char *event, struct json_object *data);

/* What a command returns, or null and why in @error. */
struct qmp_error {
	const char *class;
	char text[256];
};

#define QMP_GENERIC	"GenericError"

/* Declared in the file that it is about, as devices are. */
struct qmp_command {
	const char *name;
	struct json_object *(*run)(struct vm *vm, struct qmp_error *error);
	/* Or of one that has an argument, called so: a whole number, which must be there. */
	const char *argument;
	struct json_object *(*set)(struct vm *vm, uint64_t number, struct qmp_error *error);
};

#define DECLARE_QMP_COMMAND(id, ...)					\
	static const struct qmp_command declared_qmp_##id = __VA_ARGS__; \
	static const struct qmp_command *const declared_qmp_ptr_##id	\
	__section("ukrun_qmp") __used = &declared_qmp_##id

/* Bounds of the linker section. */
extern const struct qmp_command *const __start_ukrun_qmp[];
extern const struct qmp_command *const __stop_ukrun_qmp[];

/* { "qemu": ..., "package": ... } */
struct json_object *qmp_version(void);

/*
 * In the child, where this returns null with no @error, there is nobody to
 * answer: its sockets are closed.
 */
struct json_object *qmp_fork(struct vm *vm, struct qmp_error *error);

#endif
