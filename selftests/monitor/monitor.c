// SPDX-License-Identifier: GPL-2.0-only
/*
 * An ordinary KVM monitor: anonymous memory, an interrupt controller, two vCPUs,
 * each run by a thread. What makes it one that forks its VM are two calls:
 * monitor_attach() and monitor_fork().
 *
 * Its guest counts. Parent and child count on from the same number, each in
 * memory of its own; the results are TAP.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/kvmfork.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_SIZE	(64UL << 20)
#define CODE		0x1000
#define COUNTERS	0x2000
#define PORT		0x10
#define VCPUS		2
#define EXIT_SKIP	4

struct vcpu {
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	unsigned int left;	/* numbers to be said yet */
	uint32_t number;	/* said last */
	bool wrong;
};

struct vm {
	int fd;
	int attach_fd;
	char *ram;
	struct vcpu vcpus[VCPUS];
};

static int kvm, kvmfork;

/* In real mode, with the address of its counter in BX. */
static const unsigned char guest[] = {
	0x66, 0xff, 0x07,		/* 1: incl (%bx) */
	0x66, 0x8b, 0x07,		/*    movl (%bx), %eax */
	0x66, 0xe7, PORT,		/*    outl %eax, $PORT */
	0xeb, 0xf5,			/*    jmp 1b */
};

static void vcpu_map(struct vcpu *vcpu)
{
	size_t size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		err(1, "mmap of a vCPU");
}

static void vcpu_create(struct vm *vm, unsigned int id)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs = { .rip = CODE, .rbx = COUNTERS + 4 * id, .rflags = 2 };
	struct vcpu *vcpu = &vm->vcpus[id];
	struct kvm_sregs sregs;

	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);
	if (vcpu->fd < 0)
		err(1, "KVM_CREATE_VCPU");
	vcpu_map(vcpu);
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		err(1, "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) || ioctl(vcpu->fd, KVM_SET_REGS, &regs) ||
	    ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable))
		err(1, "registers of vCPU %u", id);
}

static void vm_create(struct vm *vm)
{
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_SIZE };

	vm->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vm->ram == MAP_FAILED)
		err(1, "mmap of guest memory");
	memcpy(vm->ram + CODE, guest, sizeof(guest));
	slot.userspace_addr = (unsigned long)vm->ram;
	vm->fd = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		err(1, "KVM_CREATE_VM");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000UL) ||
	    ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) ||
	    ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot))
		err(1, "setting up the VM");
	for (unsigned int id = 0; id < VCPUS; id++)
		vcpu_create(vm, id);
}

