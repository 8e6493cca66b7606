// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every capability that can be enabled on a VM: found in the child with the value
 * that the parent was given, or refused by name. KVM tells nobody what they are set
 * to, so it is read from exported states, of both; caps.c has what some of them do.
 */
#include <linux/kvm_para.h>

#include "fork.h"
#include "harness.h"
#include "save.h"

#define MSR_PLATFORM_INFO	0xce

#ifndef KVM_CAP_X86_APIC_BUS_CYCLES_NS
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS	237
#endif

static int enable(int fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap args = { .cap = cap, .args = { arg } };

	return xioctl(fd, KVM_ENABLE_CAP, &args);
}

FIXTURE(cap) {
	struct vm plain, vm, child;
};

FIXTURE_VARIANT(cap) {
	uint32_t cap;
	uint64_t arg;
	uint32_t kept_as;	/* 0: @cap */
	bool masked;		/* KVM_CHECK_EXTENSION says which bits there are */
};

FIXTURE_VARIANT_ADD(cap, disable_quirks) {
	.cap = KVM_CAP_DISABLE_QUIRKS, .arg = KVM_X86_QUIRK_LINT0_REENABLED,
};
FIXTURE_VARIANT_ADD(cap, disable_quirks2) {
	.cap = KVM_CAP_DISABLE_QUIRKS2, .arg = KVM_X86_QUIRK_OUT_7E_INC_RIP,
	.kept_as = KVM_CAP_DISABLE_QUIRKS, .masked = true,
};
FIXTURE_VARIANT_ADD(cap, x2apic_api) {
	.cap = KVM_CAP_X2APIC_API,
	.arg = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
	.masked = true,
};
FIXTURE_VARIANT_ADD(cap, x86_disable_exits) {
	.cap = KVM_CAP_X86_DISABLE_EXITS,
	.arg = KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE, .masked = true,
};
FIXTURE_VARIANT_ADD(cap, msr_platform_info) { .cap = KVM_CAP_MSR_PLATFORM_INFO, .arg = 0 };
FIXTURE_VARIANT_ADD(cap, exception_payload) { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .arg = 1 };
FIXTURE_VARIANT_ADD(cap, x86_triple_fault_event) {
	.cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .arg = 1,
};
FIXTURE_VARIANT_ADD(cap, x86_user_space_msr) {
	.cap = KVM_CAP_X86_USER_SPACE_MSR,
	.arg = KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL, .masked = true,
};
FIXTURE_VARIANT_ADD(cap, x86_bus_lock_exit) {
	.cap = KVM_CAP_X86_BUS_LOCK_EXIT, .arg = KVM_BUS_LOCK_DETECTION_EXIT, .masked = true,
};
FIXTURE_VARIANT_ADD(cap, exit_hypercall) {
	.cap = KVM_CAP_EXIT_HYPERCALL, .arg = 1 << KVM_HC_MAP_GPA_RANGE, .masked = true,
};
FIXTURE_VARIANT_ADD(cap, exit_on_emulation_failure) {
	.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .arg = 1,
};
FIXTURE_VARIANT_ADD(cap, pmu_capability) {
	.cap = KVM_CAP_PMU_CAPABILITY, .arg = KVM_PMU_CAP_DISABLE, .masked = true,
};
FIXTURE_VARIANT_ADD(cap, x86_notify_vmexit) {
	.cap = KVM_CAP_X86_NOTIFY_VMEXIT,
	.arg = 5000ULL << 32 | KVM_X86_NOTIFY_VMEXIT_ENABLED | KVM_X86_NOTIFY_VMEXIT_USER,
};
FIXTURE_VARIANT_ADD(cap, vm_disable_nx_huge_pages) {
	.cap = KVM_CAP_VM_DISABLE_NX_HUGE_PAGES, .arg = 0,
};
FIXTURE_VARIANT_ADD(cap, x86_apic_bus_cycles_ns) {
	.cap = KVM_CAP_X86_APIC_BUS_CYCLES_NS, .arg = 25,
};
FIXTURE_VARIANT_ADD(cap, manual_dirty_log_protect2) {
	.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .arg = 1, .masked = true,
};
FIXTURE_VARIANT_ADD(cap, max_vcpu_id) { .cap = KVM_CAP_MAX_VCPU_ID, .arg = 5 };
FIXTURE_VARIANT_ADD(cap, halt_poll) { .cap = KVM_CAP_HALT_POLL, .arg = 12345 };

