// SPDX-License-Identifier: GPL-2.0-only
/*
 * Capabilities that a VM or vCPU has been given change what it does, and KVM
 * has no getter for them. Each must be there in the child, or the fork must say
 * EOPNOTSUPP and name it; never be left out.
 */
#include <signal.h>
#include <sys/time.h>

#include "access.h"
#include "fork.h"
#include "harness.h"
#include "state.h"

static void __guest guest_unknown_msr(uint64_t arg)
{
	guest_sync(guest_rdmsr(arg) + 1);
}

static int enable(int fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap args = { .cap = cap, .args = { arg } };

	return xioctl(fd, KVM_ENABLE_CAP, &args);
}

static bool set_vm_cap(struct vm *vm, uint32_t cap, uint64_t arg)
{
	return kvm_check_cap(cap) > 0 && !enable(vm->vm_fd, cap, arg);
}

/* Accesses of MSRs that KVM does not know exit to user space. */
static bool set_user_space_msr(struct vm *vm)
{
	vcpu_start(&vm->vcpus[0], 0, guest_unknown_msr, 0x12345678);
	return set_vm_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN);
}

static bool has_user_space_msr(struct vm *vm)
{
	struct kvm_run *run = vm->vcpus[0].run;

	vcpu_run(&vm->vcpus[0]);
	return run->exit_reason == KVM_EXIT_X86_RDMSR && run->msr.index == 0x12345678;
}

static bool set_msr_filter(struct vm *vm)
{
	static uint8_t denied[8];
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_READ, .base = 0xc0000082, .nmsrs = 8,
			.bitmap = denied,
		},
	};

	vcpu_start(&vm->vcpus[0], 0, guest_unknown_msr, 0xc0000082);
	return set_vm_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER) &&
	       !xioctl(vm->vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
}

static bool has_msr_filter(struct vm *vm)
{
	vcpu_run(&vm->vcpus[0]);
	return vm->vcpus[0].run->exit_reason == KVM_EXIT_X86_RDMSR;
}

static bool set_x2apic_api(struct vm *vm)
{
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;

	if (!set_vm_cap(vm, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS))
		return false;
	xioctl(vm->vcpus[1].fd, KVM_GET_SREGS, &sregs);
	sregs.apic_base |= 0xc00;
	return !xioctl(vm->vcpus[1].fd, KVM_SET_SREGS, &sregs) &&
	       !xioctl(vm->vcpus[1].fd, KVM_GET_LAPIC, &lapic) && lapic.regs[0x20] == 1;
}

/* The id is in the low byte then, not in the high one. */
static bool has_x2apic_api(struct vm *vm)
{
	struct kvm_lapic_state lapic;

	return !xioctl(vm->vcpus[1].fd, KVM_GET_LAPIC, &lapic) && lapic.regs[0x20] == 1;
}

static bool set_exception_payload(struct vm *vm)
{
	return set_vm_cap(vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
}

static bool has_exception_payload(struct vm *vm)
{
	struct kvm_vcpu_events events;

	return !xioctl(vm->vcpus[0].fd, KVM_GET_VCPU_EVENTS, &events) &&
	       events.flags & KVM_VCPUEVENT_VALID_PAYLOAD;
}

static bool set_triple_fault(struct vm *vm)
{
	return set_vm_cap(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
}

static bool has_triple_fault(struct vm *vm)
{
	struct kvm_vcpu_events events;

	return !xioctl(vm->vcpus[0].fd, KVM_GET_VCPU_EVENTS, &events) &&
	       events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
}

static bool set_manual_dirty_log(struct vm *vm)
{
	return set_vm_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1);
}

/* Reading the log does not clear it then. */
static bool has_manual_dirty_log(struct vm *vm)
{
	uint64_t bitmap[GUEST_MEMORY / PAGE_SIZE / 64] = {};
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
	unsigned int page = GUEST_DATA / PAGE_SIZE;

	TEST_REQUIRE(!__vm_slot_set(vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, GUEST_MEMORY,
				    vm->slots[0].hva), "dirty logging: %m");
	access_write(vm, ACCESS_GUEST, GUEST_DATA, 1);
	for (int i = 0; i < 2; i++)
		TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &log), "dirty log: %m");
	return bitmap[page / 64] & 1ULL << page % 64;
}

static void __guest guest_pv_msr(uint64_t arg)
{
	guest_sync(guest_rdmsr(arg));
}

