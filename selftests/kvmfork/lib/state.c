// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>

#include "state.h"
#include "util.h"

#define APIC_TMCCT	0x390

static const struct {
	const char *name;
	unsigned long get;
	unsigned int size;
} states[STATES] = {
	[STATE_REGS] = { "REGS", KVM_GET_REGS, sizeof(struct kvm_regs) },
	[STATE_SREGS] = { "SREGS", KVM_GET_SREGS, sizeof(struct kvm_sregs) },
	[STATE_SREGS2] = { "SREGS2", KVM_GET_SREGS2, sizeof(struct kvm_sregs2) },
	[STATE_XCRS] = { "XCRS", KVM_GET_XCRS, sizeof(struct kvm_xcrs) },
	[STATE_XSAVE] = { "XSAVE", KVM_GET_XSAVE, sizeof(struct kvm_xsave) },
	[STATE_FPU] = { "FPU", KVM_GET_FPU, sizeof(struct kvm_fpu) },
	[STATE_DEBUGREGS] = { "DEBUGREGS", KVM_GET_DEBUGREGS, sizeof(struct kvm_debugregs) },
	[STATE_LAPIC] = { "LAPIC", KVM_GET_LAPIC, sizeof(struct kvm_lapic_state) },
	[STATE_MP_STATE] = { "MP_STATE", KVM_GET_MP_STATE, sizeof(struct kvm_mp_state) },
	[STATE_EVENTS] = { "VCPU_EVENTS", KVM_GET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events) },
	[STATE_CPUID] = { "CPUID2", KVM_GET_CPUID2, sizeof(struct vcpu_cpuid) },
	[STATE_TSC_KHZ] = { "TSC_KHZ", KVM_GET_TSC_KHZ, sizeof(int) },
	[STATE_TSC_OFFSET] = { "TSC_OFFSET", KVM_GET_DEVICE_ATTR, sizeof(uint64_t) },
	[STATE_NESTED] = { "NESTED_STATE", KVM_GET_NESTED_STATE, sizeof(struct kvm_nested_state) },
	[STATE_PIC_MASTER] = { "PIC master", KVM_GET_IRQCHIP, sizeof(struct kvm_irqchip) },
	[STATE_PIC_SLAVE] = { "PIC slave", KVM_GET_IRQCHIP, sizeof(struct kvm_irqchip) },
	[STATE_IOAPIC] = { "IOAPIC", KVM_GET_IRQCHIP, sizeof(struct kvm_irqchip) },
	[STATE_PIT] = { "PIT2", KVM_GET_PIT2, sizeof(struct kvm_pit_state2) },
};

const char *state_name(enum state_id id)
{
	return states[id].name;
}

static int state_call(struct vm *vm, struct vcpu *vcpu, enum state_id id, void *data)
{
	struct kvm_device_attr offset = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (unsigned long)data,
	};
	int ret;

	switch (id) {
	case STATE_TSC_KHZ:
		ret = xioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
		*(int *)data = ret;
		return ret < 0 ? ret : 0;
	case STATE_TSC_OFFSET:
		return xioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &offset);
	case STATE_NESTED:
		/* 4 KiB or 8 KiB of vendor data behind the head. */
		((struct kvm_nested_state *)data)->size = 8192;
		return xioctl(vcpu->fd, KVM_GET_NESTED_STATE, data);
	case STATE_CPUID:
		return vcpu_get_cpuid(vcpu, data);
	case STATE_PIC_MASTER:
	case STATE_PIC_SLAVE:
	case STATE_IOAPIC:
		((struct kvm_irqchip *)data)->chip_id = id - STATE_PIC_MASTER;
		return xioctl(vm->vm_fd, KVM_GET_IRQCHIP, data);
	case STATE_PIT:
		return xioctl(vm->vm_fd, KVM_GET_PIT2, data);
	default:
		return xioctl(vcpu->fd, states[id].get, data);
	}
}

/* What runs on between two looks. */
static void state_still(enum state_id id, void *data)
{
	if (id == STATE_LAPIC)
		memset((char *)data + APIC_TMCCT, 0, 4);
	if (id == STATE_PIT)
		for (int i = 0; i < 3; i++)
			((struct kvm_pit_state2 *)data)->channels[i].count_load_time = 0;
}

void state_get(struct vm *vm, struct vcpu *vcpu, enum state_id id, struct state *state)
{
	memset(state, 0, sizeof(*state));
	if (id < STATE_VCPU_END && !vcpu)
		return;
	if (state_call(vm, vcpu, id, state->data) < 0)
		return;
	state->size = states[id].size;
	if (id == STATE_NESTED)
		state->size = ((struct kvm_nested_state *)state->data)->size;
	state_still(id, state->data);
}

bool state_equal(const struct state *a, const struct state *b)
{
	return a->size == b->size && !memcmp(a->data, b->data, a->size);
}

void state_image_get(struct vm *vm, unsigned int index, struct state_image *image)
{
	struct vcpu *vcpu = index < vm->nr_vcpus ? &vm->vcpus[index] : NULL;

	for (int id = 0; id < STATES; id++)
		state_get(vm, vcpu, id, &image->states[id]);
}

static void state_report(enum state_id id, const struct state *a, const struct state *b)
{
	unsigned int said = 0;

	if (a->size != b->size) {
		fprintf(stderr, "# %s: %u bytes, and %u\n", states[id].name, a->size, b->size);
		return;
	}
	for (unsigned int i = 0; i < a->size && said < 8; i++) {
		if (a->data[i] == b->data[i])
			continue;
		fprintf(stderr, "# %s: byte 0x%x is 0x%02x, and 0x%02x\n", states[id].name, i,
			a->data[i], b->data[i]);
		said++;
	}
}

unsigned int state_image_compare(const struct state_image *a, const struct state_image *b)
{
	unsigned int different = 0;

	for (int id = 0; id < STATES; id++) {
		if (state_equal(&a->states[id], &b->states[id]))
			continue;
		state_report(id, &a->states[id], &b->states[id]);
		different++;
	}
	return different;
}
