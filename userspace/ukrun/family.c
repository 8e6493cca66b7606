// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes of the memory file, held with POSIX record locks: number i, below --max-vms,
 * by the living VM whose record is family_shared.vms[i], so that F_GETLK tells its
 * pid. The kernel goes through all locks of a file for each new one; hence no more
 * than these, and what is locked for each line of output is another file.
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

static int family_lock(int fd, int command, int type, off_t byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int ret;

	do {
		ret = fcntl(fd, command, &lock);
	} while (ret && errno == EINTR);
	return ret;
}

/* Pid of the other process that has the slot, 0: none. */
static pid_t family_holder(const struct vm *vm, uint32_t slot)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1,
	};

	if (fcntl(vm->family.lock_fd, F_GETLK, &lock) || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

/*
 * The pid of VM @id, if it is another's and has the slot; 0: no. Who has just taken
 * one has not written its own record yet, so what is there is a dead VM's.
 */
static pid_t family_pid(const struct vm *vm, uint32_t slot, uint64_t id)
{
	const struct family_vm *record = &vm->family.shared->vms[slot];
	pid_t pid = record->id == id ? record->pid : 0;

	return pid && pid == family_holder(vm, slot) && record->id == id ? pid : 0;
}

/* The slot of VM @id, which lives and is another's; --max-vms: there is none. */
static uint32_t family_find(const struct vm *vm, uint64_t id)
{
	const struct family_shared *shared = vm->family.shared;
	uint32_t max = vm->config.max_vms;
	/* No more slots have been in use than there were ids. */
	uint64_t i, used = shared->last_id < max ? shared->last_id : max;
	uint32_t slot;

	if (!id || id > shared->last_id)
		return max;
	for (i = 0; i < used; i++) {
		/* Where it has begun to look for one. */
		slot = (id - 1 + i) % max;
		if (shared->vms[slot].id == id && family_pid(vm, slot, id))
			return slot;
	}
	return max;
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
	family->output_fd = memfd_create("ukrun output", MFD_CLOEXEC);
	if (family->output_fd < 0)
		die_errno("lock for the output of several VMs");
	vm->id = family_new_id(vm);
	if (family_join(vm))
		die_errno("lock of VM 1");
}

bool family_has_room(const struct vm *vm)
{
	const struct family_shared *shared = vm->family.shared;
	uint32_t max = vm->config.max_vms;
	uint32_t i, slot;

	for (i = 0; i < max; i++) {
		/* Newer ids lie higher: start where nobody is likely to be. */
		slot = (shared->last_id + i) % max;
		/* No query tells of the caller's own. */
		if (!shared->vms[slot].id ||
		    (&shared->vms[slot] != vm->family.self && !family_holder(vm, slot)))
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
	self->pid = getpid();
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
		if (!family_lock(vm->family.lock_fd, F_SETLK, F_WRLCK, slot))
			break;
	}
	if (i == max)
		return -EAGAIN;
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
	return id == vm->id || family_find(vm, id) < vm->config.max_vms;
}

const struct family_vm *family_at(const struct vm *vm, uint32_t slot)
{
	const struct family_vm *record = &vm->family.shared->vms[slot];

	return record == vm->family.self || family_pid(vm, slot, record->id) ? record : NULL;
}

/* @id 0: whoever has the slot. */
static pid_t family_target(const struct vm *vm, uint32_t slot, uint64_t id)
{
	return id ? family_pid(vm, slot, id) : family_holder(vm, slot);
}

/*
 * A pid may be used again between asking for it and the signal. When the slot is
 * still that process's after the pidfd was opened, the pidfd is of a VM.
 */
static int family_signal(const struct vm *vm, uint32_t slot, uint64_t id, int signal)
{
	pid_t pid = family_target(vm, slot, id);
	int fd, ret;

	if (!pid)
		return -ESRCH;
	fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	ret = family_target(vm, slot, id) == pid ? 0 : -ESRCH;
	if (!ret && syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0))
		ret = -errno;
	close(fd);
	return ret;
}

int family_kill(const struct vm *vm, uint64_t id)
{
	uint32_t slot;

	if (id == vm->id) {
		kill(getpid(), id == 1 ? SIGTERM : SIGKILL);
		return 0;
	}
	slot = family_find(vm, id);
	if (slot == vm->config.max_vms)
		return -ESRCH;
	/* The first may have the terminal in raw mode: let it put that back. */
	return family_signal(vm, slot, id, id == 1 ? SIGTERM : SIGKILL);
}

void family_kill_others(const struct vm *vm, int signal)
{
	uint32_t i;

	for (i = 0; i < vm->config.max_vms; i++)
		family_signal(vm, i, 0, signal);
}

void family_lock_output(const struct vm *vm)
{
	family_lock(vm->family.output_fd, F_SETLKW, F_WRLCK, 0);
}

bool family_try_lock_output(const struct vm *vm)
{
	return !family_lock(vm->family.output_fd, F_SETLK, F_WRLCK, 0);
}

void family_unlock_output(const struct vm *vm)
{
	family_lock(vm->family.output_fd, F_SETLK, F_UNLCK, 0);
}
