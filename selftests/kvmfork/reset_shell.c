// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_RESET to templates that the VM was not made from: shells made ahead,
 * VMs that were frozen themselves, strangers of the same shape.
 */
#include <sys/socket.h>

#include "fork.h"
#include "harness.h"
#include "scramble.h"
#include "state.h"

#define RAM_GPA		(16UL << 20)
#define RAM_SIZE	(64 * PAGE_SIZE)
#define LOW_GPA		(32UL << 20)

static struct state_image image, other_image;

FIXTURE(shell) {
	struct vm vm, shell;
};

static uint32_t next(struct vm *vm)
{
	uint32_t value = vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);

	TEST_REQUIRE(*(uint64_t *)vm_hva(vm, GUEST_DATA) == value, "memory and registers differ");
	return value;
}

FIXTURE_SETUP(shell)
{
	int fd;

	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	memset(vm_memory_add(&self->vm, 0, RAM_GPA, RAM_SIZE), 1, RAM_SIZE);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
	fd = vm_freeze(&self->vm);
	vm_spawn(fd, &self->vm, &self->shell);
	close(fd);
}

FIXTURE_TEARDOWN(shell)
{
	vm_close(&self->shell);
	vm_close(&self->vm);
}

static bool same_memory(struct vm *a, struct vm *b)
{
	for (unsigned int i = 0; i < a->nr_slots; i++)
		if (memcmp(a->slots[i].hva, b->slots[i].hva, a->slots[i].size))
			return false;
	return true;
}

/* Equal in all to a VM that is just where @template was frozen. */
static unsigned int differences(struct vm *vm, struct vm *at_template)
{
	state_image_get(at_template, 0, &image);
	state_image_get(vm, 0, &other_image);
	return state_image_compare(&image, &other_image) + 1000 * !same_memory(vm, at_template);
}

/* Made from one template, used for another one, which is frozen later. */
TEST_F(shell, of_an_earlier_template)
{
	int fd;

	for (uint32_t i = 1; i < 10; i++) {
		EXPECT_EQ(i, next(&self->vm));
		memset(vm_hva(&self->vm, RAM_GPA + i * PAGE_SIZE), i, PAGE_SIZE);
		fd = vm_freeze(&self->vm);
		vm_reset(&self->shell, fd);
		close(fd);
		EXPECT_EQ(0, differences(&self->shell, &self->vm));
		EXPECT_EQ(0, fdinfo_value(self->shell.slots[1].memory_fd, "kvmfork-private"));
		EXPECT_EQ(i + 1, next(&self->shell));
		EXPECT_EQ(i + 2, next(&self->shell));
	}
}

/* Forth and back between templates, in any order. */
TEST_F(shell, of_several_templates)
{
	int fds[4];

	for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
		next(&self->vm);
		memset(vm_hva(&self->vm, RAM_GPA + i * PAGE_SIZE), 0x10 + i, (4 - i) * PAGE_SIZE);
		fds[i] = vm_freeze(&self->vm);
	}
	for (unsigned int i = 0; i < 40; i++) {
		unsigned int nr = i * 7 % 11 % ARRAY_LENGTH(fds);

		vm_reset(&self->shell, fds[nr]);
		EXPECT_EQ(nr + 2, next(&self->shell));
		for (unsigned int page = 0; page < 4; page++) {
			EXPECT_EQ(page > nr ? page == 0 ? 1 : 0x10 + nr : 0x10 + page,
				  *(volatile char *)vm_hva(&self->shell,
							   RAM_GPA + page * PAGE_SIZE))
				TH_LOG("template %u, page %u", nr, page);
		}
	}
	for (size_t i = 0; i < ARRAY_LENGTH(fds); i++)
		close(fds[i]);
}

/* It has a template and a child of its own, which do not notice. */
TEST_F(shell, that_was_frozen_itself)
{
	struct vm child, grandchild;
	int fd, own;

	next(&self->vm);
	fd = vm_freeze(&self->vm);
	vm_reset(&self->shell, fd);
	EXPECT_EQ(2, next(&self->shell));
	memset(vm_hva(&self->shell, RAM_GPA), 7, RAM_SIZE);
	own = vm_freeze(&self->shell);
	vm_fork(&self->shell, &child);
	memset(vm_hva(&self->shell, RAM_GPA), 8, RAM_SIZE);
	EXPECT_EQ(3, next(&self->shell));

	vm_reset(&self->shell, fd);
	EXPECT_EQ(0, differences(&self->shell, &self->vm));
	EXPECT_EQ(3, next(&child));
	EXPECT_EQ(7, *(volatile char *)vm_hva(&child, RAM_GPA));
	vm_spawn(own, &self->shell, &grandchild);
	EXPECT_EQ(3, next(&grandchild));
	EXPECT_EQ(7, *(volatile char *)vm_hva(&grandchild, RAM_GPA + PAGE_SIZE));
	/* To its own, and to that of its parent again. */
	vm_reset(&self->shell, own);
	EXPECT_EQ(7, *(volatile char *)vm_hva(&self->shell, RAM_GPA));
	EXPECT_EQ(3, next(&self->shell));
	vm_reset(&grandchild, fd);
	EXPECT_EQ(0, differences(&grandchild, &self->vm));
	vm_close(&grandchild);
	vm_close(&child);
	close(own);
	close(fd);
}

