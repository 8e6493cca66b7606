// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_RESET: every way to be refused, and that nothing has changed then. */
#include <fcntl.h>
#include <sys/eventfd.h>

#include "fork.h"
#include "harness.h"
#include "spin.h"
#include "state.h"

#define RAM_GPA		(16UL << 20)
#define RAM_SIZE	(16 * PAGE_SIZE)

static struct state_image before, after;

FIXTURE(reset_errors) {
	struct vm vm, child;
	int template;
	struct reset_call call;
};

static void prepare(FIXTURE_DATA(reset_errors) *self)
{
	reset_call_init(&self->call, &self->child, self->template);
}

FIXTURE_SETUP(reset_errors)
{
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 2);
	memset(vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE), 't', RAM_SIZE);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 100);
	self->template = vm_freeze(&self->vm);
	vm_spawn(self->template, &self->vm, &self->child);
	memset(vm_hva(&self->child, RAM_GPA), 'c', RAM_SIZE);
	vcpu_start(&self->child.vcpus[0], 0, guest_count, 200);
	prepare(self);
}

FIXTURE_TEARDOWN(reset_errors)
{
	vm_close(&self->child);
	close(self->template);
	vm_close(&self->vm);
}

/* The call shall fail; -EPROTO when it did something all the same. */
static int reset_failing(FIXTURE_DATA(reset_errors) *self)
{
	struct proc_state proc[2];
	int ret;

	proc_state_get(&proc[0]);
	state_image_get(&self->child, 0, &before);
	ret = reset_call_run(&self->call, self->child.attach_fd);
	state_image_get(&self->child, 0, &after);
	proc_state_get(&proc[1]);
	if (ret >= 0)
		return ret;
	if (!proc_state_equal(&proc[0], &proc[1])) {
		fprintf(stderr, "# fds or mappings were left behind\n");
		return -EPROTO;
	}
	if (state_image_compare(&before, &after)) {
		fprintf(stderr, "# %s, and state has changed\n", strerror(-ret));
		return -EPROTO;
	}
	return ret;
}

static bool ram_is(struct vm *vm, char value)
{
	volatile char *ram = vm_hva(vm, RAM_GPA);

	for (unsigned long at = 0; at < RAM_SIZE; at += PAGE_SIZE)
		if (ram[at] != value)
			return false;
	return true;
}

/* Also an error that comes with a message, which names @what. */
static bool refused(FIXTURE_DATA(reset_errors) *self, int error, const char *what)
{
	int ret = reset_failing(self);

	if (ret == error && strstr(self->call.message, what))
		return true;
	fprintf(stderr, "# %s: \"%s\"\n", ret < 0 ? strerror(-ret) : "success",
		self->call.message);
	return false;
}

/* What a failure must have left as it was, and that it works now. */
static bool works_now(FIXTURE_DATA(reset_errors) *self)
{
	if (!ram_is(&self->child, 'c')) {
		fprintf(stderr, "# memory has changed\n");
		return false;
	}
	prepare(self);
	if (reset_call_run(&self->call, self->child.attach_fd)) {
		fprintf(stderr, "# %s\n", self->call.message);
		return false;
	}
	return ram_is(&self->child, 't') &&
	       vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC) == 101;
}

TEST_F(reset_errors, none)
{
	EXPECT_TRUE(works_now(self));
}

TEST_F(reset_errors, flags)
{
	self->call.args.flags = 0;
	EXPECT_EQ(-EINVAL, reset_failing(self));
	for (unsigned int bit = 3; bit < 64; bit++) {
		self->call.args.flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, reset_failing(self))
			TH_LOG("flag bit %u", bit);
		self->call.args.flags |= RESET_ALL;
		EXPECT_EQ(-EINVAL, reset_failing(self))
			TH_LOG("flag bit %u and those there are", bit);
	}
	EXPECT_TRUE(works_now(self));
}

TEST_F(reset_errors, reserved_fields)
{
	self->call.args.reserved32 = 1;
	EXPECT_EQ(-EINVAL, reset_failing(self));
	for (int i = 0; i < 4; i++) {
		prepare(self);
		self->call.args.reserved[i] = 1ULL << 63;
		EXPECT_EQ(-EINVAL, reset_failing(self))
			TH_LOG("reserved[%d]", i);
	}
	EXPECT_TRUE(works_now(self));
}

TEST_F(reset_errors, fds_that_are_no_templates)
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
		{ "vCPU", self->vm.vcpus[0].fd },
		{ "/dev/kvmfork", kvmfork_device() },
		{ "attach file", self->vm.attach_fd },
		{ "memory file", self->vm.slots[0].memory_fd },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		self->call.args.template_fd = others[i].fd;
		EXPECT_TRUE(refused(self, -EBADF, "template_fd"))
			TH_LOG("%s", others[i].what);
	}
	EXPECT_TRUE(works_now(self));
}

TEST_F(reset_errors, vcpu_fds)
{
	static const uint64_t pointers[] = { 0, 8, 0x8000000000000000ULL };
	const int others[] = {
		-1, self->child.vm_fd, self->vm.vcpus[1].fd, self->template, kvmfork_device(),
	};

	for (uint32_t nr = 0; nr < 4; nr++) {
		self->call.args.nr_vcpus = nr;
		if (nr == 2)
			continue;
		EXPECT_TRUE(refused(self, -ENXIO, "nr_vcpus"))
			TH_LOG("%u vCPUs", nr);
	}
	prepare(self);
	self->call.vcpu_fds[1] = self->child.vcpus[0].fd;
	EXPECT_TRUE(refused(self, -ENXIO, "twice"));
	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		self->call.vcpu_fds[1] = others[i];
		EXPECT_TRUE(refused(self, -EBADF, "vcpu_fds"))
			TH_LOG("fd number %zu", i);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(pointers); i++) {
		self->call.args.vcpu_fds = pointers[i];
		EXPECT_EQ(-EFAULT, reset_failing(self))
			TH_LOG("vcpu_fds 0x%llx", (unsigned long long)pointers[i]);
	}
	EXPECT_TRUE(works_now(self));
}

