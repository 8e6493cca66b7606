// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "boot/boot.h"
#include "boot/image.h"
#include "log.h"
#include "vcpu.h"

#define GIB			(1ULL << 30)

#define PTE_PRESENT		(1ULL << 0)
#define PTE_WRITE		(1ULL << 1)
#define PTE_HUGE		(1ULL << 7)

#define CR0_PE			(1ULL << 0)
#define CR0_MP			(1ULL << 1)
#define CR0_ET			(1ULL << 4)
#define CR0_NE			(1ULL << 5)
#define CR0_PG			(1ULL << 31)
#define CR4_PAE			(1ULL << 5)
#define CR4_OSFXSR		(1ULL << 9)
#define CR4_OSXMMEXCPT		(1ULL << 10)
#define EFER_LME		(1ULL << 8)
#define EFER_LMA		(1ULL << 10)
#define RFLAGS_ONE		(1ULL << 1)

/* Linux asks for these two, __BOOT_CS and __BOOT_DS. */
#define SELECTOR_CODE		0x10
#define SELECTOR_DATA		0x18
#define SELECTOR_TSS		0x20

#define DESCRIPTOR_CODE32	0x00cf9b000000ffffULL
#define DESCRIPTOR_CODE64	0x00af9b000000ffffULL
#define DESCRIPTOR_DATA		0x00cf93000000ffffULL
#define DESCRIPTOR_TSS		0x00008b0000000067ULL

/* Identity, in 2 MiB pages: 4 GiB, or all RAM when that reaches higher. */
static void boot_put_page_tables(struct vm *vm)
{
	uint64_t end = MEMORY_HIGH_START + vm->memory.size - vm->memory.low;
	uint64_t gibs = (end + GIB - 1) / GIB;
	uint64_t *pml4 = memory_at(vm, LOW_PAGE_TABLES, (2 + gibs) << 12);
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512;
	uint64_t i;

	_Static_assert(LOW_PAGE_TABLES + ((2 + 4 + MEMORY_SIZE_MAX / GIB) << 12) <= LOW_STACK,
		       "page tables do not fit");
	pml4[0] = (LOW_PAGE_TABLES + 0x1000) | PTE_PRESENT | PTE_WRITE;
	for (i = 0; i < gibs; i++)
		pdpt[i] = (LOW_PAGE_TABLES + 0x2000 + (i << 12)) | PTE_PRESENT | PTE_WRITE;
	for (i = 0; i < gibs * 512; i++)
		pd[i] = i << 21 | PTE_PRESENT | PTE_WRITE | PTE_HUGE;
}

static void boot_put_gdt(struct vm *vm, bool long_mode)
{
	uint64_t *gdt = memory_at(vm, LOW_GDT, SELECTOR_TSS + 16);

	gdt[SELECTOR_CODE / 8] = long_mode ? DESCRIPTOR_CODE64 : DESCRIPTOR_CODE32;
	gdt[SELECTOR_DATA / 8] = DESCRIPTOR_DATA;
	gdt[SELECTOR_TSS / 8] = DESCRIPTOR_TSS;
}

static void boot_set_sregs(struct vcpu *vcpu, bool long_mode)
{
	struct kvm_segment code = {
		.limit = ~0U, .selector = SELECTOR_CODE, .type = 0xb, .present = 1,
		.db = !long_mode, .l = long_mode, .s = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = ~0U, .selector = SELECTOR_DATA, .type = 3, .present = 1,
		.db = 1, .s = 1, .g = 1,
	};
	struct kvm_segment task = {
		.limit = 0x67, .selector = SELECTOR_TSS, .type = 0xb, .present = 1,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		die_errno("/dev/kvm: KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.tr = task;
	sregs.gdt.base = LOW_GDT;
	sregs.gdt.limit = SELECTOR_TSS + 16 - 1;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (long_mode) {
		/* SSE works from the first instruction: compilers use it. */
		sregs.cr0 |= CR0_PG | CR0_MP;
		sregs.cr3 = LOW_PAGE_TABLES;
		sregs.cr4 |= CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
		sregs.efer |= EFER_LME | EFER_LMA;
	}
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
		die_errno("/dev/kvm: KVM_SET_SREGS");
}

void boot_setup(struct vm *vm, const struct boot *boot)
{
	struct vcpu *vcpu = &vm->vcpus[0];
	struct kvm_regs regs = {
		.rip = boot->rip, .rsp = boot->rsp, .rflags = RFLAGS_ONE, .rax = boot->rax,
		.rbx = boot->rbx, .rdx = boot->rdx, .rsi = boot->rsi, .rdi = boot->rdi,
	};

	if (boot->long_mode)
		boot_put_page_tables(vm);
	boot_put_gdt(vm, boot->long_mode);
	boot_set_sregs(vcpu, boot->long_mode);
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs))
		die_errno("/dev/kvm: KVM_SET_REGS");
	vm_log(vm, "starts at 0x%llx, %s", (unsigned long long)boot->rip,
	       boot->long_mode ? "64-bit" : "32-bit");
}
