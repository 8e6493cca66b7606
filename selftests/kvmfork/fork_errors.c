// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_FREEZE and KVMFORK_FORK: every way to be refused. */
#include <fcntl.h>
#include <sys/eventfd.h>

#include "fork.h"
#include "harness.h"
#include "spin.h"

FIXTURE(fork_errors) {
	struct vm vm;
	struct fork_call call;
};

FIXTURE_SETUP(fork_errors)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 2);
	fork_call_init(&self->call, &self->vm);
}

FIXTURE_TEARDOWN(fork_errors)
{
	vm_close(&self->vm);
}

/* What both calls answer; when they differ, or leave something, it is -EPROTO. */
static int both_calls(FIXTURE_DATA(fork_errors) *self)
{
	struct proc_state before, after;
	int freeze, fork;

	proc_state_get(&before);
	freeze = fork_call_freeze(&self->call, self->vm.attach_fd);
	fork = fork_call_fork(&self->call, self->vm.attach_fd);
	proc_state_get(&after);
	if (freeze >= 0)
		return freeze;
	if (freeze != fork) {
		fprintf(stderr, "# freeze says %s, fork %s\n", strerror(-freeze),
			fork < 0 ? strerror(-fork) : "success");
		return -EPROTO;
	}
	if (!proc_state_equal(&before, &after)) {
		fprintf(stderr, "# fds or mappings were left behind\n");
		return -EPROTO;
	}
	return freeze;
}

TEST_F(fork_errors, none)
{
	struct vm child;
	int fd;

	fd = fork_call_freeze(&self->call, self->vm.attach_fd);
	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, fork_call_fork(&self->call, self->vm.attach_fd));
	fork_call_child(&self->call, &self->vm, &child);
	vm_close(&child);
}

TEST_F(fork_errors, freeze_flags)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (1ULL << bit == KVMFORK_FREEZE_CONVERT)
			continue;
		self->call.args.freeze.flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, both_calls(self))
			TH_LOG("flag bit %u", bit);
	}
}

TEST_F(fork_errors, spawn_flags)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (1ULL << bit == KVMFORK_SPAWN_FIXED)
			continue;
		self->call.args.spawn.flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, fork_call_fork(&self->call, self->vm.attach_fd))
			TH_LOG("flag bit %u", bit);
	}
}

/* Messages go to the freeze part. */
TEST_F(fork_errors, spawn_message)
{
	self->call.args.spawn.message = (unsigned long)self->call.message;
	EXPECT_EQ(-EINVAL, fork_call_fork(&self->call, self->vm.attach_fd));
	self->call.args.spawn.message = 0;
	self->call.args.spawn.message_size = sizeof(self->call.message);
	EXPECT_EQ(-EINVAL, fork_call_fork(&self->call, self->vm.attach_fd));
}

TEST_F(fork_errors, missing_vcpus)
{
	self->call.args.freeze.nr_vcpus = 1;
	EXPECT_EQ(-ENXIO, both_calls(self));
	self->call.vcpu_fds[0] = self->vm.vcpus[1].fd;
	EXPECT_EQ(-ENXIO, both_calls(self));
	self->call.args.freeze.nr_vcpus = 0;
	EXPECT_EQ(-ENXIO, both_calls(self));
}

TEST_F(fork_errors, duplicate_vcpus)
{
	self->call.vcpu_fds[1] = self->vm.vcpus[0].fd;
	EXPECT_EQ(-ENXIO, both_calls(self));
	/* Another fd of the same one. */
	self->call.vcpu_fds[1] = dup(self->vm.vcpus[0].fd);
	EXPECT_EQ(-ENXIO, both_calls(self));
	close(self->call.vcpu_fds[1]);
}

TEST_F(fork_errors, too_many_vcpus)
{
	self->call.args.freeze.nr_vcpus = 3;
	self->call.vcpu_fds[2] = self->vm.vcpus[0].fd;
	EXPECT_EQ(-ENXIO, both_calls(self));
}

/* A count must not decide how much memory is allocated. */
TEST_F(fork_errors, absurd_vcpu_counts)
{
	static const uint32_t counts[] = { 1 << 16, 1 << 30, 0x80000000, 0xffffffff };

	for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
		int ret;

		self->call.args.freeze.nr_vcpus = counts[i];
		ret = both_calls(self);
		EXPECT_TRUE(ret == -ENXIO || ret == -EINVAL || ret == -EFAULT)
			TH_LOG("%u vCPUs: %d", counts[i], ret);
	}
}

TEST_F(fork_errors, vcpu_added_later)
{
	vcpu_add(&self->vm, 2);
	EXPECT_EQ(-ENXIO, both_calls(self));
}

TEST_F(fork_errors, fds_that_are_no_vcpus)
{
	const struct {
		const char *what;
		int fd;
	} others[] = {
		{ "none", -1 },
		{ "closed", 9999 },
		{ "/dev/null", open("/dev/null", O_RDWR | O_CLOEXEC) },
		{ "eventfd", eventfd(0, EFD_CLOEXEC) },
		{ "/dev/kvm", kvm_device() },
		{ "VM", self->vm.vm_fd },
		{ "/dev/kvmfork", kvmfork_device() },
		{ "attach file", self->vm.attach_fd },
		{ "memory file", self->vm.slots[0].memory_fd },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		self->call.vcpu_fds[1] = others[i].fd;
		EXPECT_EQ(-EBADF, both_calls(self))
			TH_LOG("%s", others[i].what);
	}
}

TEST_F(fork_errors, vcpu_of_another_vm)
{
	struct vm other;

	vm_create_default(&other, VM_IRQCHIP_NONE, 2);
	self->call.vcpu_fds[1] = other.vcpus[1].fd;
	EXPECT_EQ(-EBADF, both_calls(self));
	vm_close(&other);
}