/* Some have to be enabled before there is a vCPU. */
static int make_vm(struct vm *vm, uint32_t cap, uint64_t arg)
{
	int ret = 0;

	vm_create(vm, VM_IRQCHIP_KERNEL);
	if (cap)
		ret = enable(vm->vm_fd, cap, arg);
	vm_memory_add(vm, 0, 0, GUEST_MEMORY);
	vm_load_guest(vm);
	vcpu_add(vm, 0);
	vcpu_start(&vm->vcpus[0], 0, guest_count, 0);
	vm->attach_fd = vm_attach(vm->vm_fd);
	return ret;
}

/* What the capability is set to. */
static uint64_t value_of(struct vm *vm, uint32_t cap)
{
	struct kvmfork_state_record *record;
	struct kvmfork_state_cap *caps;
	uint64_t value = 0;
	struct blob blob;
	bool found = false;
	int fd = vm_freeze(vm);

	template_export(fd, &blob);
	record = blob_find(&blob, KVMFORK_STATE_CAPS, KVMFORK_STATE_VM);
	caps = blob_payload(record);
	for (unsigned int i = 0; i < record->size / sizeof(*caps); i++) {
		if (caps[i].cap != cap)
			continue;
		value = caps[i].value;
		found = true;
	}
	free(blob.bytes);
	close(fd);
	TEST_REQUIRE(found, "capability %u is in no state", cap);
	return value;
}

FIXTURE_SETUP(cap)
{
	int has = kvm_check_cap(variant->cap);

	if (has <= 0)
		SKIP(return, "KVM does not have it here");
	if (variant->masked && variant->arg & ~has)
		SKIP(return, "KVM has 0x%x of it here", has);
	ASSERT_EQ(0, make_vm(&self->plain, 0, 0));
	if (make_vm(&self->vm, variant->cap, variant->arg))
		SKIP(return, "it cannot be enabled here");
}

FIXTURE_TEARDOWN(cap)
{
	vm_close(&self->vm);
	vm_close(&self->plain);
}

TEST_F(cap, carried)
{
	uint32_t cap = variant->kept_as ?: variant->cap;
	uint64_t plain = value_of(&self->plain, cap), value = value_of(&self->vm, cap);

	ASSERT_NE(plain, value);
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(value, value_of(&self->child, cap));
	EXPECT_EQ(value, value_of(&self->vm, cap));
	EXPECT_EQ(1, vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC));
	vm_close(&self->child);
}

/* It cannot be taken back from a VM, nor given to one that has vCPUs. */
TEST_F(cap, tells_shapes_apart)
{
	int template = vm_freeze(&self->vm);
	struct reset_call call;

	reset_call_init(&call, &self->plain, template);
	EXPECT_EQ(-ESTALE, reset_call_run(&call, self->plain.attach_fd));
	EXPECT_TRUE(strstr(call.message, "KVM_CAP_")) TH_LOG("%s", call.message);
	EXPECT_EQ(1, vcpu_run_to_port(&self->plain.vcpus[0], PORT_SYNC));
	close(template);
}

/* What some of them do that no other test looks at. */

static void __guest guest_read_msr(uint64_t arg)
{
	guest_rdmsr(arg);
	guest_sync(1);
}

GUEST_HANDLER(gp_handler, 13, 1, 2);

