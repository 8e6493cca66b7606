// SPDX-License-Identifier: GPL-2.0-only
#include "util.h"
#include "vmx.h"

#define MSR_FEAT_CTL		0x3a
#define FEAT_CTL_LOCKED		(1 << 0)
#define FEAT_CTL_VMXON		(1 << 2)
#define MSR_VMX_BASIC		0x480
#define MSR_VMX_PINBASED	0x481
#define MSR_VMX_PROCBASED	0x482
#define MSR_VMX_EXIT		0x483
#define MSR_VMX_ENTRY		0x484

#define CR4_VMXE		(1UL << 13)

/* 64-bit mode of L1 at exits, and of L2 at entries. */
#define EXIT_HOST_64BIT		(1 << 9)
#define ENTRY_GUEST_64BIT	(1 << 9)

/* Of the Intel SDM, volume 3, appendix B. */
enum vmcs_field {
	GUEST_ES_SELECTOR = 0x800, GUEST_TR_SELECTOR = 0x80e,
	HOST_ES_SELECTOR = 0xc00, HOST_CS_SELECTOR = 0xc02, HOST_SS_SELECTOR = 0xc04,
	HOST_DS_SELECTOR = 0xc06, HOST_FS_SELECTOR = 0xc08, HOST_GS_SELECTOR = 0xc0a,
	HOST_TR_SELECTOR = 0xc0c,
	VMCS_LINK_POINTER = 0x2800,
	PINBASED_CONTROLS = 0x4000, PROCBASED_CONTROLS = 0x4002, EXCEPTION_BITMAP = 0x4004,
	CR3_TARGETS = 0x400a, EXIT_CONTROLS = 0x400c, EXIT_MSR_STORES = 0x400e,
	EXIT_MSR_LOADS = 0x4010, ENTRY_CONTROLS = 0x4012, ENTRY_MSR_LOADS = 0x4014,
	ENTRY_INTERRUPTION = 0x4016, EXIT_REASON = 0x4402,
	GUEST_ES_LIMIT = 0x4800, GUEST_GDTR_LIMIT = 0x4810, GUEST_IDTR_LIMIT = 0x4812,
	GUEST_ES_RIGHTS = 0x4814, GUEST_INTERRUPTIBILITY = 0x4824, GUEST_ACTIVITY = 0x4826,
	GUEST_SYSENTER_CS = 0x482a, HOST_SYSENTER_CS = 0x4c00,
	CR0_MASK = 0x6000, CR4_MASK = 0x6002,
	GUEST_CR0 = 0x6800, GUEST_CR3 = 0x6802, GUEST_CR4 = 0x6804, GUEST_ES_BASE = 0x6806,
	GUEST_GDTR_BASE = 0x6816, GUEST_IDTR_BASE = 0x6818, GUEST_DR7 = 0x681a,
	GUEST_RSP = 0x681c, GUEST_RIP = 0x681e, GUEST_RFLAGS = 0x6820,
	GUEST_PENDING_DEBUG = 0x6822, GUEST_SYSENTER_ESP = 0x6824, GUEST_SYSENTER_EIP = 0x6826,
	HOST_CR0 = 0x6c00, HOST_CR3 = 0x6c02, HOST_CR4 = 0x6c04, HOST_FS_BASE = 0x6c06,
	HOST_GS_BASE = 0x6c08, HOST_TR_BASE = 0x6c0a, HOST_GDTR_BASE = 0x6c0c,
	HOST_IDTR_BASE = 0x6c0e, HOST_SYSENTER_ESP = 0x6c10, HOST_SYSENTER_EIP = 0x6c12,
	HOST_RSP = 0x6c14, HOST_RIP = 0x6c16,
};

/* Offsets of a segment's fields from those of ES: in the order ES to GS, LDTR, TR. */
#define SEGMENT_CS	1
#define SEGMENT_LDTR	6
#define SEGMENT_TR	7

bool vcpu_allow_vmx(struct vcpu *vcpu)
{
	struct vcpu_cpuid cpuid;

	TEST_REQUIRE(!vcpu_get_cpuid(vcpu, &cpuid), "KVM_GET_CPUID2: %m");
	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 1 && cpuid.entries[i].ecx & 1 << 5)
			return !__vcpu_set_msr(vcpu, MSR_FEAT_CTL, FEAT_CTL_LOCKED | FEAT_CTL_VMXON);
	return false;
}

static inline __guest_inline void vmwrite(uint64_t field, uint64_t value)
{
	__asm__ volatile("vmwrite %1, %0" : : "r"(field), "r"(value) : "cc", "memory");
}

static inline __guest_inline uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}

static inline __guest_inline uint64_t read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}

/* What must be set, and of @wanted what may be. */
static inline __guest_inline void write_controls(uint64_t field, uint32_t msr, uint32_t wanted)
{
	uint64_t allowed = guest_rdmsr(msr);

	vmwrite(field, (wanted | (uint32_t)allowed) & allowed >> 32);
}

static inline __guest_inline void write_segment(uint64_t nr, uint64_t selector, uint64_t rights,
						uint64_t limit, uint64_t base)
{
	vmwrite(GUEST_ES_SELECTOR + 2 * nr, selector);
	vmwrite(GUEST_ES_RIGHTS + 2 * nr, rights);
	vmwrite(GUEST_ES_LIMIT + 2 * nr, limit);
	vmwrite(GUEST_ES_BASE + 2 * nr, base);
}

