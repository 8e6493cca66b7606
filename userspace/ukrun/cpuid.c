// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM can do, with the numbers that differ from CPU to CPU. All vCPUs
 * are cores of one package, without hyperthreads; vCPU n has APIC id n.
 */
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "log.h"
#include "vcpu.h"
#include "vm.h"

#define ENTRIES_MAX	256
/* That of KVM's LAPIC: one tick is a nanosecond. */
#define LAPIC_KHZ	1000000U

#define CPUID_1_ECX_TSC_DEADLINE	(1U << 24)
#define CPUID_1_ECX_HYPERVISOR		(1U << 31)
#define CPUID_1_EDX_HTT			(1U << 28)

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[ENTRIES_MAX];
};

static struct kvm_cpuid_entry2 *cpuid_find(struct cpuid *cpuid, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry;
	uint32_t i;

	for (i = 0; i < cpuid->head.nent; i++) {
		entry = &cpuid->head.entries[i];
		if (entry->function == function && entry->index == index)
			return entry;
	}
	return NULL;
}

/* One that is new is all zero. */
static struct kvm_cpuid_entry2 *cpuid_get(struct cpuid *cpuid, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry = cpuid_find(cpuid, function, index);

	if (entry)
		return entry;
	if (cpuid->head.nent == ENTRIES_MAX)
		die("/dev/kvm: more than %d CPUID leaves", ENTRIES_MAX);
	entry = &cpuid->head.entries[cpuid->head.nent++];
	memset(entry, 0, sizeof(*entry));
	entry->function = function;
	entry->index = index;
	return entry;
}

static unsigned int cpuid_order(uint32_t n)
{
	unsigned int order = 0;

	while ((1U << order) < n)
		order++;
	return order;
}

/* Extended topology. Level 0: threads, one to a core; level 1: cores; no more. */
static void cpuid_set_levels(struct cpuid *cpuid, uint32_t apic_id, uint32_t nr_cpus)
{
	struct kvm_cpuid_entry2 *entry;
	uint32_t level;

	for (level = 0; level < 3; level++) {
		entry = cpuid_get(cpuid, 0xb, level);
		entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		entry->eax = level == 1 ? cpuid_order(nr_cpus) : 0;
		entry->ebx = level == 0 ? 1 : level == 1 ? nr_cpus : 0;
		entry->ecx = level | (level < 2 ? (level + 1) << 8 : 0);
		entry->edx = apic_id;
	}
}

/* KVM leaves it to us whether there is a timer that only its LAPIC has. */
static void cpuid_set_features(struct vm *vm, struct cpuid *cpuid)
{
	struct kvm_cpuid_entry2 *entry = cpuid_get(cpuid, 1, 0);

	entry->ecx |= CPUID_1_ECX_HYPERVISOR;
	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		entry->ecx |= CPUID_1_ECX_TSC_DEADLINE;
}

static void cpuid_set_topology(struct cpuid *cpuid, uint32_t apic_id, uint32_t nr_cpus)
{
	uint32_t ids = (1U << cpuid_order(nr_cpus)) - 1;
	struct kvm_cpuid_entry2 *entry;
	uint32_t i;

	entry = cpuid_get(cpuid, 1, 0);
	entry->ebx = (entry->ebx & 0xffff) | apic_id << 24 | (ids + 1) << 16;
	entry->edx &= ~CPUID_1_EDX_HTT;
	if (nr_cpus > 1)
		entry->edx |= CPUID_1_EDX_HTT;	/* EBX counts */

	for (i = 0; (entry = cpuid_find(cpuid, 4, i)) && entry->eax & 0x1f; i++) {
		/* The cache of level 3 is everybody's. */
		uint32_t sharing = (entry->eax >> 5 & 7) == 3 ? ids : 0;

		entry->eax = (entry->eax & 0x3fff) | sharing << 14 | ids << 26;
	}
	cpuid_set_levels(cpuid, apic_id, nr_cpus);
	entry = cpuid_find(cpuid, 0x80000008, 0);
	if (entry)
		entry->ecx = cpuid_order(nr_cpus) << 12 | (nr_cpus - 1);
	entry = cpuid_find(cpuid, 0x8000001e, 0);
	if (entry) {
		entry->eax = apic_id;
		entry->ebx = apic_id;		/* core id, one thread to a core */
		entry->ecx = 0;
	}
}

/*
 * Leaf 0x15 says TSC = LAPIC_KHZ * EBX / EAX, which Linux computes in 32 bits:
 * EBX may not be above 4294. The best such fraction is within 1 ppm.
 */
static void cpuid_set_tsc_ratio(struct kvm_cpuid_entry2 *entry, uint32_t tsc_khz)
{
	uint64_t best_error = ~0ULL;
	uint32_t den;

	for (den = 1; den <= 4096; den++) {
		uint64_t num = ((uint64_t)tsc_khz * den + LAPIC_KHZ / 2) / LAPIC_KHZ;
		uint64_t is = num * LAPIC_KHZ * 1024 / den, want = (uint64_t)tsc_khz * 1024;
		uint64_t error = is > want ? is - want : want - is;

		if (num > UINT32_MAX / LAPIC_KHZ)
			break;
		if (num && error < best_error) {
			best_error = error;
			entry->eax = den;
			entry->ebx = num;
		}
	}
	entry->ecx = LAPIC_KHZ * 1000;
	entry->edx = 0;
}

static void cpuid_set_frequencies(struct cpuid *cpuid, uint32_t tsc_khz)
{
	struct kvm_cpuid_entry2 *entry;

	entry = cpuid_get(cpuid, 0, 0);
	if (entry->eax < 0x16)
		entry->eax = 0x16;
	cpuid_set_tsc_ratio(cpuid_get(cpuid, 0x15, 0), tsc_khz);
	entry = cpuid_get(cpuid, 0x16, 0);
	entry->eax = tsc_khz / 1000;
	entry->ebx = tsc_khz / 1000;
	entry->ecx = LAPIC_KHZ / 1000;

	entry = cpuid_find(cpuid, 0x40000000, 0);
	if (!entry)
		return;
	entry->eax = 0x40000010;
	entry = cpuid_get(cpuid, 0x40000010, 0);
	entry->eax = tsc_khz;
	entry->ebx = LAPIC_KHZ;
}

void cpuid_setup(struct vm *vm, struct vcpu *vcpu)
{
	struct cpuid cpuid = { .head.nent = ENTRIES_MAX };
	int tsc_khz;

	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid))
		die_errno("/dev/kvm: KVM_GET_SUPPORTED_CPUID");
	cpuid_set_features(vm, &cpuid);
	cpuid_set_topology(&cpuid, vcpu->index, vm->config.nr_vcpus);
	tsc_khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
	if (tsc_khz > 0)
		cpuid_set_frequencies(&cpuid, tsc_khz);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid))
		die_errno("/dev/kvm: KVM_SET_CPUID2");
}
