// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <sys/resource.h>

#include "9p/fsdev.h"
#include "compiler.h"
#include "log.h"
#include "option.h"
#include "props.h"
#include "sandbox.h"
#include "vm.h"

static struct props *fsdevs;

static void fsdev_option(struct vm *vm, const char *arg)
{
	(void)vm;
	props_add(&fsdevs, "-fsdev", arg, "fsdriver");
}

DECLARE_OPTION(fsdev, {
	.name = "fsdev",
	.arg = "local,id=ID,path=DIR,security_model=none[,...]",
	.help = "a directory for a guest: readonly=; docs/ukrun.md",
	.handle = fsdev_option,
});

/* A guest has a descriptor of ours for each file that it knows. */
static void fsdev_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void fsdev_allow(void)
{
	static const int calls[] = {
		SCMP_SYS(fchmodat), SCMP_SYS(fstatfs), SCMP_SYS(getdents64),
		SCMP_SYS(linkat), SCMP_SYS(mkdirat), SCMP_SYS(mknodat), SCMP_SYS(openat),
		SCMP_SYS(openat2), SCMP_SYS(readlinkat), SCMP_SYS(renameat), SCMP_SYS(symlinkat),
		SCMP_SYS(truncate), SCMP_SYS(unlinkat), SCMP_SYS(utimensat),
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		sandbox_allow(calls[i]);
}

struct fsdev *fsdev_open(struct vm *vm, const char *id)
{
	struct props *props = props_find(fsdevs, id);
	struct fsdev *fsdev = xcalloc(1, sizeof(*fsdev));

	if (!props)
		die("-device: fsdev=%s: there is no -fsdev with id=%s", id, id);
	if (props->used)
		die("-device: fsdev=%s: another device has that directory", id);
	props->used = true;
	props_word(props, "fsdriver", "local", NULL);
	fsdev->id = props_need(props, "id");
	fsdev->path = props_need(props, "path");
	fsdev->read_only = props_bool(props, "readonly", false);
	/* What the guest says of owners does not count, and attributes are not kept elsewhere. */
	if (!props_word(props, "security_model", "none", NULL))
		die("-fsdev id=%s: needs security_model=none: files are those of ukrun's user", id);
	props_finish(props);
	/* They would be the files of the run before. */
	if (vm->config.reset_on_exit)
		die("--reset-on-exit: goes without -fsdev, as what is open and written there would not be taken back");
	fsdev->root = open(fsdev->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fsdev->root < 0)
		die_errno("-fsdev path=%s", fsdev->path);
	fsdev_raise_limit();
	fsdev_allow();
	return fsdev;
}