GUEST_HANDLER(gp_handler, 13, 1, 2);

/* kvmclock's MSR is not there for a guest whose CPUID does not show it. */
static bool set_enforce_pv(struct vm *vm)
{
	struct vcpu_cpuid cpuid;

	vm_set_handler(vm, 13, gp_handler);
	vcpu_start(&vm->vcpus[0], 0, guest_pv_msr, 0x4b564d01);
	if (kvm_check_cap(KVM_CAP_ENFORCE_PV_FEATURE_CPUID) <= 0 ||
	    enable(vm->vcpus[0].fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1) ||
	    vcpu_get_cpuid(&vm->vcpus[0], &cpuid))
		return false;
	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 0x40000001)
			cpuid.entries[i].eax = 0;
	return !xioctl(vm->vcpus[0].fd, KVM_SET_CPUID2, &cpuid);
}

static bool has_enforce_pv(struct vm *vm)
{
	struct vcpu *vcpu = &vm->vcpus[0];

	vcpu_run(vcpu);
	return vcpu->run->exit_reason == KVM_EXIT_IO && vcpu->run->io.port == PORT_TRAP &&
	       *(uint32_t *)vcpu_pio_data(vcpu) == 13;
}

static bool set_hyperv_synic(struct vm *vm)
{
	return kvm_check_cap(KVM_CAP_HYPERV_SYNIC2) > 0 &&
	       !enable(vm->vcpus[0].fd, KVM_CAP_HYPERV_SYNIC2, 0) &&
	       !__vcpu_set_msr(&vm->vcpus[0], 0x40000080, 1);
}

static bool has_hyperv_synic(struct vm *vm)
{
	uint64_t value;

	return !__vcpu_get_msr(&vm->vcpus[0], 0x40000080, &value) && value == 1;
}

static const struct {
	const char *name;
	bool (*set)(struct vm *vm);
	bool (*has)(struct vm *vm);
} caps[] = {
	{ "X86_USER_SPACE_MSR", set_user_space_msr, has_user_space_msr },
	{ "X86_SET_MSR_FILTER", set_msr_filter, has_msr_filter },
	{ "X2APIC_API", set_x2apic_api, has_x2apic_api },
	{ "EXCEPTION_PAYLOAD", set_exception_payload, has_exception_payload },
	{ "X86_TRIPLE_FAULT_EVENT", set_triple_fault, has_triple_fault },
	{ "MANUAL_DIRTY_LOG_PROTECT2", set_manual_dirty_log, has_manual_dirty_log },
	{ "ENFORCE_PV_FEATURE_CPUID", set_enforce_pv, has_enforce_pv },
	{ "HYPERV_SYNIC2", set_hyperv_synic, has_hyperv_synic },
};

/* One capability: carried, refused by name, or (wrong) left out. */
static void try_cap(struct __test_metadata *_metadata, size_t i)
{
	struct fork_call call;
	struct vm vm, child;
	int ret;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 2);
	if (!caps[i].set(&vm)) {
		TH_LOG("%s: not here", caps[i].name);
		vm_close(&vm);
		return;
	}
	fork_call_init(&call, &vm);
	ret = fork_call_fork(&call, vm.attach_fd);
	if (ret) {
		EXPECT_EQ(-EOPNOTSUPP, ret);
		EXPECT_NE(0, call.message[0]);
		TH_LOG("%s: refused: %s", caps[i].name, call.message);
	} else {
		fork_call_child(&call, &vm, &child);
		/* The test must be able to see it at all. */
		EXPECT_TRUE(caps[i].has(&child))
			TH_LOG("%s was left out", caps[i].name);
		EXPECT_TRUE(caps[i].has(&vm))
			TH_LOG("%s is not seen in the parent", caps[i].name);
		TH_LOG("%s: carried", caps[i].name);
		vm_close(&child);
	}
	vm_close(&vm);
}

TEST(carried_or_refused)
{
	for (size_t i = 0; i < ARRAY_LENGTH(caps); i++)
		try_cap(_metadata, i);
}

