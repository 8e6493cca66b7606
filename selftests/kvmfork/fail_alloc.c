// SPDX-License-Identifier: GPL-2.0-only
/* Failing allocations: what is done with VMs. See lib/fail_try.h. */
#include <fcntl.h>
#include <sys/uio.h>

#include "fail_try.h"
#include "save.h"

#define MANY	3

/* Each test is a process of its own. */
static struct vm other;
static struct fork_call calls[MANY];
static struct kvmfork_spawn spawns[MANY];
static int32_t results[MANY];
static uint64_t many_flags;
static struct blob blob;
static struct load_call load;

FIXTURE(fail_alloc) {
	struct fail_vm base;
};

FIXTURE_SETUP(fail_alloc)
{
	fail_vm_create(&self->base);
}

FIXTURE_TEARDOWN(fail_alloc)
{
	fail_vm_close(&self->base);
}

static int call_attach(struct fail_vm *self)
{
	self->fd = __vm_attach(other.vm_fd, 0);
	return self->fd;
}

TEST_F(fail_alloc, attach)
{
	static const struct fail_try op = { .call = call_attach, .finish = fail_close_fd };

	vm_create(&other, VM_IRQCHIP_NONE);
	fail_try(_metadata, &self->base, &op);
	vm_close(&other);
}

/* With nothing there of what the attached VMs of a process share. */
TEST_F(fail_alloc, attach_first)
{
	static const struct fail_try op = { .call = call_attach, .finish = fail_close_fd };

	close(self->base.vm.attach_fd);
	other.vm_fd = self->base.vm.vm_fd;
	fail_try(_metadata, &self->base, &op);
	self->base.vm.attach_fd = vm_attach(self->base.vm.vm_fd);
}

static void trap_off(struct fail_vm *self)
{
	__vm_trap(self->vm.attach_fd, 0);
}

static int call_trap(struct fail_vm *self)
{
	return __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD);
}

TEST_F(fail_alloc, trap)
{
	static const struct fail_try op = { .prepare = trap_off, .call = call_trap };

	if (call_trap(&self->base) == -EOPNOTSUPP)
		SKIP(return, "no trap");
	fail_try(_metadata, &self->base, &op);
}

static int call_freeze(struct fail_vm *self)
{
	fork_call_init(&calls[0], &self->vm);
	self->fd = fork_call_freeze(&calls[0], self->vm.attach_fd);
	return self->fd;
}

TEST_F(fail_alloc, freeze)
{
	static const struct fail_try op = {
		.prepare = fail_write_all, .call = call_freeze, .finish = fail_close_fd,
	};

	fail_try(_metadata, &self->base, &op);
}

/* In the pipe are pages of the memory itself, which the freeze has to copy. */
TEST_F(fail_alloc, freeze_of_held_pages)
{
	static const struct fail_try op = {
		.prepare = fail_write_all, .call = call_freeze, .finish = fail_close_fd,
	};
	struct iovec iov = { self->base.ram, 4 * PAGE_SIZE };
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ((ssize_t)iov.iov_len, vmsplice(fds[1], &iov, 1, 0));
	fail_try(_metadata, &self->base, &op);
	close(fds[0]);
	close(fds[1]);
}

static int call_fork(struct fail_vm *self)
{
	fork_call_init(&calls[0], &self->vm);
	return fork_call_fork(&calls[0], self->vm.attach_fd);
}

static void close_child(struct fail_vm *self, struct __test_metadata *_metadata)
{
	struct vm child;

	fork_call_child(&calls[0], &self->vm, &child);
	EXPECT_TRUE(fail_child_runs(self, &child));
	vm_close(&child);
}

TEST_F(fail_alloc, fork)
{
	static const struct fail_try op = {
		.prepare = fail_write_all, .call = call_fork, .finish = close_child,
	};

	fail_try(_metadata, &self->base, &op);
}

static int call_spawn(struct fail_vm *self)
{
	spawn_call_init(&calls[0]);
	return fork_call_spawn(&calls[0], self->template);
}

TEST_F(fail_alloc, spawn)
{
	static const struct fail_try op = {
		.prepare = fail_hold_pages, .call = call_spawn, .finish = close_child,
	};

	fail_try(_metadata, &self->base, &op);
}

static int call_spawn_many(struct fail_vm *self)
{
	struct kvmfork_spawn_many args = {
		.flags = many_flags,
		.spawns = (unsigned long)spawns,
		.results = (unsigned long)results,
		.count = MANY,
	};

	for (unsigned int i = 0; i < MANY; i++) {
		spawn_call_init(&calls[i]);
		spawns[i] = calls[i].args.spawn;
	}
	return xioctl(self->template, KVMFORK_SPAWN_MANY, &args);
}

/* Those that could be made are there and work; all but one at least. */
static void close_children(struct fail_vm *self, struct __test_metadata *_metadata)
{
	unsigned int spawned = 0;
	struct vm child;

	for (unsigned int i = 0; i < MANY; i++) {
		if (results[i]) {
			EXPECT_EQ(-ENOMEM, results[i]);
			continue;
		}
		calls[i].args.spawn = spawns[i];
		fork_call_child(&calls[i], &self->vm, &child);
		EXPECT_TRUE(fail_child_runs(self, &child));
		vm_close(&child);
		spawned++;
	}
	EXPECT_LE(MANY - 1, spawned);
}

TEST_F(fail_alloc, spawn_many)
{
	static const struct fail_try op = {
		.prepare = fail_hold_pages, .call = call_spawn_many, .finish = close_children,
	};

	fail_try(_metadata, &self->base, &op);
}

TEST_F(fail_alloc, spawn_many_or_none)
{
	static const struct fail_try op = {
		.prepare = fail_hold_pages, .call = call_spawn_many, .finish = close_children,
	};

	many_flags = KVMFORK_SPAWN_MANY_ALL;
	fail_try(_metadata, &self->base, &op);
}

/* One that is not what its template is, in memory and state. */
static void prepare_reset(struct fail_vm *self)
{
	fail_hold_pages(self);
	fail_vm_runs(self);
	fail_write_all(self);
}

static int call_reset(struct fail_vm *self)
{
	struct reset_call call;

	reset_call_init(&call, &self->vm, self->template);
	return reset_call_run(&call, self->vm.attach_fd);
}

static void see_reset(struct fail_vm *self, struct __test_metadata *_metadata)
{
	(void)_metadata;
	self->count--;
}

/* A VM that was left half-way can be reset once more. */
static void reset_again(struct fail_vm *self, struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, call_reset(self));
	self->count--;
}

TEST_F(fail_alloc, reset)
{
	static const struct fail_try op = {
		.prepare = prepare_reset, .call = call_reset, .finish = see_reset,
		.repair = reset_again,
	};

	fail_try(_metadata, &self->base, &op);
}

/* A template of state and memory files. */
static int call_load(struct fail_vm *self)
{
	self->fd = load_call_run(&load);
	return self->fd;
}

static void end_load(void)
{
	load_call_close(&load);
	free(blob.bytes);
}

TEST_F(fail_alloc, load)
{
	static const struct fail_try op = {
		.call = call_load, .finish = fail_close_fd, .end = end_load,
	};

	fail_hold_pages(&self->base);
	template_export(self->base.template, &blob);
	load_call_init(&load, &blob, self->base.template);
	fail_try(_metadata, &self->base, &op);
}

TEST_HARNESS_MAIN