static inline __guest_inline void write_guest_state(uint64_t l2)
{
	for (uint64_t nr = 0; nr < SEGMENT_LDTR; nr++)
		write_segment(nr, nr == SEGMENT_CS ? GUEST_CS : GUEST_DS,
			      nr == SEGMENT_CS ? 0xa09b : 0xc093, 0xffffffff, 0);
	write_segment(SEGMENT_LDTR, 0, 0x10000, 0, 0);
	write_segment(SEGMENT_TR, 0, 0x8b, 0x67, GUEST_TSS);
	vmwrite(GUEST_GDTR_BASE, GUEST_GDT);
	vmwrite(GUEST_GDTR_LIMIT, 0x17);
	vmwrite(GUEST_IDTR_BASE, GUEST_IDT);
	vmwrite(GUEST_IDTR_LIMIT, 0xfff);
	vmwrite(GUEST_CR0, read_cr0());
	vmwrite(GUEST_CR3, GUEST_PML4);
	vmwrite(GUEST_CR4, read_cr4());
	vmwrite(GUEST_DR7, 0x400);
	vmwrite(GUEST_RSP, VMX_L2_STACK - 8);
	vmwrite(GUEST_RIP, l2);
	vmwrite(GUEST_RFLAGS, 2);
	vmwrite(GUEST_INTERRUPTIBILITY, 0);
	vmwrite(GUEST_ACTIVITY, 0);
	vmwrite(GUEST_PENDING_DEBUG, 0);
	vmwrite(GUEST_SYSENTER_CS, 0);
	vmwrite(GUEST_SYSENTER_ESP, 0);
	vmwrite(GUEST_SYSENTER_EIP, 0);
	vmwrite(VMCS_LINK_POINTER, -1);
}

static inline __guest_inline void write_host_state(void)
{
	vmwrite(HOST_ES_SELECTOR, GUEST_DS);
	vmwrite(HOST_CS_SELECTOR, GUEST_CS);
	vmwrite(HOST_SS_SELECTOR, GUEST_DS);
	vmwrite(HOST_DS_SELECTOR, GUEST_DS);
	vmwrite(HOST_FS_SELECTOR, 0);
	vmwrite(HOST_GS_SELECTOR, 0);
	/* It must not be 0, and nobody looks at what is there. */
	vmwrite(HOST_TR_SELECTOR, GUEST_DS + 8);
	vmwrite(HOST_CR0, read_cr0());
	vmwrite(HOST_CR3, GUEST_PML4);
	vmwrite(HOST_CR4, read_cr4());
	vmwrite(HOST_FS_BASE, 0);
	vmwrite(HOST_GS_BASE, 0);
	vmwrite(HOST_TR_BASE, GUEST_TSS);
	vmwrite(HOST_GDTR_BASE, GUEST_GDT);
	vmwrite(HOST_IDTR_BASE, GUEST_IDT);
	vmwrite(HOST_SYSENTER_CS, 0);
	vmwrite(HOST_SYSENTER_ESP, 0);
	vmwrite(HOST_SYSENTER_EIP, 0);
}

static inline __guest_inline void write_all_controls(void)
{
	write_controls(PINBASED_CONTROLS, MSR_VMX_PINBASED, 0);
	write_controls(PROCBASED_CONTROLS, MSR_VMX_PROCBASED, 0);
	write_controls(EXIT_CONTROLS, MSR_VMX_EXIT, EXIT_HOST_64BIT);
	write_controls(ENTRY_CONTROLS, MSR_VMX_ENTRY, ENTRY_GUEST_64BIT);
	vmwrite(EXCEPTION_BITMAP, 0);
	vmwrite(CR3_TARGETS, 0);
	vmwrite(EXIT_MSR_STORES, 0);
	vmwrite(EXIT_MSR_LOADS, 0);
	vmwrite(ENTRY_MSR_LOADS, 0);
	vmwrite(ENTRY_INTERRUPTION, 0);
	vmwrite(CR0_MASK, 0);
	vmwrite(CR4_MASK, 0);
}

void __guest guest_vmx_prepare(uint64_t l2)
{
	uint64_t region = VMX_REGION, vmcs = VMX_REGION + PAGE_SIZE;
	uint32_t revision = guest_rdmsr(MSR_VMX_BASIC);

	__asm__ volatile("mov %0, %%cr4" : : "r"(read_cr4() | CR4_VMXE) : "memory");
	guest_write32(region, revision);
	guest_write32(vmcs, revision);
	__asm__ volatile("vmxon %0" : : "m"(region) : "cc", "memory");
	__asm__ volatile("vmclear %0" : : "m"(vmcs) : "cc", "memory");
	__asm__ volatile("vmptrld %0" : : "m"(vmcs) : "cc", "memory");
	write_all_controls();
	write_guest_state(l2);
	write_host_state();
}

/* All registers are L2's afterwards, but for rip and rsp. */
uint32_t __guest guest_vmx_launch(void)
{
	uint64_t reason = 0;

	__asm__ volatile("sub $128, %%rsp\n\t"
			 "push %%rbp\n\t"
			 "mov %1, %%eax\n\t"
			 "vmwrite %%rsp, %%rax\n\t"
			 "mov %2, %%eax\n\t"
			 "lea 1f(%%rip), %%rcx\n\t"
			 "vmwrite %%rcx, %%rax\n\t"
			 "vmlaunch\n"
			 "1:\n\t"
			 "pop %%rbp\n\t"
			 "add $128, %%rsp\n\t"
			 "mov %3, %%ecx\n\t"
			 "vmread %%rcx, %%rax"
			 : "=a"(reason)
			 : "i"(HOST_RSP), "i"(HOST_RIP), "i"(EXIT_REASON)
			 : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			   "r13", "r14", "r15", "memory", "cc");
	return reason;
}
