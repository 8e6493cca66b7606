// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "device.h"
#include "log.h"
#include "option.h"
#include "props.h"
#include "qmp/qmp.h"
#include "sandbox.h"
#include "vm.h"
#include "worker.h"

/* What a client may say before it is a whole object, or leave unread. */
#define CLIENT_MAX	65536
#define CLIENTS_MAX	16

struct client {
	int fd;
	struct json_tokener *tokener;
	size_t pending;		/* bytes of an object that is not whole */
	bool negotiated;
	char *out;
	size_t out_size;
	unsigned int at;	/* in the poll set */
	/* Forks come last: in the child there are no clients. */
	bool wants_fork;
	struct json_object *fork_id;
	struct client *next;
};

struct qmp {
	const char *path;
	int fd;
	unsigned int at;
	struct client *clients;
};

static void qmp_option(struct vm *vm, const char *arg)
{
	struct props *props = NULL;

	if (vm->qmp)
		die("-qmp: no more than one");
	vm->qmp = xcalloc(1, sizeof(*vm->qmp));
	props_add(&props, "-qmp", arg, "path");
	vm->qmp->path = props_need(props, "path");
	if (strncmp(vm->qmp->path, "unix:", 5) || !vm->qmp->path[5])
		die("-qmp %s: unix:PATH,server,nowait", arg);
	vm->qmp->path += 5;
	if (!props_bool(props, "server", false))
		die("-qmp %s: ukrun is a server: add ,server,nowait", arg);
	if (!props_bool(props, "nowait", false) && props_bool(props, "wait", true))
		die("-qmp %s: ukrun waits for no client: add ,nowait", arg);
	props_finish(props);
}

DECLARE_OPTION(qmp, {
	.name = "qmp",
	.arg = "unix:PATH,server,nowait",
	.help = "QEMU's machine protocol at a socket",
	.handle = qmp_option,
});

static void client_write(struct client *client)
{
	ssize_t n = send(client->fd, client->out, client->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0) {
		client->out_size -= n;
		memmove(client->out, client->out + n, client->out_size);
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		shutdown(client->fd, SHUT_RDWR);
		client->out_size = 0;
	}
}

/* Takes @object. */
static void client_send(struct client *client, struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	size_t size = strlen(text);

	/* Who does not read is not worth the memory. */
	if (client->out_size + size + 2 > CLIENT_MAX) {
		shutdown(client->fd, SHUT_RDWR);
	} else {
		memcpy(client->out + client->out_size, text, size);
		memcpy(client->out + client->out_size + size, "\r\n", 2);
		client->out_size += size + 2;
		client_write(client);
	}
	json_object_put(object);
}

/* @result: null for an error. Takes @result and @id. */
static void client_answer(struct client *client, struct json_object *result,
			  const struct qmp_error *error, struct json_object *id)
{
	struct json_object *answer = json_object_new_object(), *object;

	if (result) {
		json_object_object_add(answer, "return", result);
	} else {
		object = json_object_new_object();
		json_object_object_add(object, "class", json_object_new_string(error->class));
		json_object_object_add(object, "desc", json_object_new_string(error->text));
		json_object_object_add(answer, "error", object);
	}
	if (id)
		json_object_object_add(answer, "id", id);
	client_send(client, answer);
}