static void vm_close(struct vm *vm)
{
	for (unsigned int i = 0; i < VCPUS; i++) {
		munmap(vm->vcpus[i].run, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
		close(vm->vcpus[i].fd);
	}
	close(vm->attach_fd);
	close(vm->fd);
	munmap(vm->ram, RAM_SIZE);
}

/* The first call: this VM is going to be forked. */
static void monitor_attach(struct vm *vm)
{
	struct kvmfork_attach attach = { .vm_fd = vm->fd };

	vm->attach_fd = ioctl(kvmfork, KVMFORK_ATTACH, &attach);
	if (vm->attach_fd < 0)
		err(1, "KVMFORK_ATTACH");
}

/* The second: here is another one. All vCPUs are out of KVM_RUN. */
static void monitor_fork(struct vm *vm, struct vm *child)
{
	int32_t vcpu_fds[VCPUS];
	struct kvmfork_vcpu vcpus[VCPUS];
	struct kvmfork_mapping mapping;
	char message[128] = "";
	struct kvmfork_fork fork = {
		.freeze = {
			.flags = KVMFORK_FREEZE_CONVERT,
			.vcpu_fds = (unsigned long)vcpu_fds,
			.nr_vcpus = VCPUS,
			.message = (unsigned long)message,
			.message_size = sizeof(message),
		},
		.spawn = {
			.kvm_fd = kvm,
			.vcpus = (unsigned long)vcpus,
			.nr_vcpus = VCPUS,
			.mappings = (unsigned long)&mapping,
			.nr_mappings = 1,
		},
	};

	for (unsigned int i = 0; i < VCPUS; i++)
		vcpu_fds[i] = vm->vcpus[i].fd;
	if (ioctl(vm->attach_fd, KVMFORK_FORK, &fork))
		err(1, "KVMFORK_FORK: %s", message);

	*child = *vm;
	child->fd = fork.spawn.vm_fd;
	child->attach_fd = fork.spawn.attach_fd;
	child->ram = (char *)(unsigned long)mapping.address;
	close(mapping.memory_fd);	/* the mapping is enough for us */
	for (unsigned int i = 0; i < VCPUS; i++) {
		child->vcpus[i].fd = vcpus[i].fd;
		vcpu_map(&child->vcpus[i]);
	}
}

static void *vcpu_run(void *arg)
{
	struct vcpu *vcpu = arg;
	struct kvm_run *run = vcpu->run;

	while (vcpu->left) {
		uint32_t number;

		if (ioctl(vcpu->fd, KVM_RUN, 0)) {
			if (errno == EINTR)
				continue;
			err(1, "KVM_RUN");
		}
		if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT)
			errx(1, "exit reason %u", run->exit_reason);
		memcpy(&number, (char *)run + run->io.data_offset, sizeof(number));
		if (number != vcpu->number + 1)
			vcpu->wrong = true;
		vcpu->number = number;
		vcpu->left--;
	}
	return NULL;
}

static void vm_start(struct vm *vm, unsigned int numbers)
{
	for (unsigned int i = 0; i < VCPUS; i++) {
		vm->vcpus[i].left = numbers;
		if (pthread_create(&vm->vcpus[i].thread, NULL, vcpu_run, &vm->vcpus[i]))
			errx(1, "cannot make a thread");
	}
}

static void vm_wait(struct vm *vm)
{
	for (unsigned int i = 0; i < VCPUS; i++)
		pthread_join(vm->vcpus[i].thread, NULL);
}

/* All numbers have been said, up to this one, which is in memory. */
static bool vm_has_counted_to(const struct vm *vm, uint32_t number)
{
	const uint32_t *counters = (const uint32_t *)(vm->ram + COUNTERS);
	bool right = true;

	for (unsigned int i = 0; i < VCPUS; i++)
		right &= !vm->vcpus[i].wrong && vm->vcpus[i].number == number &&
			 counters[i] == number;
	return right;
}

static int results, failures;

static void result(bool right, const char *what)
{
	printf("%sok %d - %s\n", right ? "" : "not ", ++results, what);
	failures += !right;
}

int main(void)
{
	struct vm parent = {}, child, grandchild;
	char *ram;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	kvmfork = open("/dev/kvmfork", O_RDWR | O_CLOEXEC);
	if (kvm < 0 || kvmfork < 0)
		return EXIT_SKIP;
	printf("TAP version 13\n1..5\n");

	vm_create(&parent);
	ram = parent.ram;
	monitor_attach(&parent);
	vm_start(&parent, 1000);
	vm_wait(&parent);
	result(vm_has_counted_to(&parent, 1000), "the guest runs in anonymous memory");

	monitor_fork(&parent, &child);
	result(vm_has_counted_to(&child, 1000), "the child is what the parent was");
	vm_start(&parent, 500);
	vm_start(&child, 700);
	vm_wait(&parent);
	vm_wait(&child);
	result(parent.ram == ram && vm_has_counted_to(&parent, 1500), "the parent goes on");
	result(vm_has_counted_to(&child, 1700), "the child goes its own way");

	monitor_fork(&child, &grandchild);
	vm_close(&child);
	vm_start(&grandchild, 100);
	vm_wait(&grandchild);
	result(vm_has_counted_to(&grandchild, 1800), "a child is forked like any VM");
	vm_close(&grandchild);
	vm_close(&parent);
	return failures ? 1 : 0;
}
