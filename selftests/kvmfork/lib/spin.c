// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>
#include <unistd.h>

#include "guest.h"
#include "spin.h"
#include "util.h"

static void on_kick(int signal)
{
	(void)signal;
}

static void __guest guest_spin(uint64_t gpa)
{
	for (;;) {
		guest_write64(gpa, guest_read64(gpa) + 1);
		__asm__ volatile("pause");
	}
}

/* Until immediate_exit. */
static void *run(void *arg)
{
	int ret = __vcpu_run(arg);

	TEST_REQUIRE(ret == -EINTR, "KVM_RUN: %d", ret);
	return NULL;
}

pthread_t vcpu_spin(struct vm *vm, unsigned int nr, uint64_t gpa)
{
	struct sigaction kick = { .sa_handler = on_kick };
	volatile uint64_t *word = vm_hva(vm, gpa);
	uint64_t before = *word;
	pthread_t thread;

	sigaction(SIGUSR1, &kick, NULL);
	vcpu_start(&vm->vcpus[nr], nr, guest_spin, gpa);
	TEST_REQUIRE(!pthread_create(&thread, NULL, run, &vm->vcpus[nr]), "pthread_create");
	while (*word == before)
		usleep(1000);
	return thread;
}

void vcpu_spin_end(struct vm *vm, unsigned int nr, pthread_t thread)
{
	__atomic_store_n(&vm->vcpus[nr].run->immediate_exit, 1, __ATOMIC_RELAXED);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
}