static void __printf(2, 3) qmp_fail(struct qmp_error *error, const char *fmt, ...)
{
	va_list ap;

	error->class = QMP_GENERIC;
	va_start(ap, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
}

/* The object's form: its command, null with @error, and arguments, which may be null. */
static const char *qmp_parse(struct json_object *object, struct json_object **arguments,
			     struct qmp_error *error)
{
	const char *name = NULL;

	*arguments = NULL;
	if (!json_object_is_type(object, json_type_object)) {
		qmp_fail(error, "QMP input must be a JSON object");
		return NULL;
	}
	json_object_object_foreach(object, key, value) {
		if (!strcmp(key, "execute") && json_object_is_type(value, json_type_string)) {
			name = json_object_get_string(value);
		} else if (!strcmp(key, "arguments") &&
			   json_object_is_type(value, json_type_object)) {
			*arguments = value;
		} else if (strcmp(key, "id")) {
			qmp_fail(error, "QMP input member '%s' is unexpected", key);
			return NULL;
		}
	}
	if (!name)
		qmp_fail(error, "QMP input lacks member 'execute'");
	return name;
}

/* Those that it takes, and no others: its number. */
static bool qmp_take_arguments(struct json_object *arguments, const char *wanted,
			       uint64_t *number, struct qmp_error *error)
{
	bool found = false;

	if (arguments) {
		json_object_object_foreach(arguments, key, value) {
			if (!wanted || strcmp(key, wanted)) {
				qmp_fail(error, "Parameter '%s' is unexpected", key);
				return false;
			}
			if (!json_object_is_type(value, json_type_int) ||
			    json_object_get_int64(value) < 0) {
				qmp_fail(error, "Parameter '%s' must be a number", key);
				return false;
			}
			*number = json_object_get_int64(value);
			found = true;
		}
	}
	if (wanted && !found)
		qmp_fail(error, "Parameter '%s' is missing", wanted);
	return !wanted || found;
}

static struct json_object *qmp_run_command(struct vm *vm, const struct qmp_command *command,
					   struct json_object *arguments, struct qmp_error *error)
{
	uint64_t number = 0;

	if (!qmp_take_arguments(arguments, command->argument, &number, error))
		return NULL;
	return command->argument ? command->set(vm, number, error) : command->run(vm, error);
}

static struct json_object *qmp_run(struct vm *vm, struct client *client, const char *name,
				   struct json_object *arguments, struct qmp_error *error)
{
	bool negotiates = !strcmp(name, "qmp_capabilities");
	const struct qmp_command *const *command;

	error->class = "CommandNotFound";
	if (negotiates != !client->negotiated) {
		snprintf(error->text, sizeof(error->text), client->negotiated ?
			 "Capabilities negotiation is already complete, command ignored" :
			 "Expecting capabilities negotiation with 'qmp_capabilities'");
		return NULL;
	}
	if (negotiates) {
		client->negotiated = true;
		return json_object_new_object();
	}
	for (command = __start_ukrun_qmp; command < __stop_ukrun_qmp; command++)
		if (!strcmp((*command)->name, name))
			return qmp_run_command(vm, *command, arguments, error);
	snprintf(error->text, sizeof(error->text), "The command %s has not been found", name);
	return NULL;
}

/* Takes @object. */
static void client_execute(struct vm *vm, struct client *client, struct json_object *object)
{
	struct json_object *id = NULL, *result = NULL, *arguments;
	struct qmp_error error = {};
	const char *name = qmp_parse(object, &arguments, &error);
	bool bare = !arguments || !json_object_object_length(arguments);

	json_object_object_get_ex(object, "id", &id);
	json_object_get(id);
	if (name && client->negotiated && !strcmp(name, "x-kvmfork-fork") && bare &&
	    !client->wants_fork) {
		client->wants_fork = true;
		client->fork_id = id;
	} else {
		if (name)
			result = qmp_run(vm, client, name, arguments, &error);
		client_answer(client, result, &error, id);
	}
	json_object_put(object);
}

static void client_parse(struct vm *vm, struct client *client, const char *text, size_t size)
{
	struct qmp_error error = {};
	struct json_object *object;
	size_t used;

	while (size) {
		object = json_tokener_parse_ex(client->tokener, text, size);
		used = json_tokener_get_parse_end(client->tokener);
		switch (json_tokener_get_error(client->tokener)) {
		case json_tokener_success:
			client->pending = 0;
			client_execute(vm, client, object);
			break;
		case json_tokener_continue:
			client->pending += size;
			if (client->pending <= CLIENT_MAX)
				return;
			/* fallthrough */
		default:
			/* What is left of it cannot be told from what follows. */
			json_tokener_reset(client->tokener);
			client->pending = 0;
			qmp_fail(&error, "Invalid JSON syntax");
			client_answer(client, NULL, &error, NULL);
			return;
		}
		text += used;
		size -= used;
	}
}

static void client_free(struct client *client)
{
	close(client->fd);
	json_tokener_free(client->tokener);
	json_object_put(client->fork_id);
	free(client->out);
	free(client);
}

static void qmp_accept(struct vm *vm)
{
	struct json_object *greeting, *content;
	struct client *client, **at;
	unsigned int n = 0;
	int fd = accept4(vm->qmp->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (at = &vm->qmp->clients; *at; at = &(*at)->next)
		n++;
	if (fd < 0)
		return;
	if (n == CLIENTS_MAX) {
		close(fd);
		return;
	}
	client = xcalloc(1, sizeof(*client));
	client->fd = fd;
	client->tokener = json_tokener_new();
	client->out = xcalloc(1, CLIENT_MAX);
	*at = client;
	content = json_object_new_object();
	json_object_object_add(content, "version", qmp_version());
	json_object_object_add(content, "capabilities", json_object_new_array());
	greeting = json_object_new_object();
	json_object_object_add(greeting, "QMP", content);
	client_send(client, greeting);
}

void qmp_poll(struct vm *vm, struct poll_set *set)
{
	struct client *client;

	if (!vm->qmp)
		return;
	vm->qmp->at = poll_set_add(set, vm->qmp->fd, POLLIN);
	for (client = vm->qmp->clients; client; client = client->next)
		client->at = poll_set_add(set, client->fd,
					  POLLIN | (client->out_size ? POLLOUT : 0));
}

/* False: it has gone. */
static bool client_polled(struct vm *vm, struct client *client, short events)
{
	char text[4096];
	ssize_t n;

	if (events & POLLOUT)
		client_write(client);
	if (!(events & (POLLIN | POLLERR | POLLHUP)))
		return true;
	n = read(client->fd, text, sizeof(text));
	if (n > 0)
		client_parse(vm, client, text, n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* In the child there is no vm->qmp any more. */
static void qmp_fork_all(struct vm *vm)
{
	struct json_object *result, *id;
	struct qmp_error error = {};
	struct client *client;

	for (client = vm->qmp->clients; client; client = client->next) {
		if (!client->wants_fork)
			continue;
		client->wants_fork = false;
		result = qmp_fork(vm, &error);
		if (!vm->qmp)
			return;
		id = client->fork_id;
		client->fork_id = NULL;
		client_answer(client, result, &error, id);
	}
}

void qmp_polled(struct vm *vm, const struct poll_set *set)
{
	struct qmp *qmp = vm->qmp;
	struct client **at, *client;

	if (!qmp)
		return;
	for (at = &qmp->clients; (client = *at);) {
		if (client_polled(vm, client, set->fds[client->at].revents)) {
			at = &client->next;
		} else {
			*at = client->next;
			client_free(client);
		}
	}
	/* Those which come now were not waited for. */
	if (set->fds[qmp->at].revents)
		qmp_accept(vm);
	qmp_fork_all(vm);
}

void qmp_event(struct vm *vm, const char *name, struct json_object *data)
{
	struct json_object *event, *stamp;
	struct client *client;
	struct timeval now;

	gettimeofday(&now, NULL);
	stamp = json_object_new_object();
	json_object_object_add(stamp, "seconds", json_object_new_int64(now.tv_sec));
	json_object_object_add(stamp, "microseconds", json_object_new_int64(now.tv_usec));
	event = json_object_new_object();
	json_object_object_add(event, "timestamp", stamp);
	json_object_object_add(event, "event", json_object_new_string(name));
	if (data)
		json_object_object_add(event, "data", data);
	for (client = vm->qmp ? vm->qmp->clients : NULL; client; client = client->next)
		if (client->negotiated)
			client_send(client, json_object_get(event));
	json_object_put(event);
}

static void qmp_close(struct vm *vm)
{
	struct client *client;

	while ((client = vm->qmp->clients)) {
		vm->qmp->clients = client->next;
		client_free(client);
	}
	close(vm->qmp->fd);
	vm->qmp = NULL;
}

/* The socket is the parent's. */
static int qmp_forked(struct vm *vm, void *dev)
{
	(void)dev;
	if (vm->qmp)
		qmp_close(vm);
	return 0;
}

static void qmp_end(struct vm *vm, void *dev)
{
	struct json_object *data = json_object_new_object();
	const char *reason;

	(void)dev;
	reason = vm->quit ? "host-qmp-quit" : vm->ended ? "guest-shutdown" : "host-signal";
	json_object_object_add(data, "guest", json_object_new_boolean(*reason == 'g'));
	json_object_object_add(data, "reason", json_object_new_string(reason));
	qmp_event(vm, "SHUTDOWN", data);
	if (!vm->qmp)
		return;
	unlink(vm->qmp->path);
	qmp_close(vm);
}

static void qmp_setup(struct vm *vm)
{
	static const struct device_type type = {
		.name = "qmp", .forked = qmp_forked, .end = qmp_end,
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct qmp *qmp = vm->qmp;
	struct stat stat;

	if (!qmp)
		return;
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", qmp->path) >=
	    (int)sizeof(address.sun_path))
		die("-qmp unix:%s: longer than a socket's name may be", qmp->path);
	qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (qmp->fd < 0)
		die_errno("-qmp unix:%s", qmp->path);
	/* One that nobody listens to any more has been left by somebody who was killed. */
	if (connect(qmp->fd, (const void *)&address, sizeof(address)) && errno == ECONNREFUSED &&
	    !lstat(qmp->path, &stat) && S_ISSOCK(stat.st_mode))
		unlink(qmp->path);
	close(qmp->fd);
	qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (qmp->fd < 0 || bind(qmp->fd, (const void *)&address, sizeof(address)) ||
	    listen(qmp->fd, CLIENTS_MAX))
		die_errno("-qmp unix:%s", qmp->path);
	sandbox_allow(SCMP_SYS(accept4));
	sandbox_allow(SCMP_SYS(unlink));
	device_add(vm, &type, qmp);
}

DECLARE_DEVICE(qmp, { .name = "qmp", .setup = qmp_setup });
