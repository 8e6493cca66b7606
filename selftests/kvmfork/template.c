// SPDX-License-Identifier: GPL-2.0-only
/* Templates: immutable, independent of their parent, good in any process. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "fork.h"
#include "harness.h"

FIXTURE(template) {
	struct vm vm;
};

FIXTURE_SETUP(template)
{
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
	TEST_REQUIRE(vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC) == 1, "the guest is wrong");
}

FIXTURE_TEARDOWN(template)
{
	vm_close(&self->vm);
}

static uint32_t next(struct vm *vm)
{
	uint32_t value = vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);

	TEST_REQUIRE(*(uint64_t *)vm_hva(vm, GUEST_DATA) == value, "memory and registers differ");
	return value;
}

TEST_F(template, is_immutable)
{
	struct vm children[4];
	int fd = vm_freeze(&self->vm);

	for (size_t i = 0; i < ARRAY_LENGTH(children); i++) {
		EXPECT_EQ(2 + i, next(&self->vm));
		vm_spawn(fd, &self->vm, &children[i]);
		EXPECT_EQ(2, next(&children[i]));
		EXPECT_EQ(3, next(&children[i]));
	}
	for (size_t i = 0; i < ARRAY_LENGTH(children); i++) {
		EXPECT_EQ(4, next(&children[i]));
		vm_close(&children[i]);
	}
	close(fd);
}

TEST_F(template, several_of_one_vm)
{
	int fds[4];
	struct vm child;

	for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
		fds[i] = vm_freeze(&self->vm);
		EXPECT_EQ(2 + i, next(&self->vm));
	}
	for (size_t i = ARRAY_LENGTH(fds); i-- > 0;) {
		vm_spawn(fds[i], &self->vm, &child);
		EXPECT_EQ(2 + i, next(&child));
		vm_close(&child);
		close(fds[i]);
	}
}

TEST_F(template, outlives_the_vm)
{
	struct vm shape = self->vm, child;
	int fd = vm_freeze(&self->vm);

	vm_close(&self->vm);
	for (int i = 0; i < 3; i++) {
		vm_spawn(fd, &shape, &child);
		EXPECT_EQ(2, next(&child));
		EXPECT_EQ(3, next(&child));
		vm_close(&child);
	}
	close(fd);
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
}

TEST_F(template, children_outlive_it)
{
	int fd = vm_freeze(&self->vm);
	struct vm child, grandchild;

	vm_spawn(fd, &self->vm, &child);
	close(fd);
	EXPECT_EQ(2, next(&child));
	vm_fork(&child, &grandchild);
	vm_close(&child);
	EXPECT_EQ(3, next(&grandchild));
	vm_close(&grandchild);
}

TEST_F(template, of_a_child)
{
	struct vm child, grandchild;
	int fds[2];

	vm_fork(&self->vm, &child);
	fds[0] = vm_freeze(&child);
	EXPECT_EQ(2, next(&child));
	fds[1] = vm_freeze(&child);
	EXPECT_EQ(3, next(&child));
	for (int i = 0; i < 2; i++) {
		vm_spawn(fds[i], &child, &grandchild);
		EXPECT_EQ(2 + i, next(&grandchild));
		vm_close(&grandchild);
		close(fds[i]);
	}
	vm_close(&child);
}

/* Nothing of the template is given away by what a child does. */
TEST_F(template, is_not_changed_by_children)
{
	struct vm children[2];
	int fd = vm_freeze(&self->vm);

	vm_spawn(fd, &self->vm, &children[0]);
	memset(vm_hva(&children[0], GUEST_DATA), 0xff, PAGE_SIZE);
	memset(vm_hva(&children[0], GUEST_DATA + PAGE_SIZE), 0xff, PAGE_SIZE);
	vm_spawn(fd, &self->vm, &children[1]);
	EXPECT_EQ(1, *(uint64_t *)vm_hva(&children[1], GUEST_DATA));
	EXPECT_EQ(0, *(uint64_t *)vm_hva(&children[1], GUEST_DATA + PAGE_SIZE));
	EXPECT_EQ(1, *(uint64_t *)vm_hva(&self->vm, GUEST_DATA));
	vm_close(&children[1]);
	vm_close(&children[0]);
	close(fd);
}

struct far_spawn {
	int sock;
	struct vm shape;
};

static int make_and_send_template(void *arg)
{
	struct far_spawn *far = arg;
	int fd;

	vm_create_default(&far->shape, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&far->shape.vcpus[0], 0, guest_count, 6);
	next(&far->shape);
	fd = vm_freeze(&far->shape);
	fd_send(far->sock, fd);
	TEST_REQUIRE(write(far->sock, &far->shape, sizeof(far->shape)) == sizeof(far->shape),
		     "write: %m");
	return 0;
}

/* Made by one process, which is dead, VM and all; spawned in another one. */
TEST_F(template, over_a_socket)
{
	struct far_spawn far;
	struct vm child;
	int socks[2], fd;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	far.sock = socks[0];
	ASSERT_TRUE(process_exited(process_run(make_and_send_template, &far), 0));
	fd = fd_receive(socks[1]);
	ASSERT_EQ((ssize_t)sizeof(far.shape), read(socks[1], &far.shape, sizeof(far.shape)));
	for (int i = 0; i < 2; i++) {
		vm_spawn(fd, &far.shape, &child);
		EXPECT_EQ(8, next(&child));
		vm_close(&child);
	}
	close(fd);
}

/* In flight only, never received: it must go with the socket. */
TEST_F(template, lost_in_a_socket)
{
	int socks[2], fd = vm_freeze(&self->vm);

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	fd_send(socks[0], fd);
	close(fd);
	close(socks[0]);
	close(socks[1]);
	EXPECT_EQ(2, next(&self->vm));
}

struct process_spawn {
	int template;
	struct vm *shape;
};

static int spawn_and_run(void *arg)
{
	struct process_spawn *process = arg;
	struct vm child, grandchild;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	vm_spawn(process->template, process->shape, &child);
	for (uint32_t i = 2; i < 10; i++)
		if (next(&child) != i)
			return 1;
	vm_fork(&child, &grandchild);
	if (next(&grandchild) != 10 || next(&child) != 10)
		return 2;
	return 0;
}

TEST_F(template, in_many_processes_at_once)
{
	struct process_spawn process = { vm_freeze(&self->vm), &self->vm };
	pid_t pids[6];

	for (size_t i = 0; i < ARRAY_LENGTH(pids); i++)
		pids[i] = process_start(spawn_and_run, &process);
	EXPECT_EQ(2, next(&self->vm));
	for (size_t i = 0; i < ARRAY_LENGTH(pids); i++) {
		EXPECT_TRUE(process_exited(process_wait(pids[i]), 0))
			TH_LOG("process %zu", i);
	}
	EXPECT_EQ(3, next(&self->vm));
	close(process.template);
}

/* A generation in each process; each ends before its child spawns. */
static int spawn_chain(void *arg)
{
	struct process_spawn *process = arg;
	static unsigned int depth;
	struct vm child;
	struct process_spawn below = { -1, &child };

	if (++depth > 8)
		return 0;
	vm_spawn(process->template, process->shape, &child);
	if (next(&child) != depth + 1)
		return 1;
	below.template = vm_freeze(&child);
	return WEXITSTATUS(process_run(spawn_chain, &below));
}

TEST_F(template, chain_of_processes)
{
	struct process_spawn process = { vm_freeze(&self->vm), &self->vm };

	EXPECT_TRUE(process_exited(process_run(spawn_chain, &process), 0));
	close(process.template);
}

TEST_HARNESS_MAIN
