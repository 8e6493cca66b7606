// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "option.h"
#include "vm.h"

static const char usage_head[] =
	"usage: ukrun [options] IMAGE [guest args]\n"
	"       ukrun ps [--json]\n"
	"Run a kernel image in a VM that can fork; exit with the guest's exit code.\n"
	"\n"
	"IMAGE is a multiboot 1 image (ELF or a.out kludge), a Linux bzImage or vmlinux,\n"
	"a PVH kernel, a Solo5 hvt or Unikraft image, or another ELF64 x86-64 executable.\n"
	"Guest args are joined by blanks.\n"
	"ukrun ps shows the VMs that run; an image of that name is ./ps.\n"
	"\n";

static const char usage_tail[] =
	"\n"
	"Options may be spelled with one dash or two, and '--name=ARG' is '--name ARG'.\n"
	"On a terminal: Ctrl-C or Ctrl-A x ends all VMs, Ctrl-A c sends Ctrl-C to the\n"
	"guest, Ctrl-A b a break, Ctrl-A Ctrl-A a Ctrl-A.\n"
	"\n"
	"Exit status: the guest's, as given to an exit port or the EXIT call; 0 when it\n"
	"powered off or reset; 125 ukrun failed; 193 the guest had a triple fault;\n"
	"194 the CPU refused the guest's state; 195 KVM failed.\n";

static void option_help(struct vm *vm, const char *arg)
{
	const struct option *const *option;
	char left[40];

	(void)vm;
	(void)arg;
	fputs(usage_head, stdout);
	for (option = __start_ukrun_options; option < __stop_ukrun_options; option++) {
		snprintf(left, sizeof(left), "-%s%s %s", (*option)->name[1] ? "-" : "",
			 (*option)->name, (*option)->arg ?: "");
		printf("  %-26s %s\n", left, (*option)->help);
	}
	fputs(usage_tail, stdout);
	exit(0);
}

static void option_version(struct vm *vm, const char *arg)
{
	(void)vm;
	(void)arg;
	puts("ukrun " UKRUN_VERSION);
	exit(0);
}

static void option_verbose(struct vm *vm, const char *arg)
{
	(void)arg;
	vm->config.verbose = true;
}

DECLARE_OPTION(verbose, { "v", NULL, "say on stderr what happens", option_verbose });
DECLARE_OPTION(help, { "help", NULL, "this text", option_help });
DECLARE_OPTION(short_help, { "h", NULL, "this text", option_help });
DECLARE_OPTION(version, { "version", NULL, "print the version", option_version });

unsigned long option_number(const char *name, const char *arg, unsigned long min,
			    unsigned long max)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || errno || *end || n < min || n > max)
		die("%s %s: not a number from %lu to %lu", name, arg, min, max);
	return n;
}

/* Null: no such option. */
static const struct option *option_find(const char *name, size_t size)
{
	const struct option *const *option;

	for (option = __start_ukrun_options; option < __stop_ukrun_options; option++)
		if (strlen((*option)->name) == size && !memcmp((*option)->name, name, size))
			return *option;
	return NULL;
}

static char *option_join(int argc, char **argv)
{
	size_t size = 1;
	char *text;
	int i;

	for (i = 0; i < argc; i++)
		size += strlen(argv[i]) + 1;
	text = xcalloc(1, size);
	for (i = 0; i < argc; i++) {
		strcat(text, i ? " " : "");
		strcat(text, argv[i]);
	}
	return text;
}

void option_parse(struct vm *vm, int argc, char **argv)
{
	const struct option *option;
	const char *name, *value;
	size_t size;
	int i;

	for (i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1])
			break;
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
		size = strcspn(name, "=");
		value = name[size] ? name + size + 1 : NULL;
		option = option_find(name, size);
		if (!option)
			die("unknown option %s: see ukrun --help", argv[i]);
		if (value && !option->arg)
			die("option %.*s takes no argument", (int)(value - 1 - argv[i]), argv[i]);
		if (!value && option->arg) {
			if (i + 1 == argc)
				die("option %s needs an argument, %s: see ukrun --help", argv[i],
				    option->arg);
			value = argv[++i];
		}
		option->handle(vm, value);
	}
	/* With -kernel there is no image among what is left. */
	if (!vm->config.image) {
		if (i == argc)
			die("no image to run: ukrun [options] IMAGE [guest args]; see ukrun --help");
		vm->config.image = argv[i++];
	}
	vm->config.guest_args = option_join(argc - i, argv + i);
}
