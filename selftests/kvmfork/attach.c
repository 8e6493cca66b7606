// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_ATTACH and KVMFORK_TRAP: what may be attached to, and by whom. */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "fork.h"
#include "harness.h"

FIXTURE(attach) {
	struct vm vm;
};

FIXTURE_SETUP(attach)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
}

FIXTURE_TEARDOWN(attach)
{
	vm_close(&self->vm);
}

static void vm_detach(struct vm *vm)
{
	close(vm->attach_fd);
	vm->attach_fd = -1;
}

TEST_F(attach, bad_fd_numbers)
{
	static const int fds[] = { -1, -100, 0x7fffffff, -0x7fffffff - 1, 9999 };

	for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
		EXPECT_EQ(-EBADF, __vm_attach(fds[i], 0))
			TH_LOG("fd %d", fds[i]);
	}
}

static int open_path(void)
{
	return open("/tmp", O_PATH | O_CLOEXEC);
}

static int open_pipe(void)
{
	int fds[2];

	TEST_REQUIRE(!pipe(fds), "pipe: %m");
	close(fds[1]);
	return fds[0];
}

static int open_device(void)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_VFIO };
	struct vm vm;
	int ret;

	vm_create(&vm, VM_IRQCHIP_NONE);
	ret = xioctl(vm.vm_fd, KVM_CREATE_DEVICE, &device);
	close(vm.vm_fd);
	return ret < 0 ? ret : (int)device.fd;
}

static int open_stats(void)
{
	struct vm vm;
	int fd;

	vm_create(&vm, VM_IRQCHIP_NONE);
	fd = xioctl(vm.vm_fd, KVM_GET_STATS_FD, NULL);
	close(vm.vm_fd);
	return fd;
}

TEST_F(attach, fds_of_other_kinds)
{
	const struct {
		const char *what;
		int fd;
	} others[] = {
		{ "/dev/null", open("/dev/null", O_RDWR | O_CLOEXEC) },
		{ "/proc/self/status", open("/proc/self/status", O_RDONLY | O_CLOEXEC) },
		{ "directory", open("/", O_RDONLY | O_CLOEXEC) },
		{ "O_PATH", open_path() },
		{ "eventfd", eventfd(0, EFD_CLOEXEC) },
		{ "timerfd", timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC) },
		{ "epoll", epoll_create1(EPOLL_CLOEXEC) },
		{ "pipe", open_pipe() },
		{ "socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) },
		{ "memfd", memfd_create("test", MFD_CLOEXEC) },
		{ "/dev/kvm", dup(kvm_device()) },
		{ "vCPU", dup(self->vm.vcpus[0].fd) },
		{ "KVM device", open_device() },
		{ "KVM stats", open_stats() },
		{ "/dev/kvmfork", dup(kvmfork_device()) },
		{ "memory file", dup(self->vm.slots[0].memory_fd) },
		{ "attach file", dup(self->vm.attach_fd) },
		{ "template", vm_freeze(&self->vm) },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		/* What this kernel does not have. */
		if (others[i].fd < 0)
			continue;
		EXPECT_EQ(-EBADF, __vm_attach(others[i].fd, 0))
			TH_LOG("%s", others[i].what);
		close(others[i].fd);
	}
}

TEST_F(attach, unknown_flags)
{
	vm_detach(&self->vm);
	for (unsigned int bit = 0; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, __vm_attach(self->vm.vm_fd, 1U << bit))
			TH_LOG("flag bit %u", bit);
	}
}

TEST_F(attach, twice)
{
	EXPECT_EQ(-EEXIST, __vm_attach(self->vm.vm_fd, 0));
	vm_detach(&self->vm);
	self->vm.attach_fd = vm_attach(self->vm.vm_fd);
	EXPECT_EQ(-EEXIST, __vm_attach(self->vm.vm_fd, 0));
}

/* Another fd of the same VM is the same VM. */
TEST_F(attach, twice_by_a_duplicate)
{
	int fd = dup(self->vm.vm_fd);

	EXPECT_EQ(-EEXIST, __vm_attach(fd, 0));
	close(fd);
}

TEST_F(attach, again_and_again)
{
	for (unsigned long i = 0; i < test_scaled(1000); i++) {
		vm_detach(&self->vm);
		self->vm.attach_fd = vm_attach(self->vm.vm_fd);
	}
	EXPECT_EQ(0, __vm_trap(self->vm.attach_fd, 0));
}

