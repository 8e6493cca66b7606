// SPDX-License-Identifier: GPL-2.0-only
/* GDT, IDT, TSS, traps, page tables that CPL 3 may use. */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset_mid;
	uint32_t offset_high;
	uint32_t reserved;
} __packed;

struct table_register {
	uint16_t limit;
	uint64_t base;
} __packed;

extern char trap_stubs[];

static struct gate idt[256];
static void (*handlers[256])(struct trap_frame *);
static uint8_t tss[104] __aligned(16);
static uint64_t ldt[1] = { 0x00cf93000000ffff };

static uint64_t gdt[GDT_BYTES / 8] = {
	[SEL_CODE / 8] = 0x00af9b000000ffff,
	[SEL_DATA / 8] = 0x00cf93000000ffff,
	[SEL_USER_DATA / 8] = 0x00cff3000000ffff,
	[SEL_USER_CODE / 8] = 0x00affb000000ffff,
	[SEL_DATA_A / 8] = 0x00cf93000000ffff,
	[SEL_DATA_B / 8] = 0x00cf93000000ffff,
};

static uint64_t tables[6][512] __aligned(4096);

void trap_entry(struct trap_frame *frame);

void trap_entry(struct trap_frame *frame)
{
	if (handlers[frame->vector]) {
		handlers[frame->vector](frame);
		return;
	}
	say("FAIL: unexpected trap %lu, error 0x%lx, rip 0x%lx, cr2 0x%lx",
	    frame->vector, frame->error, frame->rip, read_cr2());
	guest_exit(GUEST_FAILED);
}

void trap_set(unsigned int vector, void (*handler)(struct trap_frame *))
{
	WRITE_ONCE(handlers[vector], handler);
}

void trap_allow_user(unsigned int vector)
{
	idt[vector].type = 0xee;
}

/* A system descriptor takes two slots in long mode. */
static void set_system_descriptor(unsigned int sel, void *base, uint32_t limit,
				  uint64_t type)
{
	uint64_t addr = (uint64_t)base;

	gdt[sel / 8] = (limit & 0xffff) | (addr & 0xffffff) << 16 | type << 40 |
		       (addr >> 24 & 0xff) << 56;
	gdt[sel / 8 + 1] = addr >> 32;
}

void cpu_set_rsp0(uint64_t rsp)
{
	memcpy(tss + 4, &rsp, sizeof(rsp));
}

void cpu_tables_load(void)
{
	struct table_register g = { sizeof(gdt) - 1, (uint64_t)gdt };
	struct table_register i = { sizeof(idt) - 1, (uint64_t)idt };

	asm volatile("lgdt %0\n\t"
		     "lidt %1\n\t"
		     "pushq %2\n\t"
		     "leaq 1f(%%rip), %%rax\n\t"
		     "pushq %%rax\n\t"
		     "lretq\n"
		     "1:\n\t"
		     "movl %3, %%eax\n\t"
		     "movw %%ax, %%ss\n\t"
		     "movw %%ax, %%ds\n\t"
		     "movw %%ax, %%es\n\t"
		     "movw %%ax, %%fs\n\t"
		     "movw %%ax, %%gs\n\t"
		     : : "m"(g), "m"(i), "i"(SEL_CODE), "i"(SEL_DATA)
		     : "rax", "memory");
}

void cpu_tables_init(void)
{
	for (unsigned int v = 0; v < 256; v++) {
		uint64_t stub = (uint64_t)trap_stubs + 16 * v;

		idt[v] = (struct gate) {
			.offset_low = (uint16_t)stub,
			.selector = SEL_CODE,
			.type = 0x8e,
			.offset_mid = (uint16_t)(stub >> 16),
			.offset_high = (uint32_t)(stub >> 32),
		};
	}
	/* No I/O permission map: its offset is past the limit. */
	tss[102] = sizeof(tss);
	set_system_descriptor(SEL_TSS, tss, sizeof(tss) - 1, 0x89);
	set_system_descriptor(SEL_LDT, ldt, sizeof(ldt) - 1, 0x82);
	cpu_tables_load();
	asm volatile("ltr %0" : : "r"((uint16_t)SEL_TSS));
	asm volatile("lldt %0" : : "r"((uint16_t)SEL_LDT));
}

/* Where a #GP of the two accesses below continues; 0 when none is expected. */
static uint64_t fixup;
static bool faulted;

static void fixup_handler(struct trap_frame *frame)
{
	if (!fixup) {
		handlers[VECTOR_GP] = NULL;
		trap_entry(frame);
	}
	faulted = true;
	frame->rip = fixup;
}

bool rdmsr_safe(uint32_t msr, uint64_t *v)
{
	uint32_t lo = 0, hi = 0;

	trap_set(VECTOR_GP, fixup_handler);
	faulted = false;
	asm volatile("leaq 1f(%%rip), %%rax\n\t"
		     "movq %%rax, %2\n\t"
		     "rdmsr\n"
		     "1:" : "=&a"(lo), "=&d"(hi), "=m"(fixup)
		     : "c"(msr) : "memory");
	fixup = 0;
	*v = (uint64_t)hi << 32 | lo;
	return !READ_ONCE(faulted);
}

bool wrmsr_safe(uint32_t msr, uint64_t v)
{
	uint32_t lo = (uint32_t)v;

	trap_set(VECTOR_GP, fixup_handler);
	faulted = false;
	asm volatile("leaq 1f(%%rip), %%r8\n\t"
		     "movq %%r8, %0\n\t"
		     "wrmsr\n"
		     "1:" : "=m"(fixup)
		     : "c"(msr), "a"(lo), "d"((uint32_t)(v >> 32))
		     : "r8", "memory");
	fixup = 0;
	return !READ_ONCE(faulted);
}

uint64_t user_page_tables(void)
{
	for (unsigned int gib = 0; gib < 4; gib++) {
		for (uint64_t i = 0; i < 512; i++)
			tables[2 + gib][i] = ((uint64_t)gib << 30) + (i << 21) + 0x87;
		tables[1][gib] = (uint64_t)tables[2 + gib] + 7;
	}
	tables[0][0] = (uint64_t)tables[1] + 7;
	return (uint64_t)tables[0];
}
