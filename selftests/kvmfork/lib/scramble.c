// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "fork.h"
#include "msr.h"
#include "scramble.h"
#include "util.h"

/* Errors are ignored: there are states that not every machine has. */

#define EFER_SVME	0x1000

static enum vm_irqchip irqchip_of(struct vm *vm)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_lapic_state lapic;

	if (!xioctl(vm->vm_fd, KVM_GET_IRQCHIP, &chip))
		return VM_IRQCHIP_KERNEL;
	if (vm->nr_vcpus && !xioctl(vm->vcpus[0].fd, KVM_GET_LAPIC, &lapic))
		return VM_IRQCHIP_SPLIT;
	return VM_IRQCHIP_NONE;
}

/* As far as it has not run: then KVM takes no other one. */
static void scramble_cpuid(struct vcpu *vcpu, struct vcpu *fresh)
{
	struct vcpu_cpuid cpuid;

	if (!vcpu_get_cpuid(fresh, &cpuid))
		xioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid);
}

static void scramble_tsc(struct vcpu *vcpu)
{
	uint64_t offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (unsigned long)&offset,
	};
	long khz = xioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);

	xioctl(vcpu->fd, KVM_SET_TSC_KHZ, (void *)(khz - 3));
	if (xioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr))
		return;
	offset += 1ULL << 40;
	xioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr);
}

/* Real mode, with a base of its own in all that has one. */
static void scramble_sregs(struct vcpu *vcpu, struct vcpu *fresh)
{
	struct kvm_sregs sregs;

	if (xioctl(fresh->fd, KVM_GET_SREGS, &sregs))
		return;
	sregs.cs.base = 0x5a5a0;
	sregs.cs.selector = 0x5a5a;
	sregs.fs.base = 0x5b5b0;
	sregs.gs.limit = 0x5c5c;
	sregs.ldt.base = 0x5d5d0;
	sregs.tr.base = 0x5e5e0;
	sregs.gdt.limit = 0x5f5f;
	sregs.idt.base = 0x60600;
	sregs.cr2 = 0x61610;
	sregs.cr3 = 0x62000;
	sregs.cr8 = 5;
	/* For scramble_nested(); refused where the guest has no SVM. */
	sregs.efer |= EFER_SVME;
	if (!xioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
		return;
	sregs.efer &= ~EFER_SVME;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

static void scramble_fpu(struct vcpu *vcpu, struct vcpu *fresh)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };
	struct kvm_xsave xsave;
	char *area = (char *)xsave.region;

	xioctl(vcpu->fd, KVM_GET_XCRS, &xcrs);
	xcrs.xcrs[0].value = xcrs.xcrs[0].value == 1 ? 3 : 1;
	xioctl(vcpu->fd, KVM_SET_XCRS, &xcrs);
	if (xioctl(fresh->fd, KVM_GET_XSAVE, &xsave))
		return;
	*(uint16_t *)area = 0x77f;	/* FCW: round down */
	memset(area + 160, 0x5a, 256);	/* XMM */
	*(uint64_t *)(area + 512) |= 3;
	xioctl(vcpu->fd, KVM_SET_XSAVE, &xsave);
}

static void scramble_debugregs(struct vcpu *vcpu)
{
	struct kvm_guest_debug guest = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct kvm_debugregs debug = {
		.db = { 0x5a50, 0x5a51, 0x5a52, 0x5a53 }, .dr6 = 0xffff0ff1, .dr7 = 0x402,
	};

	xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug);
	xioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &guest);
}

static void lapic_set(struct kvm_lapic_state *lapic, unsigned int reg, uint32_t value)
{
	memcpy(lapic->regs + reg, &value, sizeof(value));
}

