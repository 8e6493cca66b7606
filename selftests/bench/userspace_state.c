// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "userspace_state.h"
#include "util.h"

#define MSR_IA32_TSC	0x10

/* Plain pairs of calls, in an order in which they can be set. */
struct pair {
	const char *name;
	unsigned long get, set;
	size_t offset;
};

#define VCPU_PAIR(state, member)						\
	{ #state, KVM_GET_##state, KVM_SET_##state,				\
	  offsetof(struct userspace_vcpu, member) }
#define VM_PAIR(state, member)							\
	{ #state, KVM_GET_##state, KVM_SET_##state,				\
	  offsetof(struct userspace_state, member) }

static const struct pair vcpu_pairs[] = {
	VCPU_PAIR(SREGS2, sregs2),
	VCPU_PAIR(XCRS, xcrs),
	VCPU_PAIR(XSAVE, xsave),
	VCPU_PAIR(DEBUGREGS, debugregs),
	VCPU_PAIR(LAPIC, lapic),
	/* The MSRs come here: the TSC deadline needs the LAPIC's timer mode. */
	VCPU_PAIR(REGS, regs),
	VCPU_PAIR(VCPU_EVENTS, events),
	VCPU_PAIR(MP_STATE, mp_state),
};

#define PAIRS_BEFORE_MSRS	5

static const struct pair vm_pairs[] = {
	VM_PAIR(IRQCHIP, irqchips[0]),
	VM_PAIR(IRQCHIP, irqchips[1]),
	VM_PAIR(IRQCHIP, irqchips[2]),
	VM_PAIR(PIT2, pit),
};

static void pair_get(const struct pair *pair, int fd, void *state)
{
	int ret = xioctl(fd, pair->get, (char *)state + pair->offset);

	TEST_REQUIRE(ret >= 0, "KVM_GET_%s: %s", pair->name, strerror(-ret));
}

static void pair_set(const struct pair *pair, int fd, const void *state)
{
	int ret = xioctl(fd, pair->set, (const char *)state + pair->offset);

	TEST_REQUIRE(ret >= 0, "KVM_SET_%s: %s", pair->name, strerror(-ret));
}

static void tsc_offset_call(int fd, unsigned long cmd, uint64_t *offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (unsigned long)offset,
	};

	TEST_REQUIRE(!xioctl(fd, cmd, &attr), "KVM_VCPU_TSC_OFFSET: %m");
}

static void msrs_init(struct userspace_vcpu *state, struct vcpu *vcpu)
{
	struct {
		struct kvm_msr_list head;
		uint32_t indices[1024];
	} list = { .head.nmsrs = ARRAY_LENGTH(list.indices) };
	uint64_t value;

	TEST_REQUIRE(!xioctl(kvm_device(), KVM_GET_MSR_INDEX_LIST, &list),
		     "KVM_GET_MSR_INDEX_LIST: %m");
	state->msrs.head.nmsrs = 0;
	for (uint32_t i = 0; i < list.head.nmsrs; i++) {
		uint32_t index = list.indices[i];

		/* The TSC is told by its offset. */
		if (index == MSR_IA32_TSC || __vcpu_get_msr(vcpu, index, &value) ||
		    __vcpu_set_msr(vcpu, index, value))
			continue;
		TEST_REQUIRE(state->msrs.head.nmsrs < USERSPACE_MAX_MSRS, "too many MSRs");
		state->msrs.entries[state->msrs.head.nmsrs++].index = index;
	}
}

static void msrs_call(int fd, unsigned long cmd, const struct userspace_vcpu *state)
{
	int ret = xioctl(fd, cmd, &state->msrs);

	TEST_REQUIRE(ret == (int)state->msrs.head.nmsrs, "%d of %u MSRs", ret,
		     state->msrs.head.nmsrs);
}

void userspace_state_init(struct userspace_state *state, struct vm *vm)
{
	memset(state, 0, sizeof(*state));
	for (unsigned int i = 0; i < ARRAY_LENGTH(state->irqchips); i++)
		state->irqchips[i].chip_id = i;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		TEST_REQUIRE(!vcpu_get_cpuid(&vm->vcpus[i], &state->vcpus[i].cpuid),
			     "KVM_GET_CPUID2: %m");
		msrs_init(&state->vcpus[i], &vm->vcpus[i]);
	}
}

static void vcpu_save(struct userspace_vcpu *state, struct vcpu *vcpu)
{
	__vcpu_complete_io(vcpu);
	tsc_offset_call(vcpu->fd, KVM_GET_DEVICE_ATTR, &state->tsc_offset);
	for (size_t i = 0; i < ARRAY_LENGTH(vcpu_pairs); i++)
		pair_get(&vcpu_pairs[i], vcpu->fd, state);
	msrs_call(vcpu->fd, KVM_GET_MSRS, state);
}

void userspace_state_save(struct userspace_state *state, struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_save(&state->vcpus[i], &vm->vcpus[i]);
	for (size_t i = 0; i < ARRAY_LENGTH(vm_pairs); i++)
		pair_get(&vm_pairs[i], vm->vm_fd, state);
	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_GET_CLOCK, &state->clock), "KVM_GET_CLOCK: %m");
	state->clock.flags &= KVM_CLOCK_REALTIME;
}

static void vcpu_load(const struct userspace_vcpu *state, struct vcpu *vcpu)
{
	uint64_t tsc_offset = state->tsc_offset;

	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_SET_CPUID2, &state->cpuid), "KVM_SET_CPUID2: %m");
	tsc_offset_call(vcpu->fd, KVM_SET_DEVICE_ATTR, &tsc_offset);
	for (size_t i = 0; i < ARRAY_LENGTH(vcpu_pairs); i++) {
		if (i == PAIRS_BEFORE_MSRS)
			msrs_call(vcpu->fd, KVM_SET_MSRS, state);
		pair_set(&vcpu_pairs[i], vcpu->fd, state);
	}
}

void userspace_state_load(const struct userspace_state *state, struct vm *vm,
			  unsigned int nr_vcpus)
{
	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_SET_CLOCK, &state->clock), "KVM_SET_CLOCK: %m");
	for (unsigned int id = 0; id < nr_vcpus; id++) {
		int fd = xioctl(vm->vm_fd, KVM_CREATE_VCPU, (void *)(unsigned long)id);

		TEST_REQUIRE(fd >= 0, "KVM_CREATE_VCPU %u: %m", id);
		vcpu_map(&vm->vcpus[id], id, fd);
		vcpu_load(&state->vcpus[id], &vm->vcpus[id]);
		vm->nr_vcpus++;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(vm_pairs); i++)
		pair_set(&vm_pairs[i], vm->vm_fd, state);
}