TEST(platform_info_is_hidden)
{
	struct vm vm, child;

	make_vm(&vm, KVM_CAP_MSR_PLATFORM_INFO, 0);
	vm_set_handler(&vm, 13, gp_handler);
	vcpu_start(&vm.vcpus[0], 0, guest_read_msr, MSR_PLATFORM_INFO);
	vm_fork(&vm, &child);
	EXPECT_EQ(13, vcpu_run_to_port(&child.vcpus[0], PORT_TRAP));
	EXPECT_EQ(1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	vm_close(&child);
	vm_close(&vm);
}

TEST(max_vcpu_id_is_kept)
{
	struct vm vm, child;

	if (kvm_check_cap(KVM_CAP_MAX_VCPU_ID) <= 0 || make_vm(&vm, KVM_CAP_MAX_VCPU_ID, 5))
		SKIP(return, "no KVM_CAP_MAX_VCPU_ID");
	vm_fork(&vm, &child);
	EXPECT_EQ(-EINVAL, xioctl(child.vm_fd, KVM_CREATE_VCPU, (void *)5L));
	EXPECT_LE(0, xioctl(child.vm_fd, KVM_CREATE_VCPU, (void *)4L));
	vm_close(&child);
	vm_close(&vm);
}

static void __guest guest_hypercall(uint64_t arg)
{
	uint64_t ret = KVM_HC_MAP_GPA_RANGE;

	/* KVM makes it the other vendor's when it has to. */
	__asm__ volatile("vmcall" : "+a"(ret) : "b"(arg), "c"(1UL), "d"(0UL) : "memory");
	guest_sync(ret);
}

TEST(hypercall_exits)
{
	struct kvm_run *run;
	struct vm vm, child;

	if (!(kvm_check_cap(KVM_CAP_EXIT_HYPERCALL) & 1 << KVM_HC_MAP_GPA_RANGE))
		SKIP(return, "no KVM_CAP_EXIT_HYPERCALL");
	ASSERT_EQ(0, make_vm(&vm, KVM_CAP_EXIT_HYPERCALL, 1 << KVM_HC_MAP_GPA_RANGE));
	vcpu_start(&vm.vcpus[0], 0, guest_hypercall, 0x5000);
	vm_fork(&vm, &child);
	run = child.vcpus[0].run;
	vcpu_run(&child.vcpus[0]);
	ASSERT_EQ(KVM_EXIT_HYPERCALL, run->exit_reason);
	EXPECT_EQ(KVM_HC_MAP_GPA_RANGE, run->hypercall.nr);
	EXPECT_EQ(0x5000, run->hypercall.args[0]);
	/* The second half of it, too: the answer is for both. */
	run->hypercall.ret = 77;
	vm_close(&vm);
	vm_fork(&child, &vm);
	EXPECT_EQ(77, vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC));
	EXPECT_EQ(77, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	vm_close(&child);
	vm_close(&vm);
}

FIXTURE(refused) {
	struct vm vm;
};

FIXTURE_VARIANT(refused) {
	/* False: this machine has no such thing. */
	bool (*set)(struct vm *vm);
	const char *name;
};

static bool has_and_enable(int fd, uint32_t cap, uint64_t arg)
{
	return kvm_check_cap(cap) > 0 && !enable(fd, cap, arg);
}

static bool set_dirty_ring(struct vm *vm)
{
	return has_and_enable(vm->vm_fd, KVM_CAP_DIRTY_LOG_RING, 65536) ||
	       has_and_enable(vm->vm_fd, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 65536);
}
FIXTURE_VARIANT_ADD(refused, dirty_log_ring) {
	.set = set_dirty_ring, .name = "KVM_CAP_DIRTY_LOG_RING",
};

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

	return !xioctl(vm->vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
}
FIXTURE_VARIANT_ADD(refused, msr_filter) {
	.set = set_msr_filter, .name = "KVM_X86_SET_MSR_FILTER",
};

static bool set_pmu_event_filter(struct vm *vm)
{
	struct {
		struct kvm_pmu_event_filter head;
		uint64_t event;
	} filter = { .head = { .action = KVM_PMU_EVENT_DENY, .nevents = 1 }, .event = 0xc0 };

	return !xioctl(vm->vm_fd, KVM_SET_PMU_EVENT_FILTER, &filter);
}
FIXTURE_VARIANT_ADD(refused, pmu_event_filter) {
	.set = set_pmu_event_filter, .name = "KVM_SET_PMU_EVENT_FILTER",
};

static bool set_xen(struct vm *vm)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL, .msr = 0x40000200,
	};

	return !xioctl(vm->vm_fd, KVM_XEN_HVM_CONFIG, &config);
}
FIXTURE_VARIANT_ADD(refused, xen_hvm_config) { .set = set_xen, .name = "KVM_XEN_HVM_CONFIG" };

