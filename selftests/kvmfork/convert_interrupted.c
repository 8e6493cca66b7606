// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_CONVERT that cannot start, or does not come to its end. */
#include <linux/io_uring.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "convert.h"
#include "harness.h"

#define MIB	(1UL << 20)
#define GPA	(16 * MIB)
#define SIZE	(8 * MIB)
#define PAGES	(SIZE / PAGE_SIZE)

FIXTURE(interrupted) {
	struct vm vm;
	bool stop;
};

FIXTURE_SETUP(interrupted)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	self->stop = false;
}

FIXTURE_TEARDOWN(interrupted)
{
	vm_close(&self->vm);
}

static void *run_guest(void *arg)
{
	FIXTURE_DATA(interrupted) *self = arg;

	while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
		int ret = __vcpu_run(&self->vm.vcpus[0]);

		TEST_REQUIRE(!ret || ret == -EINTR, "KVM_RUN: %s", strerror(-ret));
	}
	return NULL;
}

/* Also when the signal arrives just before KVM_RUN. */
static void stop_guest(FIXTURE_DATA(interrupted) *self, pthread_t thread)
{
	struct kvm_run *run = self->vm.vcpus[0].run;

	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	__atomic_store_n(&run->immediate_exit, 1, __ATOMIC_RELAXED);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	run->immediate_exit = 0;
}

static __guest void guest_spin(uint64_t arg)
{
	for (;;) {
		guest_write64(GPA, guest_read64(GPA) + arg);
		__asm__ volatile("pause");
	}
}

static void ignore(int signal)
{
	(void)signal;
}

TEST_F(interrupted, running_guest)
{
	struct sigaction action = { .sa_handler = ignore };
	uint64_t *word = memory_anonymous(SIZE), seen;
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	vm_slot_add(&self->vm, 0, GPA, SIZE, word, -1, 0);
	vcpu_start(&self->vm.vcpus[0], 0, guest_spin, 1);
	pthread_create(&thread, NULL, run_guest, self);
	while (!__atomic_load_n(word, __ATOMIC_RELAXED))
		usleep(1000);
	EXPECT_EQ(-EBUSY, __vm_convert(&self->vm));
	stop_guest(self, thread);
	seen = *word;
	EXPECT_EQ(1, vm_convert(&self->vm));
	EXPECT_EQ(seen, *word);
	/* It goes on in the new memory. */
	self->stop = false;
	pthread_create(&thread, NULL, run_guest, self);
	while (__atomic_load_n(word, __ATOMIC_RELAXED) == seen)
		usleep(1000);
	stop_guest(self, thread);
	EXPECT_LT(seen, *word);
}

/* A buffer of io_uring: pinned for as long as it is registered; -1: no io_uring. */
static int pin(void *at, size_t size)
{
	struct io_uring_params params = {};
	struct iovec iov = { at, size };
	int fd = syscall(SYS_io_uring_setup, 4, &params);

	if (fd >= 0 && syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* What was done stays done, and the rest is done by the next call. */
TEST_F(interrupted, half_way)
{
	char *hva = memory_anonymous(SIZE), *bad = hva + 5 * MIB + PAGE_SIZE;
	struct vm *vm = &self->vm, child;
	struct convert_call call;
	unsigned int parts;
	int ring;

	/* Of a huge page all would count as pinned. */
	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	memset(hva, 7, SIZE);
	vm_slot_add(vm, 0, GPA, SIZE, hva, -1, 0);
	ring = pin(bad, PAGE_SIZE);
	if (ring < 0)
		SKIP(return, "no io_uring");
	for (int try = 0; try < 2; try++) {
		char address[32];

		snprintf(address, sizeof(address), "%#lx", (unsigned long)bad);
		convert_call_init(&call, vm);
		EXPECT_EQ(-EBUSY, convert_call_run(&call, vm->attach_fd));
		EXPECT_NE(NULL, strstr(call.message, "pinned")) TH_LOG("%s", call.message);
		EXPECT_NE(NULL, strstr(call.message, address)) TH_LOG("%s", call.message);
		EXPECT_NE(NULL, strstr(call.message, "slot 1")) TH_LOG("%s", call.message);
		parts = count_mappings(hva, SIZE);
		EXPECT_EQ(2, parts);
		for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE)
			ASSERT_EQ(7, hva[at]++);
		for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE)
			hva[at]--;
	}
	close(ring);
	/* The kernel lets go of the buffer a little later. */
	for (int try = 0; try < 100; try++) {
		convert_call_init(&call, vm);
		call.args.nr_mappings = 0;
		if (!convert_call_run(&call, vm->attach_fd))
			break;
		usleep(20000);
	}
	EXPECT_LT(0, call.args.nr_pages);
	EXPECT_GT(PAGES, call.args.nr_pages);
	EXPECT_EQ(0, vm_convert(vm));
	EXPECT_EQ(1, count_mappings(hva, SIZE));
	EXPECT_EQ((long long)SIZE, fdinfo_value(vm->slots[1].memory_fd, "kvmfork-private"));
	vm_fork(vm, &child);
	for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE)
		ASSERT_EQ(7, *(char *)vm_hva(&child, GPA + at));
	vm_close(&child);
}

static int convert_until_killed(void *arg)
{
	struct vm vm;
	(void)arg;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	for (;;) {
		char *hva = memory_anonymous(SIZE);

		memset(hva, 7, SIZE);
		if (__vm_slot_set(&vm, 1, 0, GPA, SIZE, hva))
			return 1;
		if (__vm_convert(&vm) < 0)
			return 2;
		if (__vm_slot_set(&vm, 1, 0, 0, 0, NULL))
			return 3;
		munmap(hva, SIZE);
	}
}

TEST_F(interrupted, killed)
{
	unsigned long rounds = test_scaled(100);
	long long before = 0, after = 0;

	for (unsigned long i = 0; i <= rounds; i++) {
		pid_t pid = process_start(convert_until_killed, NULL);
		int status;

		if (i == 1)
			before = mem_available();
		usleep(20000 + i * 977 % 30000);
		kill(pid, SIGKILL);
		status = process_wait(pid);
		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("status 0x%x", status);
	}
	for (int try = 0; try < 100; try++) {
		after = mem_available();
		if (before - after < (long long)(8 * MIB))
			break;
		usleep(50000);
	}
	EXPECT_GT((long long)(8 * MIB), before - after)
		TH_LOG("%lld bytes less", before - after);
}

TEST_HARNESS_MAIN
