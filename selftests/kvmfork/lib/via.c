// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_TEST_VIA=reset: tests of KVMFORK_FORK become tests of KVMFORK_RESET.
 * A child is a VM with everything in it spoilt, and then reset: what the test
 * finds in it, reset has put there.
 *
 * KVMFORK_TEST_VIA=load: a child comes from a template that was saved to files,
 * closed, and loaded from there.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fork.h"
#include "save.h"
#include "scramble.h"

static int fork_via_reset(struct vm *parent, struct vm *child)
{
	int template, ret;

	template = __vm_freeze(parent);
	if (template < 0)
		return template;
	ret = __vm_spawn(template, parent, child);
	if (!ret) {
		vm_scramble(child);
		ret = __vm_reset(child, template, RESET_ALL);
		if (ret)
			vm_close(child);
	}
	close(template);
	return ret;
}

static int fork_via_load(struct vm *parent, struct vm *child)
{
	char path[SAVE_PATH_SIZE];
	int template, ret;

	template = __vm_freeze(parent);
	if (template < 0)
		return template;
	template_save(template, path);
	close(template);
	template = template_restore(path);
	template_saved_remove(path);
	ret = __vm_spawn(template, parent, child);
	close(template);
	return ret;
}

static void __attribute__((constructor)) choose_way(void)
{
	const char *way = getenv("KVMFORK_TEST_VIA");

	if (!way)
		return;
	if (!strcmp(way, "reset"))
		vm_fork_via = fork_via_reset;
	else if (!strcmp(way, "load"))
		vm_fork_via = fork_via_load;
	else
		test_fail(__FILE__, __LINE__, "KVMFORK_TEST_VIA=%s is not known", way);
}