static bool set_synic(struct vm *vm)
{
	return has_and_enable(vm->vcpus[0].fd, KVM_CAP_HYPERV_SYNIC2, 0);
}
/* The new vCPU does not take what is in its control register then. */
FIXTURE_VARIANT_ADD(refused, hyperv_synic2) { .set = set_synic, .name = "MSR 0x40000080" };

/* CPUID of Hyper-V. */
static bool set_hyperv(struct vm *vm)
{
	struct vcpu_cpuid cpuid;

	TEST_REQUIRE(!vcpu_get_cpuid(&vm->vcpus[0], &cpuid), "KVM_GET_CPUID2: %m");
	cpuid.entries[cpuid.head.nent++] = (struct kvm_cpuid_entry2) {
		.function = 0x40000001, .eax = 0x31237648,	/* "Hv#1" */
	};
	for (unsigned int i = 0; i + 1 < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 0x40000001)
			cpuid.entries[i] = cpuid.entries[--cpuid.head.nent];
	return !xioctl(vm->vcpus[0].fd, KVM_SET_CPUID2, &cpuid) &&
	       !__vcpu_set_msr(&vm->vcpus[0], 0x40000000, 0x8100000000001);
}
FIXTURE_VARIANT_ADD(refused, hyperv) { .set = set_hyperv, .name = "Hyper-V" };

static bool set_hyperv_route(struct vm *vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry = { .gsi = 40, .type = KVM_IRQ_ROUTING_HV_SINT },
	};

	return !xioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, &routing);
}
FIXTURE_VARIANT_ADD(refused, hyperv_route) { .set = set_hyperv_route, .name = "GSI 40" };

static bool set_tpr_reporting(struct vm *vm)
{
	struct kvm_tpr_access_ctl ctl = { .enabled = 1 };

	return !xioctl(vm->vcpus[0].fd, KVM_TPR_ACCESS_REPORTING, &ctl);
}
FIXTURE_VARIANT_ADD(refused, tpr_access_reporting) {
	.set = set_tpr_reporting, .name = "KVM_TPR_ACCESS_REPORTING",
};

static bool set_vapic_addr(struct vm *vm)
{
	struct kvm_vapic_addr addr = { .vapic_addr = GUEST_DATA + PAGE_SIZE };

	return !xioctl(vm->vcpus[0].fd, KVM_SET_VAPIC_ADDR, &addr);
}
FIXTURE_VARIANT_ADD(refused, vapic_addr) {
	.set = set_vapic_addr, .name = "KVM_SET_VAPIC_ADDR",
};

FIXTURE_SETUP(refused)
{
	ASSERT_EQ(0, make_vm(&self->vm, 0, 0));
}

FIXTURE_TEARDOWN(refused)
{
	vm_close(&self->vm);
}

TEST_F(refused, by_name)
{
	struct fork_call call;
	struct vm child;

	vm_fork(&self->vm, &child);
	vm_close(&child);
	if (!variant->set(&self->vm))
		SKIP(return, "there is no such thing here");
	fork_call_init(&call, &self->vm);
	EXPECT_EQ(-EOPNOTSUPP, fork_call_fork(&call, self->vm.attach_fd));
	EXPECT_TRUE(strstr(call.message, variant->name)) TH_LOG("%s", call.message);
	/* The VM goes on. */
	if (strcmp(variant->name, "KVM_CAP_DIRTY_LOG_RING"))
		EXPECT_EQ(1, vcpu_run_to_port(&self->vm.vcpus[0], PORT_SYNC));
}

TEST_HARNESS_MAIN
