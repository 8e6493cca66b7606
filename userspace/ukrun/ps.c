// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "family.h"
#include "identity.h"
#include "log.h"
#include "ps.h"
#include "ps_print.h"

/* The content of /proc/PID/NAME with a NUL behind it, null when there is none. */
static char *ps_read(pid_t pid, const char *name, size_t *size)
{
	size_t room = 4096, used = 0;
	char *text = xcalloc(1, room), *path = xasprintf("/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	free(path);
	while (fd >= 0 && (n = read(fd, text + used, room - used - 1)) > 0) {
		used += n;
		if (used == room - 1) {
			room *= 2;
			text = realloc(text, room);
			if (!text)
				die("out of memory on the host");
		}
	}
	text[used] = '\0';
	if (size)
		*size = used;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && used)
		return text;
	free(text);
	return NULL;
}

/* The number in KiB behind @key in an fdinfo. */
static uint64_t ps_counter(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void ps_add_memory(struct ps_vm *vm, const char *fd)
{
	char *name = xasprintf("fdinfo/%s", fd);
	char *text = ps_read(vm->pid, name, NULL);

	free(name);
	if (!text)
		return;
	vm->has_memory = true;
	vm->private_kib += ps_counter(text, "kvmfork-private:");
	vm->shared_kib += ps_counter(text, "kvmfork-shared:");
	free(text);
}

/*
 * What the VM with the id that the process's name tells wrote of itself. Whoever
 * made the file may have made anything of it, so it is read, not mapped.
 */
static void ps_add_record(struct ps_vm *vm, int file)
{
	struct family_shared shared;
	struct family_vm record;
	uint64_t i, slot;

	if (pread(file, &shared, sizeof(shared), 0) != sizeof(shared) || !shared.max_vms ||
	    shared.max_vms > MAX_VMS_LIMIT)
		return;
	for (i = 0; i < shared.max_vms; i++) {
		slot = (vm->id - 1 + i) % shared.max_vms;
		if (pread(file, &record, sizeof(record), family_size(slot)) != sizeof(record))
			return;
		if (record.id != vm->id)
			continue;
		vm->found = true;
		vm->parent_id = record.parent_id;
		vm->forks = record.forks;
		vm->resets = record.resets;
		vm->shells = record.shells;
		vm->shell_forks = record.shell_forks;
		vm->uptime_ns = identity_now() - record.started;
		return;
	}
}

static void ps_add_family(struct ps_vm *vm, const char *fd)
{
	char *path = xasprintf("/proc/%d/fd/%s", vm->pid, fd);
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat stat;

	free(path);
	if (file < 0)
		return;
	if (!fstat(file, &stat) && S_ISREG(stat.st_mode)) {
		vm->family = stat.st_ino;
		ps_add_record(vm, file);
	}
	close(file);
}

static void ps_look_at_files(struct ps_vm *vm)
{
	char *path = xasprintf("/proc/%d/fd", vm->pid);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	char link[128];
	ssize_t n;

	free(path);
	/* Another user's, or gone. */
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = '\0';
		if (!strncmp(link, "/memfd:" FAMILY_FILE " ", strlen("/memfd:" FAMILY_FILE " ")))
			ps_add_family(vm, entry->d_name);
		else if (strstr(link, "[kvmfork-memory]"))
			ps_add_memory(vm, entry->d_name);
	}
	closedir(dir);
}

/* False: no VM of ours. */
static bool ps_look(struct ps_vm *vm, pid_t pid)
{
	char *name = ps_read(pid, "comm", NULL);

	memset(vm, 0, sizeof(*vm));
	vm->pid = pid;
	if (name && !strncmp(name, "ukrun:", 6))
		vm->id = strtoull(name + 6, NULL, 10);
	free(name);
	if (!vm->id)
		return false;
	ps_look_at_files(vm);
	if (!vm->found)
		return false;
	vm->command = ps_read(pid, "cmdline", &vm->command_size);
	return vm->command;
}

static int ps_compare(const void *a, const void *b)
{
	const struct ps_vm *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void ps_collect(struct ps_list *list)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	struct ps_vm vm;

	if (!proc)
		die_errno("/proc");
	while ((entry = readdir(proc))) {
		if (!ps_look(&vm, atoi(entry->d_name)))
			continue;
		list->vms = realloc(list->vms, (list->nr + 1) * sizeof(vm));
		if (!list->vms)
			die("out of memory on the host");
		list->vms[list->nr++] = vm;
	}
	closedir(proc);
	if (list->nr)
		qsort(list->vms, list->nr, sizeof(vm), ps_compare);
}

int ps_main(int argc, char **argv)
{
	bool json = argc == 2 && (!strcmp(argv[1], "--json") || !strcmp(argv[1], "-json"));
	struct ps_list list = {};

	if (argc > 1 && !json)
		die("ps %s: only --json may follow; an image of the name ps is ./ps", argv[1]);
	ps_collect(&list);
	if (json)
		ps_print_json(&list);
	else
		ps_print_tree(&list);
	if (fflush(stdout))
		die_errno("stdout");
	return 0;
}
