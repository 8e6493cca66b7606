// SPDX-License-Identifier: GPL-2.0-only
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "device.h"
#include "log.h"
#include "loop.h"
#include "qmp/qmp.h"
#include "vcpu.h"
#include "vm.h"
#include "worker.h"

static void loop_signals(sigset_t *set)
{
	struct sigaction hangup;

	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	/* Blocked, it would come although nohup has it ignored. */
	if (!sigaction(SIGHUP, NULL, &hangup) && hangup.sa_handler != SIG_IGN)
		sigaddset(set, SIGHUP);
}

void loop_mask_signals(int how)
{
	sigset_t set;

	loop_signals(&set);
	pthread_sigmask(how, &set, NULL);
}

void loop_create(struct vm *vm)
{
	sigset_t set;

	/* Inherited as ignored, children would be reaped behind our back. */
	signal(SIGCHLD, SIG_DFL);
	loop_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vm->loop.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	vm->loop.event_fd = event_create();
	if (vm->loop.signal_fd < 0 || vm->loop.event_fd < 0)
		die_errno("event loop");
}

void loop_forked(struct vm *vm)
{
	/* The parent's counter is shared; that of the signals is not. */
	close(vm->loop.event_fd);
	vm->loop.event_fd = event_create();
}

void loop_wake(struct vm *vm)
{
	event_signal(vm->loop.event_fd);
}

/* End as the signal would have ended a program that does not know of it. */
static void loop_die(struct vm *vm, int signo)
{
	sigset_t set;

	vm_log(vm, "ended by signal %d", signo);
	template_pass_on(vm, signo);
	vm_rest(vm);
	device_end_all(vm);
	console_flush(vm);
	tty_restore(vm);
	signal(signo, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, signo);
	kill(getpid(), signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void loop_take_signals(struct vm *vm)
{
	struct signalfd_siginfo info;

	while (read(vm->loop.signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD) {
			children_reap(vm);
			shells_reap(vm);
		} else {
			loop_die(vm, info.ssi_signo);
		}
	}
}

static void loop_poll(struct vm *vm)
{
	int timeout = vm->tty.raw ? CONSOLE_FLUSH_TTY_MS : CONSOLE_FLUSH_MS;
	unsigned int event, signals, input;
	bool waits = console_waits(vm);
	static struct poll_set set;
	short input_events = tty_events(vm);
	int n;

	set.used = 0;
	event = poll_set_add(&set, vm->loop.event_fd, POLLIN);
	signals = poll_set_add(&set, vm->loop.signal_fd, POLLIN);
	input = poll_set_add(&set, input_events ? STDIN_FILENO : -1, input_events);
	qmp_poll(vm, &set);
	if (shells_want(vm) && !poll(set.fds, set.used, SHELLS_QUIET_MS)) {
		shells_add(vm);
		return;
	}
	n = poll(set.fds, set.used, waits ? timeout : -1);
	if (waits && !n)
		console_flush_stale(vm);
	if (n <= 0)
		return;
	if (set.fds[event].revents)
		event_clear(vm->loop.event_fd);
	if (set.fds[signals].revents)
		loop_take_signals(vm);
	if (set.fds[input].revents)
		tty_read(vm);
	qmp_polled(vm, &set);
}

static void loop_serve(struct vm *vm, struct vcpu *caller)
{
	switch (caller->request) {
	case VCPU_WANTS_NOTHING:
		break;
	case VCPU_WANTS_FORK:
		vm_fork(vm, caller);
		break;
	case VCPU_WANTS_FREEZE:
		vm_freeze(vm, caller);
		break;
	case VCPU_WANTS_RESET:
		vm_reset(vm);
		break;
	}
}

static bool loop_has_ended(struct vm *vm)
{
	bool ended;

	pthread_mutex_lock(&vm->lock);
	ended = vm->ended;
	pthread_mutex_unlock(&vm->lock);
	return ended;
}

int loop_run(struct vm *vm)
{
	struct vcpu *caller;

	while (!loop_has_ended(vm) || reset_on_exit(vm)) {
		caller = vm->paused ? NULL : vcpu_find_request(vm);
		if (caller)
			loop_serve(vm, caller);
		else
			loop_poll(vm);
		template_watch(vm);
	}
	vm->status = template_status(vm, vm->status);
	vm_rest(vm);
	device_end_all(vm);
	console_flush(vm);
	tty_restore(vm);
	vm_log(vm, "ended with status %d", vm->status);
	return vm->status;
}
