// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "ps_print.h"

/* Null when it does not run. */
static const struct ps_vm *ps_parent(const struct ps_list *list, const struct ps_vm *vm)
{
	size_t i;

	for (i = 0; i < list->nr; i++)
		if (list->vms[i].family == vm->family && list->vms[i].id == vm->parent_id)
			return &list->vms[i];
	return NULL;
}

static void ps_format_size(char *text, size_t size, const struct ps_vm *vm, uint64_t kib)
{
	if (!vm->has_memory)
		snprintf(text, size, "-");
	else if (kib < 10240)
		snprintf(text, size, "%" PRIu64 "K", kib);
	else
		snprintf(text, size, "%" PRIu64 "M", kib >> 10);
}

static void ps_format_time(char *text, size_t size, uint64_t seconds)
{
	if (seconds < 3600)
		snprintf(text, size, "%" PRIu64 ":%02" PRIu64, seconds / 60, seconds % 60);
	else
		snprintf(text, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, seconds / 3600,
			 seconds / 60 % 60, seconds % 60);
}

/* Nothing in it may move the cursor. */
static void ps_put_command(const struct ps_vm *vm)
{
	size_t i;

	for (i = 0; i + 1 < vm->command_size; i++) {
		unsigned char c = vm->command[i];

		putchar(!c ? ' ' : c < ' ' || c == 0x7f ? '?' : c);
	}
	putchar('\n');
}

static void ps_put_line(const struct ps_list *list, const struct ps_vm *vm, int depth)
{
	char id[40], parent[24] = "-", private[24], shared[24], uptime[32];

	snprintf(id, sizeof(id), "%*s%" PRIu64, 2 * (depth < 8 ? depth : 8), "", vm->id);
	if (ps_parent(list, vm))
		snprintf(parent, sizeof(parent), "%" PRIu64, vm->parent_id);
	ps_format_size(private, sizeof(private), vm, vm->private_kib);
	ps_format_size(shared, sizeof(shared), vm, vm->shared_kib);
	ps_format_time(uptime, sizeof(uptime), vm->uptime_ns / NS_PER_S);
	printf("%-10s %7d %6s %6" PRIu64 " %6" PRIu64 " %6" PRIu64 " %8s %7s %7s  ", id, vm->pid,
	       parent, vm->forks, vm->resets, vm->shells, uptime, private, shared);
	ps_put_command(vm);
}

/* @vm and, behind it, all who descend from it. */
static void ps_put_branch(const struct ps_list *list, const struct ps_vm *vm, int depth)
{
	size_t i;

	ps_put_line(list, vm, depth);
	/* A child's id is greater. */
	for (i = vm - list->vms + 1; i < list->nr && list->vms[i].family == vm->family; i++)
		if (list->vms[i].parent_id == vm->id)
			ps_put_branch(list, &list->vms[i], depth + 1);
}

void ps_print_tree(const struct ps_list *list)
{
	size_t i;

	printf("%-10s %7s %6s %6s %6s %6s %8s %7s %7s  %s\n", "VM", "PID", "PARENT", "FORKS",
	       "RESETS", "SHELLS", "UPTIME", "PRIVATE", "SHARED", "COMMAND");
	for (i = 0; i < list->nr; i++)
		if (!ps_parent(list, &list->vms[i]))
			ps_put_branch(list, &list->vms[i], 0);
}

/* Bytes of the UTF-8 character at @s, 0 when it is none. */
static size_t ps_utf8(const unsigned char *s, size_t left)
{
	size_t n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 :
		   *s >= 0xf0 && *s < 0xf5 ? 4 : 0;
	size_t i;

	if (n > left)
		return 0;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Too long a form, surrogates, beyond Unicode. */
	if ((n == 3 && ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f))) ||
	    (n == 4 && ((*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))))
		return 0;
	return n;
}

static void ps_put_string(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t left = strlen(text), n;

	putchar('"');
	for (; left; s += n, left -= n) {
		n = ps_utf8(s, left);
		if (!n) {
			printf("\\ufffd");
			n = 1;
		} else if (*s < ' ' || *s == 0x7f) {
			printf("\\u%04x", *s);
		} else {
			if (*s == '"' || *s == '\\')
				putchar('\\');
			fwrite(s, 1, n, stdout);
		}
	}
	putchar('"');
}

static void ps_put_object(const struct ps_list *list, const struct ps_vm *vm)
{
	const struct ps_vm *parent = ps_parent(list, vm);
	const char *word;

	printf("  {\"family\": %" PRIu64 ", \"id\": %" PRIu64 ", \"pid\": %d", vm->family, vm->id,
	       vm->pid);
	if (parent)
		printf(", \"parent\": %" PRIu64 ", \"parent_pid\": %d", parent->id, parent->pid);
	else
		printf(", \"parent\": null, \"parent_pid\": null");
	printf(", \"forks\": %" PRIu64 ", \"resets\": %" PRIu64, vm->forks, vm->resets);
	printf(", \"shells\": %" PRIu64 ", \"shell_forks\": %" PRIu64, vm->shells,
	       vm->shell_forks);
	printf(", \"uptime_ns\": %" PRIu64, vm->uptime_ns);
	if (vm->has_memory)
		printf(", \"private_kib\": %" PRIu64 ", \"shared_kib\": %" PRIu64, vm->private_kib,
		       vm->shared_kib);
	else
		printf(", \"private_kib\": null, \"shared_kib\": null");
	printf(", \"command\": [");
	for (word = vm->command; word < vm->command + vm->command_size; word += strlen(word) + 1) {
		if (word != vm->command)
			printf(", ");
		ps_put_string(word);
	}
	printf("]}");
}

void ps_print_json(const struct ps_list *list)
{
	size_t i;

	printf("[");
	for (i = 0; i < list->nr; i++) {
		printf(i ? ",\n" : "\n");
		ps_put_object(list, &list->vms[i]);
	}
	printf(list->nr ? "\n]\n" : "]\n");
}
