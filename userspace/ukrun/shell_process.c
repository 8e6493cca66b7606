// SPDX-License-Identifier: GPL-2.0-only
/* The life of a shell: it makes its VM, waits, and becomes a child. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "device.h"
#include "log.h"
#include "newborn.h"
#include "passing.h"
#include "shell.h"
#include "vcpu.h"
#include "vm.h"

#define PAGE	4096UL

/* A kernel that cannot do so will when it has to. */
static void shell_populate(const char *start, const char *end, int how)
{
	uintptr_t first = (uintptr_t)start & -PAGE;

	madvise((void *)first, (uintptr_t)end - first, how);
}

/*
 * Pages of this program: its code, which fork() does not map, and its data, of which
 * there is one copy with the parent until one of the two writes. Now rather than when
 * a guest waits for it.
 */
static void shell_take_pages(struct vm *vm)
{
	extern char __executable_start[], etext[], __data_start[], _end[];

	shell_populate(__executable_start, etext, MADV_POPULATE_READ);
	shell_populate(__data_start, _end, MADV_POPULATE_WRITE);
	family_touch_next(vm);
}

/* A VM whose vCPUs have threads, which wait where those of a stopped VM do. */
static int shell_make_vm(struct vm *vm, int template)
{
	struct fork_report report = {};
	int ret;

	ret = newborn_spawn(vm, template, &report);
	if (ret) {
		report.error = -ret;
		fork_warn(vm, "--shells: making a VM", &report);
		return ret;
	}
	close(template);
	vm_stop_new(vm);
	shell_take_pages(vm);
	return 0;
}

/* Waits for the order. @job->template is this process's own afterwards. */
static bool shell_hear(struct vm *vm, int socket, struct fork_job *job)
{
	struct shell_order order;
	struct iovec iov[SHELL_IOV_MAX];
	size_t size = 0;
	int i, fd, n = shell_order_iov(vm, &order, iov);

	for (i = 0; i < n; i++)
		size += iov[i].iov_len;
	/* When the parent is gone, nothing comes. */
	if (n < 0 || pass_receive(socket, iov, n, &fd) != (ssize_t)size || fd < 0)
		return false;
	*job = order.job;
	job->template = fd;
	vm->identity = order.identity;
	return true;
}

static int shell_become(struct vm *vm, const struct fork_job *job, struct fork_report *report)
{
	int ret;

	ret = reset_to(vm, job->template, KVMFORK_RESET_MEMORY | KVMFORK_RESET_STATE, report);
	/* Not before: when that fails, another process becomes the VM of this name. */
	ret = ret ?: newborn_name(vm, job);
	if (ret)
		return ret;
	/* The states have come with the order. */
	if (job->warm)
		device_save_all(vm);
	return newborn_finish(vm, job);
}

void shell_process(struct vm *vm, int template, int socket)
{
	struct fork_report report = {};
	struct fork_job job;

	newborn_forget(vm);
	prctl(PR_SET_NAME, "ukrun:shell");
	if (shell_make_vm(vm, template))
		_exit(STATUS_UKRUN_FAILED);
	/* Nobody's VM yet: signals end it at once, and its parent notices. */
	loop_mask_signals(SIG_UNBLOCK);
	if (send(socket, "", 1, MSG_NOSIGNAL) != 1 || !shell_hear(vm, socket, &job))
		_exit(0);
	loop_mask_signals(SIG_BLOCK);
	report.error = -shell_become(vm, &job, &report);
	if (!report.error)
		vm_resume(vm);
	if (send(socket, &report, sizeof(report), MSG_NOSIGNAL) != sizeof(report) || report.error)
		_exit(STATUS_UKRUN_FAILED);
	close(socket);
}