/* The parent is no other VM than its children. */
TEST_F(shell, parent)
{
	int fd;

	next(&self->vm);
	fd = vm_freeze(&self->vm);
	vm_reset(&self->shell, fd);
	for (int i = 0; i < 3; i++) {
		next(&self->vm);
		memset(vm_hva(&self->vm, RAM_GPA), 9, RAM_SIZE);
		vm_reset(&self->vm, fd);
		EXPECT_EQ(0, differences(&self->vm, &self->shell));
	}
	close(fd);
}

/* A VM that the module has not made; its memory lies the other way round. */
static void create_stranger(struct vm *vm, char *low)
{
	int fd = memory_create(RAM_SIZE);

	vm_create(vm, VM_IRQCHIP_KERNEL);
	vm_memory_add(vm, 0, 0, GUEST_MEMORY);
	TEST_REQUIRE(mmap(low, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		     low, "mmap: %m");
	vm_slot_add(vm, 0, RAM_GPA, RAM_SIZE, low, fd, 0);
	vcpu_add(vm, 0);
	vm->attach_fd = vm_attach(vm->vm_fd);
}

/* Lower in the address space than all that has been mapped since. */
static char *reserve_low_place(void)
{
	char *low = mmap((void *)LOW_GPA, RAM_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TEST_REQUIRE(low == (char *)LOW_GPA, "mmap: %m");
	return low;
}

TEST_F(shell, stranger)
{
	struct vm stranger;
	int fds[2];

	create_stranger(&stranger, reserve_low_place());
	vm_scramble(&stranger);
	next(&self->vm);
	fds[0] = vm_freeze(&self->vm);
	vm_reset(&stranger, fds[0]);
	EXPECT_EQ(0, differences(&stranger, &self->vm));
	EXPECT_EQ(2, next(&stranger));
	memset(vm_hva(&stranger, RAM_GPA), 5, RAM_SIZE);
	/* And the other way: the parent becomes what the stranger is. */
	fds[1] = vm_freeze(&stranger);
	vm_reset(&self->vm, fds[1]);
	EXPECT_EQ(0, differences(&self->vm, &stranger));
	vm_reset(&self->shell, fds[1]);
	EXPECT_EQ(3, next(&self->shell));
	EXPECT_EQ(5, *(volatile char *)vm_hva(&self->shell, RAM_GPA));
	close(fds[0]);
	close(fds[1]);
	vm_close(&stranger);
}

/* KVM lets the CPUID of a vCPU be changed until it has run. */
TEST_F(shell, stranger_with_another_cpuid)
{
	struct vcpu_cpuid cpuid = {};
	struct reset_call call;
	struct vm stranger;
	int fd, ret;

	create_stranger(&stranger, reserve_low_place());
	ASSERT_EQ(0, vcpu_get_cpuid(&stranger.vcpus[0], &cpuid));
	cpuid.entries[cpuid.head.nent++] = (struct kvm_cpuid_entry2) {
		.function = 0x40000a00, .eax = 1,
	};
	ASSERT_EQ(0, xioctl(stranger.vcpus[0].fd, KVM_SET_CPUID2, &cpuid));
	fd = vm_freeze(&self->vm);
	vm_reset(&stranger, fd);
	EXPECT_EQ(1, next(&stranger));
	close(fd);

	ASSERT_EQ(0, vcpu_get_cpuid(&self->vm.vcpus[0], &cpuid));
	cpuid.entries[cpuid.head.nent++] = (struct kvm_cpuid_entry2) {
		.function = 0x40000a00, .eax = 2,
	};
	ASSERT_EQ(0, xioctl(self->vm.vcpus[0].fd, KVM_SET_CPUID2, &cpuid));
	fd = vm_freeze(&self->vm);
	reset_call_init(&call, &stranger, fd);
	ret = reset_call_run(&call, stranger.attach_fd);
	/* Refused, by a message that names it; or this KVM does not mind. */
	EXPECT_TRUE(!ret || strstr(call.message, "CPUID"))
		TH_LOG("%s: %s", strerror(-ret), call.message);
	close(fd);
	vm_close(&stranger);
}

struct far_shell {
	int sock;
	struct vm *shape;
};

/* Makes its shell, waits for a template of a VM in another process, runs that. */
static int be_a_shell(void *arg)
{
	struct far_shell *far = arg;
	int template = fd_receive(far->sock), later;
	struct vm shell;
	char byte = 0;

	vm_spawn(template, far->shape, &shell);
	vm_scramble(&shell);
	TEST_REQUIRE(write(far->sock, &byte, 1) == 1, "write: %m");
	later = fd_receive(far->sock);
	vm_reset(&shell, later);
	if (next(&shell) != 4 || *(char *)vm_hva(&shell, RAM_GPA) != 4)
		return 1;
	vm_reset(&shell, template);
	return next(&shell) == 1 && *(char *)vm_hva(&shell, RAM_GPA) == 1 ? 0 : 2;
}

TEST_F(shell, in_another_process)
{
	struct far_shell far = { .shape = &self->vm };
	int socks[2], fd;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	far.sock = socks[1];
	pid = process_start(be_a_shell, &far);
	fd = vm_freeze(&self->vm);
	fd_send(socks[0], fd);
	close(fd);
	ASSERT_EQ(1, read(socks[0], &byte, 1));
	for (uint32_t i = 1; i < 4; i++)
		EXPECT_EQ(i, next(&self->vm));
	memset(vm_hva(&self->vm, RAM_GPA), 4, RAM_SIZE);
	fd = vm_freeze(&self->vm);
	fd_send(socks[0], fd);
	close(fd);
	EXPECT_TRUE(process_exited(process_wait(pid), 0));
}

TEST_HARNESS_MAIN