TEST_F(fork_errors, bad_vcpu_pointer)
{
	static const uint64_t pointers[] = { 0, 8, 0x8000000000000000ULL, -4ULL };

	for (size_t i = 0; i < ARRAY_LENGTH(pointers); i++) {
		self->call.args.freeze.vcpu_fds = pointers[i];
		EXPECT_EQ(-EFAULT, both_calls(self))
			TH_LOG("vcpu_fds 0x%llx", (unsigned long long)pointers[i]);
	}
}

/* The wrong fd comes first or last, the right ones around it. */
TEST_F(fork_errors, order_of_vcpus_does_not_matter)
{
	struct vm child;

	self->call.vcpu_fds[0] = self->vm.vcpus[1].fd;
	self->call.vcpu_fds[1] = self->vm.vcpus[0].fd;
	ASSERT_EQ(0, fork_call_fork(&self->call, self->vm.attach_fd));
	/* The result is in the order of creation all the same. */
	fork_call_child(&self->call, &self->vm, &child);
	vm_close(&child);
}

TEST_F(fork_errors, message_buffer)
{
	const char *message = self->call.message;

	memset(self->call.message, 'x', sizeof(self->call.message));
	self->call.args.freeze.nr_vcpus = 1;
	EXPECT_EQ(-ENXIO, both_calls(self));
	EXPECT_NE(NULL, memchr(message, 0, FORK_MESSAGE_SIZE));
	EXPECT_NE(0, message[0]);
	EXPECT_EQ(NULL, strchr(message, '\n'));

	/* Cut short, still terminated, nothing written behind. */
	memset(self->call.message, 'x', sizeof(self->call.message));
	self->call.args.freeze.message_size = 4;
	EXPECT_EQ(-ENXIO, both_calls(self));
	EXPECT_NE(NULL, memchr(message, 0, 4));
	EXPECT_EQ('x', message[4]);

	self->call.args.freeze.message_size = 1;
	self->call.message[1] = 'x';
	EXPECT_EQ(-ENXIO, both_calls(self));
	EXPECT_EQ(0, message[0]);
	EXPECT_EQ('x', message[1]);

	memset(self->call.message, 'x', sizeof(self->call.message));
	self->call.args.freeze.message_size = 0;
	EXPECT_EQ(-ENXIO, both_calls(self));
	EXPECT_EQ('x', message[0]);

	self->call.args.freeze.message_size = FORK_MESSAGE_SIZE;
	self->call.args.freeze.message = 0;
	EXPECT_EQ(-ENXIO, both_calls(self));
}

/* A message that cannot be delivered does not hide the error. */
TEST_F(fork_errors, bad_message_pointer)
{
	int ret;

	self->call.args.freeze.message = 8;
	self->call.args.freeze.nr_vcpus = 1;
	ret = both_calls(self);
	EXPECT_TRUE(ret == -ENXIO || ret == -EFAULT)
		TH_LOG("%d", ret);
}

TEST_F(fork_errors, message_of_a_huge_size)
{
	self->call.args.freeze.message_size = 0xffffffff;
	self->call.args.freeze.nr_vcpus = 1;
	EXPECT_EQ(-ENXIO, both_calls(self));
}

TEST_F(fork_errors, vcpu_in_run)
{
	pthread_t thread = vcpu_spin(&self->vm, 1, GUEST_DATA);
	struct vm child;
	int ret;

	for (int i = 0; i < 10; i++) {
		ret = fork_call_freeze(&self->call, self->vm.attach_fd);
		EXPECT_EQ(-EBUSY, ret);
		ret = fork_call_fork(&self->call, self->vm.attach_fd);
		EXPECT_EQ(-EBUSY, ret);
	}
	EXPECT_NE(0, self->call.message[0]);
	vcpu_spin_end(&self->vm, 1, thread);
	self->vm.vcpus[1].run->immediate_exit = 0;
	ASSERT_EQ(0, __vm_fork(&self->vm, &child));
	vm_close(&child);
}

/*
 * KVM gives up on a VM whose vCPU cannot enter SMM: there is no memory where its
 * state shall be saved. Then all calls fail, of KVM's and of ours.
 */
static bool kill_vm(struct vm *vm)
{
	struct kvm_regs regs;

	if (xioctl(vm->vcpus[0].fd, KVM_SMI, NULL))
		return false;
	__vcpu_run(&vm->vcpus[0]);
	return xioctl(vm->vcpus[0].fd, KVM_GET_REGS, &regs) == -EIO;
}

TEST_F(fork_errors, dead_vm)
{
	struct vm vm;
	int template;

	vm_create(&vm, VM_IRQCHIP_KERNEL);
	vm_memory_add(&vm, 0, 16UL << 20, 16 * PAGE_SIZE);
	vcpu_add(&vm, 0);
	vm.attach_fd = vm_attach(vm.vm_fd);
	template = vm_freeze(&vm);
	if (!kill_vm(&vm))
		SKIP(goto close, "this kernel does not give up on the VM");

	fork_call_init(&self->call, &vm);
	EXPECT_EQ(-EIO, fork_call_freeze(&self->call, vm.attach_fd));
	EXPECT_EQ(-EIO, fork_call_fork(&self->call, vm.attach_fd));
	EXPECT_EQ(-EIO, __vm_reset(&vm, template, KVMFORK_RESET_STATE));
	close(vm.attach_fd);
	EXPECT_EQ(-EIO, __vm_attach(vm.vm_fd, 0));
	vm.attach_fd = -1;
close:
	vm_close(&vm);
	close(template);
}

TEST_HARNESS_MAIN
