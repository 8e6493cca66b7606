// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <unistd.h>

#include "chardev.h"
#include "log.h"
#include "option.h"
#include "props.h"
#include "vm.h"

static struct props *chardevs;

static void chardev_option(struct vm *vm, const char *arg)
{
	(void)vm;
	props_add(&chardevs, "-chardev", arg, "backend");
}

DECLARE_OPTION(chardev, {
	.name = "chardev",
	.arg = "stdio|null|file,id=ID[,path=FILE]",
	.help = "where a port of a device leads to; child VMs write to FILE.ID",
	.handle = chardev_option,
});

/* The serial port has the terminal unless somebody else wants it. */
static struct console *chardev_take_terminal(struct vm *vm)
{
	struct console *console = &vm->console;

	if (console->dev || (console->chosen && console->kind != CONSOLE_NULL))
		die("-chardev stdio: goes with -serial null, as one port only can have the terminal");
	console->kind = CONSOLE_STDIO;
	console->fd = STDOUT_FILENO;
	return console;
}

struct console *chardev_open(struct vm *vm, const char *id)
{
	struct props *props = props_find(chardevs, id);
	struct console *console;
	const char *backend;

	if (!props)
		die("-device: chardev=%s: there is no -chardev with id=%s", id, id);
	if (props->used)
		die("-device: chardev=%s: another port leads there", id);
	props->used = true;
	props_need(props, "id");
	backend = props_word(props, "backend", "stdio null file", "");
	if (!strcmp(backend, "stdio")) {
		/* QEMU's: whether Ctrl-C ends it. It does. */
		props_word(props, "signal", "on", NULL);
		console = chardev_take_terminal(vm);
	} else if (!strcmp(backend, "file")) {
		console = console_create(props_need(props, "path"));
	} else if (!strcmp(backend, "null")) {
		console = console_create(NULL);
	} else {
		die("-chardev id=%s: which one? stdio, null or file", id);
	}
	props_finish(props);
	return console;
}
