// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cloning by kvmfork: FORK of a VM that goes on ("live"), SPAWN from a template,
 * and RESET of a shell to a template of now or of before.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/kvmfork.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fork.h"
#include "method.h"

static void method_nothing(struct method_state *state)
{
	(void)state;
}

static void clone_close(struct method_state *state, struct vm *clone)
{
	(void)state;
	vm_close(clone);
}

static void fork_clone(struct method_state *state, struct vm *clone)
{
	vm_fork(state->parent, clone);
}

const struct method method_fork = {
	.name = "fork",
	.features = KVMFORK_FEATURE_FORK,
	.setup = method_nothing,
	.clone = fork_clone,
	.release = clone_close,
	.teardown = method_nothing,
};

static void template_setup(struct method_state *state)
{
	state->template_fd = vm_freeze(state->parent);
}

static void template_teardown(struct method_state *state)
{
	close(state->template_fd);
}

static void spawn_clone(struct method_state *state, struct vm *clone)
{
	vm_spawn(state->template_fd, state->parent, clone);
}

const struct method method_spawn = {
	.name = "spawn",
	.features = KVMFORK_FEATURE_TEMPLATE,
	.setup = template_setup,
	.clone = spawn_clone,
	.release = clone_close,
	.teardown = template_teardown,
};

/*
 * KVM makes what it needs to run a vCPU at all when that is to run for the first
 * time. With a signal pending it does so, and does not enter the guest.
 */
static void shell_warm_up(struct vm *shell)
{
	struct {
		struct kvm_signal_mask mask;
		uint64_t set;
	} __attribute__((packed)) none = { .mask.len = sizeof(none.set) };
	sigset_t signals;
	int got;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	raise(SIGUSR1);
	for (unsigned int i = 0; i < shell->nr_vcpus; i++) {
		int fd = shell->vcpus[i].fd;

		TEST_REQUIRE(!ioctl(fd, KVM_SET_SIGNAL_MASK, &none), "KVM_SET_SIGNAL_MASK: %m");
		TEST_REQUIRE(ioctl(fd, KVM_RUN, 0) == -1 && errno == EINTR, "KVM_RUN: %m");
		TEST_REQUIRE(!ioctl(fd, KVM_SET_SIGNAL_MASK, NULL), "KVM_SET_SIGNAL_MASK: %m");
	}
	sigwait(&signals, &got);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
}

/* Of a template of the same shape, which is not the one it will be reset to. */
static void shell_create(struct method_state *state)
{
	vm_spawn(state->shape_fd, state->parent, &state->shell);
	shell_warm_up(&state->shell);
}

static void shell_setup(struct method_state *state)
{
	state->shape_fd = vm_freeze(state->parent);
	state->template_fd = vm_freeze(state->parent);
	shell_create(state);
}

static void shell_teardown(struct method_state *state)
{
	vm_close(&state->shell);
	if (state->template_fd >= 0)
		close(state->template_fd);
	close(state->shape_fd);
}

static void shell_setup_live(struct method_state *state)
{
	shell_setup(state);
	close(state->template_fd);
	state->template_fd = -1;
}

static void shell_clone(struct method_state *state, struct vm *clone)
{
	vm_reset(&state->shell, state->template_fd);
	*clone = state->shell;
}

static void shell_clone_live(struct method_state *state, struct vm *clone)
{
	state->template_fd = vm_freeze(state->parent);
	shell_clone(state, clone);
}

static void shell_recycle(struct method_state *state, struct vm *clone)
{
	(void)state;
	(void)clone;
}

static void shell_recycle_live(struct method_state *state, struct vm *clone)
{
	(void)clone;
	close(state->template_fd);
	state->template_fd = -1;
}

static void shell_replace(struct method_state *state, struct vm *clone)
{
	vm_close(clone);
	shell_create(state);
}

static void shell_replace_live(struct method_state *state, struct vm *clone)
{
	shell_recycle_live(state, clone);
	shell_replace(state, clone);
}

#define SHELL_FEATURES	(KVMFORK_FEATURE_TEMPLATE | KVMFORK_FEATURE_RESET)

const struct method method_shell_new_live = {
	.name = "shell, new, live parent",
	.features = SHELL_FEATURES,
	.setup = shell_setup_live,
	.clone = shell_clone_live,
	.release = shell_replace_live,
	.teardown = shell_teardown,
};

const struct method method_shell_live = {
	.name = "shell, recycled, live parent",
	.features = SHELL_FEATURES,
	.setup = shell_setup_live,
	.clone = shell_clone_live,
	.release = shell_recycle_live,
	.teardown = shell_teardown,
};

const struct method method_shell_new = {
	.name = "shell, new",
	.features = SHELL_FEATURES,
	.setup = shell_setup,
	.clone = shell_clone,
	.release = shell_replace,
	.teardown = shell_teardown,
};

const struct method method_shell = {
	.name = "shell, recycled",
	.features = SHELL_FEATURES,
	.setup = shell_setup,
	.clone = shell_clone,
	.release = shell_recycle,
	.teardown = shell_teardown,
};
