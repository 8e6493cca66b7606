// SPDX-License-Identifier: GPL-2.0-only
/* Puts the guest's code, tables and first register values into place. */
#include <string.h>

#include "util.h"
#include "vm.h"

/* Bounds of the section, made by the linker. */
extern const char __start_guest_text[], __stop_guest_text[];

/* Guest code for tests to which any will do. */
void __guest guest_count(uint64_t arg)
{
	for (;;) {
		guest_write64(GUEST_DATA, ++arg);
		guest_sync(arg);
	}
}

uint64_t guest_address(const void *guest_fn)
{
	const char *code = guest_fn;

	TEST_REQUIRE(code >= __start_guest_text && code < __stop_guest_text,
		     "a function that is not guest code");
	return GUEST_CODE + (code - __start_guest_text);
}

static void guest_load_page_tables(struct vm *vm)
{
	uint64_t *pml4 = vm_hva(vm, GUEST_PML4);
	uint64_t *pdpt = vm_hva(vm, GUEST_PDPT);
	uint64_t *pd = vm_hva(vm, GUEST_PD);

	pml4[0] = GUEST_PDPT | 3;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (GUEST_PD + i * PAGE_SIZE) | 3;
	/* Accessed and dirty already, so that the walk writes nothing. */
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i << 21 | 0xe3;
}

void vm_load_guest(struct vm *vm)
{
	size_t size = __stop_guest_text - __start_guest_text;
	uint64_t *gdt = vm_hva(vm, GUEST_GDT);

	TEST_REQUIRE(size <= GUEST_CODE_MAX, "too much guest code");
	guest_load_page_tables(vm);
	gdt[GUEST_CS / 8] = 0x00af9b000000ffffULL;
	gdt[GUEST_DS / 8] = 0x00cf93000000ffffULL;
	memcpy(vm_hva(vm, GUEST_CODE), __start_guest_text, size);
}

void vm_set_handler(struct vm *vm, unsigned int vector, const void *guest_fn)
{
	uint64_t *gate = (uint64_t *)vm_hva(vm, GUEST_IDT) + 2 * vector;
	uint64_t address = guest_address(guest_fn);

	gate[0] = (address & 0xffff) | (uint64_t)GUEST_CS << 16 | 0x8eULL << 40 |
		  (address >> 16 & 0xffff) << 48;
	gate[1] = address >> 32;
}

static void vcpu_set_segments(struct kvm_sregs *sregs)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = GUEST_CS, .type = 11,
		.present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = GUEST_DS, .type = 3,
		.present = 1, .s = 1, .db = 1, .g = 1,
	};

	sregs->cs = code;
	sregs->ds = data;
	sregs->es = data;
	sregs->fs = data;
	sregs->gs = data;
	sregs->ss = data;
	sregs->tr = (struct kvm_segment) {
		.base = GUEST_TSS, .limit = 0x67, .type = 11, .present = 1,
	};
	sregs->ldt = (struct kvm_segment) { .unusable = 1 };
	sregs->gdt = (struct kvm_dtable) { .base = GUEST_GDT, .limit = 0x17 };
	sregs->idt = (struct kvm_dtable) { .base = GUEST_IDT, .limit = 0xfff };
}

void vcpu_start(struct vcpu *vcpu, unsigned int index, void (*guest_fn)(uint64_t arg),
		uint64_t arg)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs = {
		.rip = guest_address(guest_fn),
		/* As after a call. */
		.rsp = GUEST_STACK + (index + 1) * PAGE_SIZE - 8,
		.rdi = arg,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS: %m");
	vcpu_set_segments(&sregs);
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = 0x620;		/* PAE, OSFXSR, OSXMMEXCPT */
	sregs.cr0 = 0x80000033;		/* PG, NE, ET, MP, PE */
	sregs.efer = 0x500;		/* LMA, LME */
	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS: %m");
	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_SET_REGS, &regs), "KVM_SET_REGS: %m");
	/* Without a LAPIC in the kernel there is no other state. */
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable);
}
