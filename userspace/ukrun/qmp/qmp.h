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

struct qmp_command {
	const char *name;
	struct json_object *(*run)(struct vm *vm, struct qmp_error *error);
};

/* commands.c; ends with one that has no name. None of them has arguments. */
extern const struct qmp_command qmp_commands[];

/* { "qemu": ..., "package": ... } */
struct json_object *qmp_version(void);

/*
 * In the child, where this returns null with no @error, there is nobody to
 * answer: its sockets are closed.
 */
struct json_object *qmp_fork(struct vm *vm, struct qmp_error *error);

#endif
