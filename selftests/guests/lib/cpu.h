/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptor tables, traps, interrupt controllers, time, other vCPUs. */
#ifndef _CPU_H
#define _CPU_H

#include <stdbool.h>
#include <stdint.h>

/* As pushed by trap_common and the CPU. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

#define VECTOR_DB	1
#define VECTOR_NMI	2
#define VECTOR_UD	6
#define VECTOR_GP	13

/* Selectors of the guests' own GDT. */
#define SEL_CODE	0x08
#define SEL_DATA	0x10
#define SEL_USER_DATA	0x23
#define SEL_USER_CODE	0x2b
#define SEL_TSS		0x30
#define SEL_LDT		0x40
#define SEL_DATA_A	0x50
#define SEL_DATA_B	0x58
/* One data segment in the LDT. */
#define SEL_LDT_DATA	0x04
#define GDT_BYTES	0x60

/* The guests' own GDT, IDT and TSS, on this vCPU. The TSS is the BSP's. */
void cpu_tables_init(void);
void cpu_tables_load(void);
/* The stack for traps from CPL 3. */
void cpu_set_rsp0(uint64_t rsp);

/* NULL: a trap of this vector ends the guest with a message. */
void trap_set(unsigned int vector, void (*handler)(struct trap_frame *));
/* Lets CPL 3 reach @vector by `int`. */
void trap_allow_user(unsigned int vector);

/* False when the MSR does not exist or refuses the value. */
bool rdmsr_safe(uint32_t msr, uint64_t *v);
bool wrmsr_safe(uint32_t msr, uint64_t v);

#define LAPIC_ID	0x020
#define LAPIC_VER	0x030
#define LAPIC_TPR	0x080
#define LAPIC_EOI	0x0b0
#define LAPIC_LDR	0x0d0
#define LAPIC_DFR	0x0e0
#define LAPIC_SVR	0x0f0
#define LAPIC_ISR	0x100
#define LAPIC_TMR	0x180
#define LAPIC_IRR	0x200
#define LAPIC_ESR	0x280
#define LAPIC_ICR	0x300
#define LAPIC_ICR2	0x310
#define LAPIC_LVTT	0x320
#define LAPIC_LVTTHMR	0x330
#define LAPIC_LVTPC	0x340
#define LAPIC_LVT0	0x350
#define LAPIC_LVT1	0x360
#define LAPIC_LVTERR	0x370
#define LAPIC_TMICT	0x380
#define LAPIC_TMCCT	0x390
#define LAPIC_TDCR	0x3e0

#define LVT_MASKED	(1U << 16)
#define LVTT_PERIODIC	(1U << 17)
#define LVTT_DEADLINE	(2U << 17)
#define TDCR_BY_1	0xb

#define IPI_FIXED	0x000
#define IPI_NMI		0x400
#define IPI_INIT	0x500
#define IPI_STARTUP	0x600
#define IPI_ASSERT	0x4000

uint32_t lapic_read(unsigned int reg);
void lapic_write(unsigned int reg, uint32_t v);
/* One of the eight-register bit maps at ISR, TMR, IRR. */
bool lapic_bit(unsigned int map, unsigned int vector);
void lapic_eoi(void);
void lapic_enable(void);
void lapic_ipi(unsigned int apic_id, uint32_t command);

/* Both 8259s at @base and @base + 8, all masked. */
void pic_init(unsigned int base);
void pic_mask(uint16_t mask);
uint16_t pic_get_mask(void);
void pic_eoi(unsigned int irq);

uint32_t ioapic_read(unsigned int reg);
void ioapic_write(unsigned int reg, uint32_t v);

/* Cycles of the TSC in a millisecond. */
uint64_t tsc_per_ms(void);
void delay_ms(unsigned int ms);

#define SMP_MAX		8
/* This vCPU; its APIC id. */
unsigned int smp_id(void);
/* Starts vCPU @cpu in @fn, returns when it runs. */
bool smp_start(unsigned int cpu, void (*fn)(unsigned int cpu));

/*
 * Page tables of the guest's own: 4 GiB identity, 2 MiB pages, open to CPL 3.
 * Returns what CR3 wants.
 */
uint64_t user_page_tables(void);

#endif
