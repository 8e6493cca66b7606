// SPDX-License-Identifier: GPL-2.0-only
/* Several vCPUs: their ids and order, each one's state, all of them running. */
#include <pthread.h>

#include "fork.h"
#include "harness.h"

TEST(ids_in_odd_order)
{
	static const uint32_t ids[] = { 3, 0, 5, 1 };
	struct kvm_regs regs = { .rflags = 2 };
	struct vm vm, child;

	vm_create(&vm, VM_IRQCHIP_KERNEL);
	vm_memory_add(&vm, 0, 0, GUEST_MEMORY);
	vm_load_guest(&vm);
	for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
		vcpu_add(&vm, ids[i]);
		vcpu_start(&vm.vcpus[i], i, guest_count, 1000 * ids[i]);
	}
	vm.attach_fd = vm_attach(vm.vm_fd);
	vm_fork(&vm, &child);
	for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
		EXPECT_EQ(ids[i], child.vcpus[i].id);
		ASSERT_EQ(0, xioctl(child.vcpus[i].fd, KVM_GET_REGS, &regs));
		EXPECT_EQ(1000 * ids[i], regs.rdi);
		EXPECT_EQ(1000 * ids[i] + 1, vcpu_run_to_port(&child.vcpus[i], PORT_SYNC));
	}
	/* Those ids are taken, others are not. */
	EXPECT_EQ(-EEXIST, xioctl(child.vm_fd, KVM_CREATE_VCPU, (void *)5L));
	vm_close(&child);
	vm_close(&vm);
}

#define VCPUS	4

/* A sum that each vCPU works on, in its own memory and in registers. */
static void __guest guest_sum(uint64_t arg)
{
	uint64_t sum = 0, at = GUEST_DATA + arg * 4096;

	for (uint64_t i = 1;; i++) {
		sum += i * (arg + 1);
		guest_write64(at + i % 256 * 8, sum);
		if (i % 1000 == 0)
			guest_outl(PORT_SYNC, i / 1000);
	}
}

/* A thread per vCPU: so many rounds, each checked against the right sum. */
struct runner {
	pthread_t thread;
	struct vm *vm;
	unsigned int index, first, rounds, wrong;
};

static void *run_rounds(void *arg)
{
	struct runner *runner = arg;
	struct vcpu *vcpu = &runner->vm->vcpus[runner->index];
	char *data = vm_hva(runner->vm, GUEST_DATA + runner->index * PAGE_SIZE);

	for (unsigned int i = 0; i < runner->rounds; i++) {
		uint32_t round = vcpu_run_to_port(vcpu, PORT_SYNC);
		uint64_t n = round * 1000ULL, sum = n * (n + 1) / 2 * (runner->index + 1);

		runner->wrong += round != runner->first + i;
		runner->wrong += *(uint64_t *)(data + n % 256 * 8) != sum;
	}
	return NULL;
}

static unsigned int run_all(struct vm *vm, unsigned int first, unsigned int rounds)
{
	struct runner runners[VCPUS];
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < VCPUS; i++) {
		runners[i] = (struct runner) {
			.vm = vm, .index = i, .first = first, .rounds = rounds,
		};
		TEST_REQUIRE(!pthread_create(&runners[i].thread, NULL, run_rounds, &runners[i]),
			     "pthread_create");
	}
	for (unsigned int i = 0; i < VCPUS; i++) {
		pthread_join(runners[i].thread, NULL);
		wrong += runners[i].wrong;
	}
	return wrong;
}

FIXTURE(smp) {
	struct vm vm, child, grandchild;
};

FIXTURE_VARIANT(smp) {
	enum vm_irqchip irqchip;
};

FIXTURE_VARIANT_ADD(smp, kernel_irqchip) { .irqchip = VM_IRQCHIP_KERNEL };
FIXTURE_VARIANT_ADD(smp, no_irqchip) { .irqchip = VM_IRQCHIP_NONE };

FIXTURE_SETUP(smp)
{
	vm_create_default(&self->vm, variant->irqchip, VCPUS);
	for (unsigned int i = 0; i < VCPUS; i++)
		vcpu_start(&self->vm.vcpus[i], i, guest_sum, i);
}

FIXTURE_TEARDOWN(smp)
{
	vm_close(&self->vm);
}

TEST_F(smp, all_go_on)
{
	unsigned int rounds = test_scaled(50);

	EXPECT_EQ(0, run_all(&self->vm, 1, rounds));
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(0, run_all(&self->child, rounds + 1, rounds));
	EXPECT_EQ(0, run_all(&self->vm, rounds + 1, rounds));
	vm_fork(&self->child, &self->grandchild);
	vm_close(&self->child);
	EXPECT_EQ(0, run_all(&self->grandchild, 2 * rounds + 1, rounds));
	EXPECT_EQ(0, run_all(&self->vm, 2 * rounds + 1, rounds));
	vm_close(&self->grandchild);
}

/* Each vCPU of the child in a thread of its own, while the parent's run, too. */
static void *run_vm(void *arg)
{
	struct runner *runner = arg;

	runner->wrong = run_all(runner->vm, runner->first, runner->rounds);
	return NULL;
}

TEST_F(smp, parent_and_child_at_once)
{
	unsigned int rounds = test_scaled(50);
	struct runner runner = { .vm = &self->child, .first = 2, .rounds = rounds };

	EXPECT_EQ(0, run_all(&self->vm, 1, 1));
	vm_fork(&self->vm, &self->child);
	pthread_create(&runner.thread, NULL, run_vm, &runner);
	EXPECT_EQ(0, run_all(&self->vm, 2, rounds));
	pthread_join(runner.thread, NULL);
	EXPECT_EQ(0, runner.wrong);
	vm_close(&self->child);
}

static void __guest guest_tsc(uint64_t arg)
{
	uint64_t last = 0;

	(void)arg;
	for (;;) {
		uint64_t now = guest_rdtsc();

		guest_write64(GUEST_DATA, now);
		guest_write64(GUEST_DATA + 8, last);
		guest_sync(now >= last);
		last = now;
	}
}

/* The guest's time stamps across a fork, and across the life of a template. */
TEST_F(smp, tsc_continues)
{
	struct vcpu *parent = &self->vm.vcpus[0], *child;
	uint64_t before, elapsed, start;
	int khz = xioctl(parent->fd, KVM_GET_TSC_KHZ, NULL), fd;

	vcpu_start(parent, 0, guest_tsc, 0);
	EXPECT_EQ(1, vcpu_run_to_port(parent, PORT_SYNC));
	before = *(uint64_t *)vm_hva(&self->vm, GUEST_DATA);
	start = test_now_ns();
	vm_fork(&self->vm, &self->child);
	child = &self->child.vcpus[0];
	EXPECT_EQ(1, vcpu_run_to_port(child, PORT_SYNC));
	elapsed = *(uint64_t *)vm_hva(&self->child, GUEST_DATA) - before;
	/* No further than real time has gone, with room for an emulator's clock. */
	EXPECT_GT(2 * (test_now_ns() - start) / 1000000 * khz + 100ULL * khz, elapsed);
	EXPECT_EQ(1, vcpu_run_to_port(parent, PORT_SYNC));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(1, vcpu_run_to_port(child, PORT_SYNC))
			TH_LOG("reading %d", i);
	}
	vm_close(&self->child);
	fd = vm_freeze(&self->vm);
	usleep(100000);
	vm_spawn(fd, &self->vm, &self->child);
	EXPECT_EQ(1, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	vm_close(&self->child);
	close(fd);
}

TEST_HARNESS_MAIN
