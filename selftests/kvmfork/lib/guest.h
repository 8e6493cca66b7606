/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest code: C functions of the test program itself, put into a section of
 * their own which is copied to GUEST_CODE and runs there in 64-bit mode. They
 * may call each other, and use nothing else of the program: no libc, no
 * variables, no string literals. The Makefile's flags keep the compiler from
 * making tables and calls of its own.
 */
#ifndef _KVMFORK_TEST_GUEST_H
#define _KVMFORK_TEST_GUEST_H

#include <stdint.h>

/* Guest-physical = guest-virtual addresses; vm.c lays this out. */
#define GUEST_PML4	0x1000
#define GUEST_PDPT	0x2000
#define GUEST_PD	0x3000	/* four pages: 4 GiB in 2 MiB pages */
#define GUEST_GDT	0x7000
#define GUEST_IDT	0x8000
#define GUEST_TSS	0x9000
#define GUEST_CODE	0x10000
#define GUEST_CODE_MAX	0x10000
#define GUEST_STACK	0x20000	/* one page per vCPU, growing down to it */
#define GUEST_DATA	0x40000	/* the test's own, up to the end */
#define GUEST_MEMORY	(4UL << 20)
#define GUEST_MMIO	0x10000000UL
#define GUEST_LAPIC	0xfee00000UL

#define GUEST_CS	0x08
#define GUEST_DS	0x10

/* Ports by which the guest talks to the test. */
#define PORT_SYNC	0x0f10	/* "I am here", with a number */
#define PORT_TRAP	0x0f20	/* an exception came; the number is the vector */
#define PORT_DATA	0x0f30	/* input for the guest */

#define __guest		__attribute__((section("guest_text"), noinline, used))
#define __guest_inline	__attribute__((always_inline))

static inline __guest_inline void guest_outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline __guest_inline uint32_t guest_inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline __guest_inline void guest_sync(uint32_t value)
{
	guest_outl(PORT_SYNC, value);
}

static inline __guest_inline uint64_t guest_rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline __guest_inline uint64_t guest_rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static inline __guest_inline void guest_wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value),
			 "d"((uint32_t)(value >> 32)) : "memory");
}

static inline __guest_inline void guest_write64(uint64_t address, uint64_t value)
{
	*(volatile uint64_t *)address = value;
}

static inline __guest_inline uint64_t guest_read64(uint64_t address)
{
	return *(volatile uint64_t *)address;
}

static inline __guest_inline void guest_write32(uint64_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static inline __guest_inline uint32_t guest_read32(uint64_t address)
{
	return *(volatile uint32_t *)address;
}

/* Says arg + 1, arg + 2, … on PORT_SYNC and leaves it at GUEST_DATA. */
void guest_count(uint64_t arg);

/*
 * An interrupt or exception handler: says VECTOR on PORT_TRAP, steps over
 * SKIP bytes at the return address (after popping an error code if there is
 * one), returns. To be placed at file level.
 */
#define GUEST_HANDLER(name, vector, has_error_code, skip)			\
	extern const char name[];						\
	__asm__(".pushsection guest_text, \"ax\"\n"				\
		".balign 16\n"							\
		#name ":\n"							\
		".if " #has_error_code "\n"					\
		"	add $8, %rsp\n"						\
		".endif\n"							\
		"	push %rax\n"						\
		"	push %rdx\n"						\
		"	mov $" #vector ", %eax\n"				\
		"	mov $0x0f20, %edx\n"					\
		"	out %eax, %dx\n"					\
		"	pop %rdx\n"						\
		"	pop %rax\n"						\
		"	addq $" #skip ", (%rsp)\n"				\
		"	iretq\n"						\
		".popsection\n")

#endif /* _KVMFORK_TEST_GUEST_H */
