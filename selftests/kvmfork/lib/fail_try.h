/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each call with its first allocation failing, then its second, and so on until
 * it comes through. A call that fails says so by its error, leaves nothing, and
 * leaves the VM as it was.
 *
 * In a header, as it uses the harness, which each program has for itself.
 */
#ifndef _KVMFORK_TEST_FAIL_TRY_H
#define _KVMFORK_TEST_FAIL_TRY_H

#include "fail.h"
#include "fork.h"
#include "harness.h"

#define FAIL_RAM_GPA	(16UL << 20)
#define FAIL_RAM_PAGES	256
#define FAIL_RAM_SIZE	(FAIL_RAM_PAGES * PAGE_SIZE)

/* The VM that all calls are about, and what is at hand for them. */
struct fail_vm {
	struct vm vm;			/* two vCPUs; the first counts */
	uint32_t count;			/* so far */
	char *ram;
	int template;			/* -1: none; closed at the end */
	int fd;				/* what a call has made */
};

struct fail_try {
	/* Not made to fail: ahead of each call, after one that succeeded, after others. */
	void (*prepare)(struct fail_vm *self);
	void (*finish)(struct fail_vm *self, struct __test_metadata *_metadata);
	void (*repair)(struct fail_vm *self, struct __test_metadata *_metadata);
	/* When all is done, ahead of looking for what is left. */
	void (*end)(void);
	/* A number from 0 on, or the error. */
	int (*call)(struct fail_vm *self);
	/* What may be returned besides -ENOMEM; 0: nothing. */
	int error;
};

/* More than any call takes: it would never come through. */
#define MAX_ALLOCATIONS	20000

/* Without a way to make allocations fail the program ends here, skipped. */
static void __attribute__((constructor)) fail_require(void)
{
	if (fail_open())
		return;
	printf("TAP version 13\n1..0 # SKIP no fault injection, nor kvmfork.ko built for it\n");
	fflush(stdout);
	_exit(4);
}

static inline void fail_vm_create(struct fail_vm *self)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry = { .gsi = 40, .type = KVM_IRQ_ROUTING_MSI },
	};

	TEST_REQUIRE(fail_open(), "fault injection has gone");
	memset(self, 0, sizeof(*self));
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 2);
	self->ram = vm_memory_add(&self->vm, 0, FAIL_RAM_GPA, FAIL_RAM_SIZE);
	memset(self->ram, 1, FAIL_RAM_SIZE);
	TEST_REQUIRE(!xioctl(self->vm.vm_fd, KVM_SET_GSI_ROUTING, &routing),
		     "KVM_SET_GSI_ROUTING: %m");
	/* So that children of it are attached to the trap, too. */
	__vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
	self->template = -1;
}

static inline void fail_vm_close(struct fail_vm *self)
{
	if (self->template >= 0)
		close(self->template);
	vm_close(&self->vm);
}

/* The next number: the VM has lost none, and its memory takes writes. */
static inline bool fail_vm_runs(struct fail_vm *self)
{
	self->count++;
	return vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC) == self->count &&
	       *(volatile uint64_t *)vm_hva(&self->vm, GUEST_DATA) == self->count;
}

/* A child as of now. */
static inline bool fail_child_runs(struct fail_vm *self, struct vm *child)
{
	return vcpu_run_to_port(&child->vcpus[0], PORT_SYNC) == self->count + 1 &&
	       ((volatile char *)vm_hva(child, FAIL_RAM_GPA))[FAIL_RAM_SIZE - 1] == self->ram[FAIL_RAM_SIZE - 1];
}

/* So that what a lost template holds on to is memory that is missing. */
static inline void fail_write_all(struct fail_vm *self)
{
	for (unsigned int i = 0; i < FAIL_RAM_PAGES; i++)
		((volatile char *)self->ram)[i * PAGE_SIZE]++;
}

/* Someone else has the pages: writing copies them. */
static inline void fail_hold_pages(struct fail_vm *self)
{
	fail_write_all(self);
	if (self->template >= 0)
		close(self->template);
	self->template = vm_freeze(&self->vm);
}

static inline long long pages_shared(struct fail_vm *self)
{
	long long shared = 0;

	for (unsigned int i = 0; i < self->vm.nr_slots; i++)
		shared += fdinfo_value(self->vm.slots[i].memory_fd, "kvmfork-shared");
	return shared;
}

static inline long long available_at_least(long long expected)
{
	long long now = 0;

	for (int try = 0; try < 50; try++) {
		now = mem_available();
		if (now >= expected)
			break;
		usleep(100000);
	}
	return now;
}

/* What other users of the machine may change. */
#define SLACK	((long long)(24UL << 20))

static inline bool as_documented(const struct fail_try *op, int ret)
{
	return ret == -ENOMEM || (op->error && ret == op->error);
}

/* Do the calls, and say how many failures there were. */
static inline void fail_try(struct __test_metadata *_metadata, struct fail_vm *self,
			    const struct fail_try *op)
{
	unsigned int nth, refused = 0, survived = 0;
	struct proc_state before, after;
	long long available;
	bool failed = true;

	available = mem_available();
	for (nth = 1; failed && nth <= MAX_ALLOCATIONS; nth++) {
		int ret;

		if (op->prepare)
			op->prepare(self);
		proc_state_get(&before);
		fail_nth(nth);
		ret = op->call(self);
		failed = fail_end();
		if (ret >= 0) {
			survived += failed;
			if (op->finish)
				op->finish(self, _metadata);
		} else {
			refused++;
			EXPECT_TRUE(failed && as_documented(op, ret))
				TH_LOG("allocation %u: error %d", nth, ret);
			if (op->repair)
				op->repair(self, _metadata);
		}
		proc_state_get(&after);
		EXPECT_TRUE(proc_state_equal(&before, &after))
			TH_LOG("allocation %u, result %d: %+d fds, %+d mappings", nth, ret,
			       (int)(after.fds - before.fds), (int)(after.maps - before.maps));
		ASSERT_TRUE(fail_vm_runs(self))
			TH_LOG("allocation %u: the VM does not go on", nth);
	}
	ASSERT_FALSE(failed);
	TH_LOG("%u allocations failed: %u calls refused, %u came through", refused + survived,
	       refused, survived);
	EXPECT_LT(0, refused + survived);
	if (op->end)
		op->end();
	if (self->template >= 0)
		close(self->template);
	self->template = -1;
	EXPECT_EQ(0, pages_shared(self));
	EXPECT_LT(available - SLACK, available_at_least(available - SLACK));
}

static inline void fail_close_fd(struct fail_vm *self, struct __test_metadata *_metadata)
{
	(void)_metadata;
	close(self->fd);
}

#endif /* _KVMFORK_TEST_FAIL_TRY_H */