/* Switched on, with a timer that fires all the time. */
static void scramble_lapic(struct vcpu *vcpu, struct vcpu *fresh)
{
	struct kvm_lapic_state lapic;

	if (xioctl(fresh->fd, KVM_GET_LAPIC, &lapic))
		return;
	lapic_set(&lapic, 0x80, 0x50);		/* TPR */
	lapic_set(&lapic, 0xd0, 0x7f000000);	/* LDR */
	lapic_set(&lapic, 0xf0, 0x15a);		/* SPIV */
	lapic_set(&lapic, 0x170, 1 << 10);	/* ISR: vector 0xea */
	lapic_set(&lapic, 0x270, 1 << 11);	/* IRR: vector 0xeb */
	lapic_set(&lapic, 0x350, 0x1005a);	/* LVT0 */
	lapic_set(&lapic, 0x320, 0x200ef);	/* LVTT: periodic */
	lapic_set(&lapic, 0x3e0, 0xb);		/* divide by 1 */
	lapic_set(&lapic, 0x380, 200000);	/* TMICT */
	lapic_set(&lapic, 0x390, 1);		/* TMCCT */
	xioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
}

static void scramble_msrs(struct vcpu *vcpu, struct vcpu *fresh)
{
	uint32_t indices[MSR_LIST_MAX];
	unsigned int nr = msr_list(indices);

	for (unsigned int i = 0; i < nr; i++) {
		uint64_t now, new;

		if (__vcpu_get_msr(vcpu, indices[i], &now) ||
		    __vcpu_get_msr(fresh, indices[i], &new))
			continue;
		if (now == new)
			msr_change(vcpu, indices[i], now);
		else
			__vcpu_set_msr(vcpu, indices[i], new);
	}
}

static void scramble_regs(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	memset(&regs, 0x5a, sizeof(regs));
	regs.rflags = 0xcd7;
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

/* In SMM, with all kinds of events on their way. */
static void scramble_events(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events = {};

	/* With the flags of the capabilities that the VM has. */
	if (xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events))
		return;
	events.exception.injected = 1;
	events.exception.nr = 6;
	events.interrupt.injected = 1;
	events.interrupt.nr = 0x5a;
	events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	events.nmi.masked = !events.nmi.masked;
	events.sipi_vector = 0x5a;
	events.triple_fault.pending = 1;
	events.smi.smm = !events.smi.smm;
	events.smi.latched_init = 1;
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	if (xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events)) {
		/* No SMM. */
		events.flags &= ~KVM_VCPUEVENT_VALID_SMM;
		xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	}
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_SMI, NULL);
}

/* Without GIF on SVM, with VMXON on VMX; or the initial state. */
static void scramble_nested(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_nested_state nested = { .size = sizeof(nested) };
	union {
		struct kvm_nested_state state;
		char room[8192];
	} now = { .state.size = sizeof(now) };

	if (xioctl(vm->vm_fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NESTED_STATE) <= 0 ||
	    xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &now))
		return;
	nested.format = now.state.format;
	if (nested.format == KVM_STATE_NESTED_FORMAT_SVM) {
		nested.flags = now.state.flags ^ KVM_STATE_NESTED_GIF_SET;
		nested.flags &= KVM_STATE_NESTED_GIF_SET;
	} else {
		nested.hdr.vmx.vmxon_pa = now.state.hdr.vmx.vmxon_pa == ~0ULL ? 0x5000 : ~0ULL;
		nested.hdr.vmx.vmcs12_pa = ~0ULL;
	}
	xioctl(vcpu->fd, KVM_SET_NESTED_STATE, &nested);
}

static void scramble_mp_state(struct vcpu *vcpu)
{
	struct kvm_mp_state state;

	if (xioctl(vcpu->fd, KVM_GET_MP_STATE, &state))
		return;
	state.mp_state = state.mp_state == KVM_MP_STATE_HALTED ? KVM_MP_STATE_INIT_RECEIVED :
			 KVM_MP_STATE_HALTED;
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &state);
}

