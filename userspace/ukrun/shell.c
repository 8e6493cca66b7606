// SPDX-License-Identifier: GPL-2.0-only
/* The parent's side of shells. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "fork.h"
#include "log.h"
#include "option.h"
#include "passing.h"
#include "shell.h"
#include "vcpu.h"
#include "vm.h"

static void shells_option(struct vm *vm, const char *arg)
{
	vm->config.nr_shells = option_number("--shells", arg, 0, SHELLS_MAX);
}

DECLARE_OPTION(shells, {
	.name = "shells",
	.arg = "N",
	.help = "keep N processes waiting that a fork only has to fill (0)",
	.handle = shells_option,
});

void shells_check(struct vm *vm)
{
	if (vm->config.nr_shells && vm->config.fork_on == FORK_ON_OFF)
		die("--shells: the guest cannot fork with --fork-on=off: use ud2 or port");
	/* What these have in the host is copied by fork(), as of then. */
	if (vm->config.nr_shells && (vm->config.devices || vm->config.drives ||
				      vm->config.netdevs || vm->qmp))
		die("--shells: goes without -device, -drive, -netdev and -qmp, which a process made ahead cannot have");
}

int shell_order_iov(const struct vm *vm, struct shell_order *order, struct iovec *iov)
{
	int n = device_states(vm, iov + 1, SHELL_IOV_MAX - 1);

	iov[0] = (struct iovec){ order, sizeof(*order) };
	return n < 0 ? -1 : n + 1;
}

/*
 * Whoever has moved this process to another cgroup means its children, too: a
 * shell that was made before would run in, and be charged to, the old one.
 */
static bool shells_read_cgroup(struct vm *vm, char *cgroup)
{
	struct shells *shells = &vm->shells;
	ssize_t n;

	if (!shells->cgroup_fd)
		shells->cgroup_fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	n = pread(shells->cgroup_fd, cgroup, SHELLS_CGROUP_SIZE - 1, 0);
	cgroup[n < 0 ? 0 : n] = '\0';
	return n >= 0;
}

static void shells_count(struct vm *vm)
{
	vm->family.self->shells = vm->shells.nr;
}

static void shell_strike_off(struct vm *vm, struct shell *shell)
{
	close(shell->socket);
	shell->socket = -1;
	vm->shells.nr--;
}

static void shells_dismiss_all(struct vm *vm)
{
	struct shell *shell;

	for (shell = vm->shells.list; shell; shell = shell->next) {
		if (shell->socket < 0)
			continue;
		shell_strike_off(vm, shell);
		kill(shell->pid, SIGKILL);
	}
	shells_count(vm);
}

static void shells_stop_refill(struct vm *vm)
{
	if (vm->shells.refill)
		close(vm->shells.template);
	vm->shells.refill = false;
}

void shells_reap(struct vm *vm)
{
	struct shell **at, *shell;

	for (at = &vm->shells.list; (shell = *at);) {
		if (waitpid(shell->pid, NULL, WNOHANG) != shell->pid) {
			at = &shell->next;
			continue;
		}
		/* One that could not be made would not be the next time either. */
		if (shell->socket >= 0) {
			vm_log(vm, "shell %d died", shell->pid);
			shells_stop_refill(vm);
			shell_strike_off(vm, shell);
		}
		*at = shell->next;
		free(shell);
	}
	shells_count(vm);
}

void shells_end(struct vm *vm)
{
	shells_stop_refill(vm);
	shells_dismiss_all(vm);
}

void shells_forget(struct vm *vm)
{
	struct shells *shells = &vm->shells;
	struct shell *shell;

	while ((shell = shells->list)) {
		shells->list = shell->next;
		if (shell->socket >= 0)
			close(shell->socket);
		free(shell);
	}
	shells_stop_refill(vm);
	if (shells->cgroup_fd)
		close(shells->cgroup_fd);
	shells->cgroup_fd = 0;
	shells->nr = 0;
}

void shells_refill_from(struct vm *vm, int template)
{
	struct shells *shells = &vm->shells;

	shells_stop_refill(vm);
	if (shells->nr >= vm->config.nr_shells) {
		close(template);
		return;
	}
	shells->template = template;
	shells->refill = true;
}