TEST_F(reset_errors, vcpus_in_another_order)
{
	self->call.vcpu_fds[0] = self->child.vcpus[1].fd;
	self->call.vcpu_fds[1] = self->child.vcpus[0].fd;
	EXPECT_EQ(0, reset_call_run(&self->call, self->child.attach_fd));
	EXPECT_EQ(101, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
}

TEST_F(reset_errors, message_buffer)
{
	const char *message = self->call.message;

	memset(self->call.message, 'x', sizeof(self->call.message));
	self->call.args.template_fd = -1;
	EXPECT_EQ(-EBADF, reset_failing(self));
	EXPECT_NE(NULL, memchr(message, 0, FORK_MESSAGE_SIZE));
	EXPECT_EQ(NULL, strchr(message, '\n'));
	/* Cut short, and nothing written behind. */
	memset(self->call.message, 'x', sizeof(self->call.message));
	self->call.args.message_size = 4;
	EXPECT_EQ(-EBADF, reset_failing(self));
	EXPECT_EQ(0, message[3]);
	EXPECT_EQ('x', message[4]);
	self->call.args.message = 0;
	EXPECT_EQ(-EBADF, reset_failing(self));
	self->call.args.message = 8;
	EXPECT_EQ(-EBADF, reset_failing(self));
	EXPECT_TRUE(works_now(self));
}

static int reset_here(void *arg)
{
	FIXTURE_DATA(reset_errors) *self = arg;

	/* The VM is not to be looked at from here, so no reset_failing(). */
	if (reset_call_run(&self->call, self->child.attach_fd) != -EXDEV)
		return 1;
	return self->call.message[0] ? 0 : 2;
}

TEST_F(reset_errors, in_another_process)
{
	EXPECT_TRUE(process_exited(process_run(reset_here, self), 0));
	EXPECT_TRUE(works_now(self));
}

TEST_F(reset_errors, vcpu_in_run)
{
	struct vcpu *vcpu = &self->child.vcpus[1];
	pthread_t thread = vcpu_spin(&self->child, 1, GUEST_DATA);

	for (int i = 0; i < 10; i++) {
		EXPECT_EQ(-EBUSY, reset_call_run(&self->call, self->child.attach_fd));
		EXPECT_NE(NULL, strstr(self->call.message, "running"));
	}
	/* Not touched by that: it is kicked as ever. */
	EXPECT_EQ(0, vcpu->run->immediate_exit);
	vcpu_spin_end(&self->child, 1, thread);
	EXPECT_TRUE(works_now(self));
	EXPECT_EQ(1, vcpu->run->immediate_exit);
}

static int hva_replace(struct vm *vm, int fd, uint64_t offset, int flags)
{
	void *at = vm->slots[1].hva;

	return mmap(at, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | flags, fd, offset) == at ?
	       0 : -errno;
}

TEST_F(reset_errors, memory_unmapped_or_another)
{
	int mine = self->child.slots[1].memory_fd, larger = memory_create(2 * RAM_SIZE);
	char *hva = self->child.slots[1].hva;

	munmap(hva, RAM_SIZE);
	EXPECT_EQ(-EMEDIUMTYPE, reset_call_run(&self->call, self->child.attach_fd));
	EXPECT_NE(0, self->call.message[0]);
	ASSERT_EQ(0, hva_replace(&self->child, mine, 0, MAP_SHARED));
	EXPECT_TRUE(ram_is(&self->child, 'c'));

	munmap(hva + PAGE_SIZE, PAGE_SIZE);
	EXPECT_EQ(-EMEDIUMTYPE, reset_call_run(&self->call, self->child.attach_fd));
	ASSERT_EQ(0, hva_replace(&self->child, -1, 0, MAP_PRIVATE | MAP_ANONYMOUS));
	EXPECT_TRUE(refused(self, -EMEDIUMTYPE, "slot 1"));

	/* Memory of the module's, but not such as the template has. */
	ASSERT_EQ(0, hva_replace(&self->child, larger, 0, MAP_SHARED));
	EXPECT_TRUE(refused(self, -ESTALE, "memory"));
	ASSERT_EQ(0, hva_replace(&self->child, larger, RAM_SIZE, MAP_SHARED));
	EXPECT_TRUE(refused(self, -ESTALE, "memory"));
	ASSERT_EQ(0, hva_replace(&self->child, self->child.slots[0].memory_fd, 0, MAP_SHARED));
	EXPECT_TRUE(refused(self, -ESTALE, "number of memory files"));

	ASSERT_EQ(0, hva_replace(&self->child, mine, 0, MAP_SHARED));
	EXPECT_TRUE(works_now(self));
	close(larger);
}

/* A file of the same size will do: it becomes what the template has. */
TEST_F(reset_errors, memory_replaced_by_its_like)
{
	int other = memory_create(RAM_SIZE);

	ASSERT_EQ(0, hva_replace(&self->child, other, 0, MAP_SHARED));
	memset(self->child.slots[1].hva, 'c', RAM_SIZE);
	EXPECT_TRUE(works_now(self));
	EXPECT_EQ(0, fdinfo_value(other, "kvmfork-private"));
	close(other);
}

TEST_HARNESS_MAIN