/* What tests of a capability see where it was never given. */
TEST(not_there_unasked)
{
	struct vm vm;

	for (size_t i = 2; i < ARRAY_LENGTH(caps); i++) {
		vm_create_default(&vm, VM_IRQCHIP_KERNEL, 2);
		if (caps[i].has == has_enforce_pv) {
			vm_set_handler(&vm, 13, gp_handler);
			vcpu_start(&vm.vcpus[0], 0, guest_pv_msr, 0x4b564d01);
		}
		EXPECT_FALSE(caps[i].has(&vm))
			TH_LOG("%s", caps[i].name);
		vm_close(&vm);
	}
}

/* With interrupts on: Bochs would not wake up for its host's otherwise. */
static void __guest guest_halt_for_ever(uint64_t arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("sti; hlt");
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* HLT is user space's at once, or keeps the vCPU in the guest. */
static bool halt_exits(struct vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval moment = { .it_value.tv_usec = 300000 }, off = {};
	int ret;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &moment, NULL);
	ret = __vcpu_run(vcpu);
	setitimer(ITIMER_REAL, &off, NULL);
	return !ret && vcpu->run->exit_reason == KVM_EXIT_HLT;
}

/* Exits are switched off before there are vCPUs. */
TEST(disabled_exits)
{
	struct fork_call call;
	struct vm vm, child;
	int ret;

	vm_create(&vm, VM_IRQCHIP_NONE);
	if (!(kvm_check_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT) ||
	    enable(vm.vm_fd, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT))
		SKIP(return, "no KVM_CAP_X86_DISABLE_EXITS");
	vm_memory_add(&vm, 0, 0, GUEST_MEMORY);
	vm_load_guest(&vm);
	vcpu_add(&vm, 0);
	vcpu_start(&vm.vcpus[0], 0, guest_halt_for_ever, 0);
	vm.attach_fd = vm_attach(vm.vm_fd);
	fork_call_init(&call, &vm);
	ret = fork_call_fork(&call, vm.attach_fd);
	if (ret) {
		EXPECT_EQ(-EOPNOTSUPP, ret);
		EXPECT_NE(0, call.message[0]);
	} else {
		fork_call_child(&call, &vm, &child);
		EXPECT_FALSE(halt_exits(&child.vcpus[0]));
		EXPECT_FALSE(halt_exits(&vm.vcpus[0]));
		vm_close(&child);
	}
	vm_close(&vm);
}

TEST(exits_not_disabled)
{
	struct vm vm, child;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_halt_for_ever, 0);
	vm_fork(&vm, &child);
	EXPECT_TRUE(halt_exits(&child.vcpus[0]));
	EXPECT_TRUE(halt_exits(&vm.vcpus[0]));
	vm_close(&child);
	vm_close(&vm);
}

/* A guest that itself has switched virtualization on. */
TEST(nested_state)
{
	static struct state before, after;
	struct kvm_sregs sregs;
	struct fork_call call;
	struct vm vm, child;
	int ret;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&vm.vcpus[0], 0, guest_count, 0);
	if (kvm_check_cap(KVM_CAP_NESTED_STATE) <= 0)
		SKIP(return, "no nested state");
	xioctl(vm.vcpus[0].fd, KVM_GET_SREGS, &sregs);
	if (cpu_is_amd())
		sregs.efer |= 1 << 12;		/* SVME */
	else
		sregs.cr4 |= 1 << 13;		/* VMXE */
	if (xioctl(vm.vcpus[0].fd, KVM_SET_SREGS, &sregs))
		SKIP(return, "no nested virtualization");
	state_get(&vm, &vm.vcpus[0], STATE_NESTED, &before);
	fork_call_init(&call, &vm);
	ret = fork_call_fork(&call, vm.attach_fd);
	if (ret) {
		EXPECT_EQ(-EOPNOTSUPP, ret);
		EXPECT_NE(0, call.message[0]);
	} else {
		fork_call_child(&call, &vm, &child);
		state_get(&child, &child.vcpus[0], STATE_NESTED, &after);
		EXPECT_TRUE(state_equal(&before, &after));
		EXPECT_EQ(1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
		vm_close(&child);
	}
	vm_close(&vm);
}

/* 6.1 keeps bits that it does not know, and refuses them by another call. */
TEST(quirks_that_are_none)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DISABLE_QUIRKS,
		.args[0] = KVM_X86_QUIRK_LINT0_REENABLED | 1ULL << 40,
	};
	struct vm vm, child;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 1);
	ASSERT_EQ(0, xioctl(vm.vm_fd, KVM_ENABLE_CAP, &cap));
	vm_fork(&vm, &child);
	vm_close(&child);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