/* What user space tells KVM here. */
static void scramble_run(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	run->request_interrupt_window = !run->request_interrupt_window;
	run->cr8 ^= 3;
	run->apic_base ^= 0x1000;
	run->kvm_valid_regs ^= KVM_SYNC_X86_REGS;
	memset(&run->s.regs.regs, 0x6b, sizeof(run->s.regs.regs));
	run->s.regs.regs.rflags = 2;
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

static void scramble_vcpu(struct vm *vm, struct vcpu *vcpu, struct vcpu *fresh)
{
	scramble_cpuid(vcpu, fresh);
	scramble_tsc(vcpu);
	scramble_sregs(vcpu, fresh);
	scramble_fpu(vcpu, fresh);
	scramble_lapic(vcpu, fresh);
	scramble_msrs(vcpu, fresh);
	scramble_regs(vcpu);
	scramble_debugregs(vcpu);
	scramble_events(vcpu);
	scramble_nested(vm, vcpu);
	scramble_mp_state(vcpu);
	scramble_run(vcpu);
}

/* An interrupt on its way in each, and a timer that fires all the time. */
static void scramble_devices(struct vm *vm)
{
	struct kvm_irqchip chip = {};
	struct kvm_pit_state2 pit;

	for (unsigned int i = KVM_IRQCHIP_PIC_MASTER; i <= KVM_IRQCHIP_PIC_SLAVE; i++) {
		chip.chip_id = i;
		if (xioctl(vm->vm_fd, KVM_GET_IRQCHIP, &chip))
			return;
		chip.chip.pic.irr ^= 0x22;
		chip.chip.pic.imr ^= 0xff;
		chip.chip.pic.irq_base ^= 0x50;
		chip.chip.pic.elcr ^= 0x08;
		xioctl(vm->vm_fd, KVM_SET_IRQCHIP, &chip);
	}
	chip.chip_id = KVM_IRQCHIP_IOAPIC;
	xioctl(vm->vm_fd, KVM_GET_IRQCHIP, &chip);
	chip.chip.ioapic.id ^= 3;
	chip.chip.ioapic.ioregsel ^= 0x15;
	for (int i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		/* Edge, physical destination 0; not masked. */
		chip.chip.ioapic.redirtbl[i].bits = 0x60 + i;
	xioctl(vm->vm_fd, KVM_SET_IRQCHIP, &chip);

	if (xioctl(vm->vm_fd, KVM_GET_PIT2, &pit))
		return;
	for (int i = 0; i < 3; i++) {
		pit.channels[i].count = 0x5a + i;
		pit.channels[i].mode = 2;
		pit.channels[i].rw_mode = 2;
		pit.channels[i].status = 0x5a;
	}
	xioctl(vm->vm_fd, KVM_SET_PIT2, &pit);
}

static void scramble_routing(struct vm *vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry = {
			.gsi = 7, .type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = 0xfee00000, .data = 0x405a },
		},
	};

	xioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, &routing);
}

void vm_scramble_state(struct vm *vm)
{
	struct kvm_clock_data clock = { .clock = 1ULL << 60 };
	struct vm fresh;

	vm_create(&fresh, irqchip_of(vm));
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_add(&fresh, vm->vcpus[i].id);
	scramble_routing(vm);
	xioctl(vm->vm_fd, KVM_SET_CLOCK, &clock);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		scramble_vcpu(vm, &vm->vcpus[i], &fresh.vcpus[i]);
	scramble_devices(vm);
	__vm_trap(vm->attach_fd, KVMFORK_TRAP_UD);
	vm_close(&fresh);
}

static void scramble_page(struct vm_slot *slot, uint64_t offset)
{
	volatile char *page = slot->hva + offset;
	char data[PAGE_SIZE];

	switch (offset / PAGE_SIZE % 5) {
	case 0:
		memset(slot->hva + offset, 0x5a, PAGE_SIZE);
		break;
	case 1:
		memset(data, 0xa5, PAGE_SIZE);
		pwrite(slot->memory_fd, data, PAGE_SIZE, slot->offset + offset);
		break;
	case 2:
		fallocate(slot->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  slot->offset + offset, PAGE_SIZE);
		break;
	case 3:
		(void)*page;
		break;
	}
}

void vm_scramble_memory(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		for (uint64_t offset = 0; offset < vm->slots[i].size; offset += PAGE_SIZE)
			scramble_page(&vm->slots[i], offset);
}

void vm_scramble(struct vm *vm)
{
	/* State first: KVM reads and writes memory when it gets some of it. */
	vm_scramble_state(vm);
	vm_scramble_memory(vm);
}
