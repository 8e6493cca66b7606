// SPDX-License-Identifier: GPL-2.0-only
#include "msr.h"
#include "util.h"

#define MSR_TSC		0x10
#define MSR_EFER	0xc0000080

#define HYPERV_FIRST	0x40000000
#define HYPERV_LAST	0x4000ffff

static bool msr_is_left_alone(uint32_t index)
{
	return index == MSR_TSC || index == MSR_EFER ||
	       (index >= HYPERV_FIRST && index <= HYPERV_LAST);
}

unsigned int msr_list(uint32_t *indices)
{
	struct {
		struct kvm_msr_list head;
		uint32_t indices[MSR_LIST_MAX];
	} list = { .head.nmsrs = MSR_LIST_MAX };
	unsigned int nr = 0;

	TEST_REQUIRE(!xioctl(kvm_device(), KVM_GET_MSR_INDEX_LIST, &list),
		     "KVM_GET_MSR_INDEX_LIST: %m");
	for (unsigned int i = 0; i < list.head.nmsrs; i++)
		if (!msr_is_left_alone(list.indices[i]))
			indices[nr++] = list.indices[i];
	return nr;
}

bool msr_change(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	const uint64_t values[] = {
		/* An address, with enable bits as kvmclock and others want. */
		GUEST_DATA | 1, GUEST_DATA | 0x41, GUEST_DATA, 0xffff888012345678, 0x12345678,
		value ^ 1, value ^ 2, value ^ 4, value ^ 0x100, value ^ 0x800,
		value ^ (1ULL << 40), value + 1, 0x0606060606060606, 0x30, 0x10001, 0,
	};
	uint64_t now;

	for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
		if (values[i] == value || __vcpu_set_msr(vcpu, index, values[i]))
			continue;
		if (!__vcpu_get_msr(vcpu, index, &now) && now != value)
			return true;
	}
	return false;
}
