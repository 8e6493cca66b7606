/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command line. An option is declared in the file that it is about and
 * found through a linker section, as devices are.
 */
#ifndef UKRUN_OPTION_H
#define UKRUN_OPTION_H

#include "compiler.h"

struct vm;

struct option {
	const char *name;	/* without dashes; -name and --name are the same */
	const char *arg;	/* name of its argument, null when it takes none */
	const char *help;
	void (*handle)(struct vm *vm, const char *arg);
};

/* An option as '-name ARG', '--name ARG' or '--name=ARG'. */
#define DECLARE_OPTION(id, ...)						\
	static const struct option declared_option_##id = __VA_ARGS__;	\
	static const struct option *const declared_option_ptr_##id	\
	__section("ukrun_options") __used = &declared_option_##id

/* Bounds of the linker section. */
extern const struct option *const __start_ukrun_options[];
extern const struct option *const __stop_ukrun_options[];

/* Dies when something is wrong; --help and --version end the program. */
void option_parse(struct vm *vm, int argc, char **argv);

/* A whole number from @min to @max, or dies. */
unsigned long option_number(const char *name, const char *arg, unsigned long min,
			    unsigned long max);

#endif
