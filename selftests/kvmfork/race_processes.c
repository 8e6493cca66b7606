// SPDX-License-Identifier: GPL-2.0-only
/* Processes which are killed while they fork, freeze, spawn or run children. */
#include <pthread.h>
#include <signal.h>

#include "fork.h"
#include "harness.h"

FIXTURE(kill) {
	struct vm vm;
	int template;
};

FIXTURE_SETUP(kill)
{
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 2);
	memset(vm_hva(&self->vm, GUEST_DATA), 0x5a, 64 * PAGE_SIZE);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
	vcpu_start(&self->vm.vcpus[1], 1, guest_count, 0);
	self->template = vm_freeze(&self->vm);
}

FIXTURE_TEARDOWN(kill)
{
	close(self->template);
	vm_close(&self->vm);
}

struct job {
	struct vm *shape;
	int template;
};

static int spawn_for_ever(void *arg)
{
	struct job *job = arg;
	struct vm child;

	for (;;) {
		vm_spawn(job->template, job->shape, &child);
		memset(vm_hva(&child, GUEST_DATA), 1, 64 * PAGE_SIZE);
		vm_close(&child);
	}
	return 0;
}

static int fork_for_ever(void *arg)
{
	struct job *job = arg;
	struct vm vm, child;

	vm_spawn(job->template, job->shape, &vm);
	for (;;) {
		vm_fork(&vm, &child);
		vcpu_run_to_port(&child.vcpus[1], PORT_SYNC);
		vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC);
		vm_close(&vm);
		vm = child;
	}
	return 0;
}

static int freeze_for_ever(void *arg)
{
	struct job *job = arg;
	struct vm vm, child;

	vm_spawn(job->template, job->shape, &vm);
	for (;;) {
		int fd = vm_freeze(&vm);

		memset(vm_hva(&vm, GUEST_DATA), 1, 64 * PAGE_SIZE);
		vm_spawn(fd, &vm, &child);
		close(fd);
		vm_close(&child);
	}
	return 0;
}

static void *writer(void *arg)
{
	volatile char *data = arg;

	for (;;)
		for (unsigned int i = 0; i < 64; i++)
			data[i * PAGE_SIZE]++;
	return NULL;
}

static int fork_among_threads(void *arg)
{
	struct job *job = arg;
	struct vm vm, child;
	pthread_t thread;

	vm_spawn(job->template, job->shape, &vm);
	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, writer, vm_hva(&vm, GUEST_DATA));
	for (;;) {
		vm_fork(&vm, &child);
		vm_close(&child);
	}
	return 0;
}

static void kill_again_and_again(struct __test_metadata *_metadata, FIXTURE_DATA(kill) *self,
				 int (*fn)(void *job))
{
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL;
	struct job job = { &self->vm, self->template };
	unsigned int killed = 0, delay = 1000;
	struct vm child;

	while (test_now_ns() < end) {
		pid_t pid = process_start(fn, &job);
		int status;

		/* Anywhere between its start and the tenth round. */
		delay = (delay * 13 + 7001) % 150000;
		usleep(delay);
		kill(pid, SIGKILL);
		status = process_wait(pid);
		EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("it ended by itself: 0x%x", status);
		killed++;
	}
	TH_LOG("%u killed", killed);
	/* Nobody else has felt it. */
	vm_spawn(self->template, &self->vm, &child);
	EXPECT_EQ(0x5a, *(char *)vm_hva(&child, GUEST_DATA + 63 * PAGE_SIZE));
	EXPECT_EQ(1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	vm_close(&child);
	EXPECT_EQ(0x5a, *(char *)vm_hva(&self->vm, GUEST_DATA + 63 * PAGE_SIZE));
	vm_fork(&self->vm, &child);
	vm_close(&child);
}

TEST_F(kill, while_spawning)
{
	kill_again_and_again(_metadata, self, spawn_for_ever);
}

TEST_F(kill, while_forking)
{
	kill_again_and_again(_metadata, self, fork_for_ever);
}

TEST_F(kill, while_freezing)
{
	kill_again_and_again(_metadata, self, freeze_for_ever);
}

TEST_F(kill, while_forking_among_threads)
{
	kill_again_and_again(_metadata, self, fork_among_threads);
}

struct spawner {
	struct job job;
	struct __test_metadata *metadata;
	bool *stop;
	unsigned long spawned;
};

static void *spawn_until_stopped(void *arg)
{
	struct spawner *spawner = arg;
	struct __test_metadata *_metadata = spawner->metadata;

	while (!__atomic_load_n(spawner->stop, __ATOMIC_RELAXED)) {
		struct vm child;

		vm_spawn(spawner->job.template, spawner->job.shape, &child);
		EXPECT_EQ(1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
		EXPECT_EQ(0x5a, *(char *)vm_hva(&child, GUEST_DATA + PAGE_SIZE));
		memset(vm_hva(&child, GUEST_DATA + PAGE_SIZE), 1, 32 * PAGE_SIZE);
		vm_close(&child);
		spawner->spawned++;
	}
	return NULL;
}

/* One template, spawned by several threads at the same time, closed early. */
TEST_F(kill, one_template_many_threads)
{
	struct spawner spawners[4];
	pthread_t threads[4];
	bool stop = false;

	for (int i = 0; i < 4; i++) {
		spawners[i] = (struct spawner) {
			.job = { &self->vm, self->template },
			.metadata = _metadata, .stop = &stop,
		};
		pthread_create(&threads[i], NULL, spawn_until_stopped, &spawners[i]);
	}
	sleep(test_seconds());
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_LT(0, spawners[i].spawned);
	}
}

TEST_HARNESS_MAIN