void shells_from_start(struct vm *vm)
{
	struct fork_report report = {};
	struct fork_job job = {};

	if (!vm->config.nr_shells)
		return;
	if (fork_freeze(vm, &job, &report)) {
		fork_warn(vm, "--shells: freezing the VM", &report);
		_exit(STATUS_UKRUN_FAILED);
	}
	shells_refill_from(vm, job.template);
}

bool shells_want(const struct vm *vm)
{
	return vm->shells.refill;
}

/* The VM is stopped. 0 in the new process. */
static pid_t shell_fork(struct vm *vm, struct shell *shell)
{
	int template = vm->shells.template;
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -1;
	shell->socket = sockets[0];
	shell->pid = fork();
	if (!shell->pid) {
		close(sockets[0]);
		/* Or shells_forget() would close it. */
		vm->shells.refill = false;
		shell_process(vm, template, sockets[1]);
		return 0;
	}
	close(sockets[1]);
	if (shell->pid < 0)
		close(sockets[0]);
	return shell->pid;
}

static void shells_insert(struct vm *vm, struct shell *shell)
{
	struct shell **at;

	for (at = &vm->shells.list; *at; at = &(*at)->next)
		;
	*at = shell;
	vm->shells.nr++;
	shells_count(vm);
	vm_log(vm, "shell %d of %u", shell->pid, vm->config.nr_shells);
	if (vm->shells.nr == vm->config.nr_shells)
		shells_stop_refill(vm);
}

void shells_add(struct vm *vm)
{
	struct shell *shell = calloc(1, sizeof(*shell));
	pid_t pid = -1;

	/* The VM is stopped so that no lock is held in the new process. */
	if (!vm_stop(vm)) {
		shells_stop_refill(vm);
		free(shell);
		return;
	}
	if (shell && shells_read_cgroup(vm, vm->shells.cgroup))
		pid = shell_fork(vm, shell);
	if (!pid) {
		free(shell);
		return;
	}
	vm_resume(vm);
	if (pid > 0) {
		shells_insert(vm, shell);
		return;
	}
	vm_warn(vm, "--shells: none is made: %s", strerror(errno));
	shells_stop_refill(vm);
	free(shell);
}

/* A shell says when it has its VM. */
static struct shell *shells_find_ready(struct vm *vm)
{
	struct shell *shell;
	char byte;

	for (shell = vm->shells.list; shell; shell = shell->next)
		if (shell->socket >= 0 &&
		    recv(shell->socket, &byte, 1, MSG_DONTWAIT) == 1)
			return shell;
	return NULL;
}

static bool shell_send(struct vm *vm, const struct shell *shell, const struct fork_job *job)
{
	struct shell_order order = { .job = *job, .identity = vm->identity };
	struct iovec iov[SHELL_IOV_MAX];
	int n = shell_order_iov(vm, &order, iov);

	return n >= 0 && pass_send(shell->socket, iov, n, job->template, 0) >= 0;
}

/* It is the shells' no more. */
static pid_t shell_take(struct vm *vm, struct shell *shell)
{
	struct shell **at;
	pid_t pid = shell->pid;

	for (at = &vm->shells.list; *at != shell; at = &(*at)->next)
		;
	*at = shell->next;
	close(shell->socket);
	free(shell);
	vm->shells.nr--;
	shells_count(vm);
	return pid;
}

pid_t shells_fork(struct vm *vm, const struct fork_job *job)
{
	struct fork_report report = {};
	char cgroup[SHELLS_CGROUP_SIZE];
	struct shell *shell;

	if (!vm->shells.nr)
		return 0;
	if (!shells_read_cgroup(vm, cgroup) || strcmp(cgroup, vm->shells.cgroup)) {
		vm_log(vm, "shells: in another cgroup");
		shells_dismiss_all(vm);
		return 0;
	}
	shell = shells_find_ready(vm);
	if (!shell)
		return 0;
	if (shell_send(vm, shell, job)) {
		fork_hear(shell->socket, &report);
		if (!report.error) {
			vm->family.self->shell_forks++;
			vm_log(vm, "vm %llu by a shell", (unsigned long long)job->id);
			return shell_take(vm, shell);
		}
		if (vm->config.verbose)
			fork_warn(vm, "a shell is of no use", &report);
	}
	/* What one cannot become, the others cannot either. */
	shells_dismiss_all(vm);
	return 0;
}