TEST_F(attach, several_vms)
{
	struct vm others[4];

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
		vm_create_default(&others[i], VM_IRQCHIP_NONE, 1);
	for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
		vm_close(&others[i]);
}

/* A VM without vCPUs and slots is one. */
TEST_F(attach, empty_vm)
{
	struct vm vm, child;

	vm_create(&vm, VM_IRQCHIP_NONE);
	vm.attach_fd = vm_attach(vm.vm_fd);
	ASSERT_EQ(0, __vm_fork(&vm, &child));
	vm_close(&child);
	vm_close(&vm);
}

static int attach_in_child(void *arg)
{
	struct vm *vm = arg;

	return -__vm_attach(vm->vm_fd, 0);
}

TEST_F(attach, vm_of_another_address_space)
{
	vm_detach(&self->vm);
	EXPECT_TRUE(process_exited(process_run(attach_in_child, &self->vm), EXDEV));
}

/* Attached or not: the caller's address space is looked at first, or EEXIST. */
TEST_F(attach, attached_vm_of_another_address_space)
{
	int status = process_run(attach_in_child, &self->vm);

	EXPECT_TRUE(process_exited(status, EXDEV) || process_exited(status, EEXIST));
}

static int make_and_send_vm(void *arg)
{
	int sock = *(int *)arg;
	struct vm vm;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	vm_detach(&vm);
	fd_send(sock, vm.vm_fd);
	return 0;
}

/* The VM is there as long as its fd; the process that it belongs to is not. */
TEST_F(attach, vm_of_a_dead_process)
{
	int socks[2], vm_fd;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	EXPECT_TRUE(process_exited(process_run(make_and_send_vm, &socks[0]), 0));
	vm_fd = fd_receive(socks[1]);
	EXPECT_EQ(-EXDEV, __vm_attach(vm_fd, 0));
	close(vm_fd);
	close(socks[0]);
	close(socks[1]);
}

static int use_inherited_attach(void *arg)
{
	struct vm *vm = arg;
	struct fork_call call;
	int ret;

	fork_call_init(&call, vm);
	ret = fork_call_freeze(&call, vm->attach_fd);
	if (ret != -EXDEV)
		return 1;
	ret = fork_call_fork(&call, vm->attach_fd);
	return ret == -EXDEV ? 0 : 2;
}

TEST_F(attach, inherited_attach_file)
{
	EXPECT_TRUE(process_exited(process_run(use_inherited_attach, &self->vm), 0));
}

/* The attach file holds the VM, as KVM's own files do. */
TEST_F(attach, outlives_the_vm_fd)
{
	struct vm child;

	close(self->vm.vm_fd);
	self->vm.vm_fd = dup(kvm_device());
	ASSERT_EQ(0, __vm_fork(&self->vm, &child));
	vm_close(&child);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 5);
	EXPECT_EQ(6, vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC));
}

/* The VM outlives the attach file, and runs on without. */
TEST_F(attach, vm_after_detach)
{
	vm_detach(&self->vm);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 5);
	EXPECT_EQ(6, vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC));
}

TEST_F(attach, trap_bits)
{
	struct kvmfork_info info;
	int expected;

	ASSERT_EQ(0, xioctl(kvmfork_device(), KVMFORK_GET_INFO, &info));
	expected = info.features & KVMFORK_FEATURE_TRAP_UD ? 0 : -EOPNOTSUPP;
	EXPECT_EQ(0, __vm_trap(self->vm.attach_fd, 0));
	EXPECT_EQ(expected, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	EXPECT_EQ(expected, __vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD));
	EXPECT_EQ(0, __vm_trap(self->vm.attach_fd, 0));
	for (unsigned int bit = 1; bit < 64; bit++) {
		EXPECT_EQ(-EINVAL, __vm_trap(self->vm.attach_fd, 1ULL << bit))
			TH_LOG("event bit %u", bit);
		EXPECT_EQ(-EINVAL, __vm_trap(self->vm.attach_fd, 1ULL << bit | KVMFORK_TRAP_UD))
			TH_LOG("event bit %u", bit);
	}
}

TEST_HARNESS_MAIN
