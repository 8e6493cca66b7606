// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes of the lock file, held with POSIX record locks:
 *
 *	0 to --max-vms - 1	a slot each, one per living VM: the limit, and
 *				where in family_shared.vms it is
 *	LOCK_OUTPUT		held while a line is written
 *	LOCK_ID + id		held by VM id, so F_GETLK tells its pid
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "family.h"
#include "log.h"
#include "option.h"
#include "vm.h"

#define LOCK_OUTPUT	(1LL << 31)
#define LOCK_ID		(1LL << 32)

static void family_option_max_vms(struct vm *vm, const char *arg)
{
	vm->config.max_vms = option_number("--max-vms", arg, 1, MAX_VMS_LIMIT);
}

static void family_option_kill_children(struct vm *vm, const char *arg)
{
	(void)arg;
	vm->config.kill_children = true;
}

DECLARE_OPTION(max_vms, {
	.name = "max-vms",
	.arg = "N",
	.help = "VMs alive at once, the first included; more forks give -EAGAIN (64)",
	.handle = family_option_max_vms,
});

DECLARE_OPTION(kill_children, {
	.name = "kill-children",
	.help = "a VM that ends takes its children with it",
	.handle = family_option_kill_children,
});

static int family_lock(const struct vm *vm, int command, int type, off_t byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int ret;

	do {
		ret = fcntl(vm->family.lock_fd, command, &lock);
	} while (ret && errno == EINTR);
	return ret;
}

/* Pid of the other process that holds @byte, 0: none. */
static pid_t family_holder(const struct vm *vm, off_t byte)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1,
	};

	if (fcntl(vm->family.lock_fd, F_GETLK, &lock) || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

size_t family_size(uint64_t max_vms)
{
	return sizeof(struct family_shared) + max_vms * sizeof(struct family_vm);
}

void family_create(struct vm *vm)
{
	struct family *family = &vm->family;

	size_t size = family_size(vm->config.max_vms);

	family->lock_fd = memfd_create(FAMILY_FILE, MFD_CLOEXEC);
	if (family->lock_fd < 0 || ftruncate(family->lock_fd, size))
		die_errno("memory shared with children");
	family->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, family->lock_fd, 0);
	if (family->shared == MAP_FAILED)
		die_errno("memory shared with children");
	family->shared->max_vms = vm->config.max_vms;
	vm->id = family_new_id(vm);
	if (family_join(vm))
		die_errno("lock of VM 1");
}

bool family_has_room(const struct vm *vm)
{
	uint32_t max = vm->config.max_vms;
	/* No query tells of the caller's own slot, so one is always "free". */
	unsigned int free = 0;
	uint32_t i;

	for (i = 0; i < max; i++) {
		/* Newer ids lie higher: start where nobody is likely to be. */
		if (!family_holder(vm, (vm->family.shared->last_id + i) % max) && ++free == 2)
			return true;
	}
	return false;
}

uint64_t family_new_id(struct vm *vm)
{
	return atomic_fetch_add(&vm->family.shared->last_id, 1) + 1;
}

uint64_t family_next_id(const struct vm *vm)
{
	return vm->family.shared->last_id + 1;
}

static void family_enrol(struct vm *vm, struct family_vm *self)
{
	vm->family.self = self;
	self->id = 0;
	self->parent_id = vm->parent_id;
	self->started = identity_now();
	self->forks = 0;
	self->resets = 0;
	self->shells = 0;
	self->shell_forks = 0;
	self->id = vm->id;
}

int family_join(struct vm *vm)
{
	uint32_t max = vm->config.max_vms;
	uint32_t i, slot = 0;

	for (i = 0; i < max; i++) {
		slot = (vm->id - 1 + i) % max;
		if (!family_lock(vm, F_SETLK, F_WRLCK, slot))
			break;
	}
	if (i == max)
		return -EAGAIN;
	if (family_lock(vm, F_SETLK, F_WRLCK, LOCK_ID + vm->id))
		return -errno;
	family_enrol(vm, &vm->family.shared->vms[slot]);
	return 0;
}

void family_touch_next(const struct vm *vm)
{
	struct family_shared *shared = vm->family.shared;

	(void)atomic_load(&shared->vms[shared->last_id % vm->config.max_vms].id);
}

bool family_is_alive(const struct vm *vm, uint64_t id)
{
	return id == vm->id || (id && id < INT64_MAX - LOCK_ID &&
				family_holder(vm, LOCK_ID + id));
}

/*
 * A pid may be used again between asking for it and the signal. Ids are not:
 * when the lock still has the same holder after the pidfd was opened, the
 * pidfd is of that VM.
 */
static int family_signal(const struct vm *vm, off_t byte, int signal)
{
	pid_t pid = family_holder(vm, byte);
	int fd, ret;

	if (!pid)
		return -ESRCH;
	fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	ret = family_holder(vm, byte) == pid ? 0 : -ESRCH;
	if (!ret && syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0))
		ret = -errno;
	close(fd);
	return ret;
}

int family_kill(const struct vm *vm, uint64_t id)
{
	int signal = SIGKILL;

	if (id == vm->id) {
		kill(getpid(), id == 1 ? SIGTERM : SIGKILL);
		return 0;
	}
	if (!id || id >= INT64_MAX - LOCK_ID)
		return -ESRCH;
	/* The first may have the terminal in raw mode: let it put that back. */
	if (id == 1)
		signal = SIGTERM;
	return family_signal(vm, LOCK_ID + id, signal);
}

void family_kill_others(const struct vm *vm, int signal)
{
	uint32_t i;

	for (i = 0; i < vm->config.max_vms; i++)
		family_signal(vm, i, signal);
}

void family_lock_output(const struct vm *vm)
{
	family_lock(vm, F_SETLKW, F_WRLCK, LOCK_OUTPUT);
}

bool family_try_lock_output(const struct vm *vm)
{
	return !family_lock(vm, F_SETLK, F_WRLCK, LOCK_OUTPUT);
}

void family_unlock_output(const struct vm *vm)
{
	family_lock(vm, F_SETLK, F_UNLCK, LOCK_OUTPUT);
}
