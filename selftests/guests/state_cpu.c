// SPDX-License-Identifier: GPL-2.0-only
/* State of the vCPU itself. */
#include "cpu.h"
#include "guest.h"
#include "regs.h"
#include "state.h"
#include "x86.h"

#define CR0_MP		(1UL << 1)
#define CR0_TS		(1UL << 3)
#define CR0_NE		(1UL << 5)
#define CR0_WP		(1UL << 16)
#define CR0_AM		(1UL << 18)
#define CR4_TSD		(1UL << 2)
#define CR4_DE		(1UL << 3)
#define CR4_MCE		(1UL << 6)
#define CR4_PGE		(1UL << 7)
#define CR4_PCE		(1UL << 8)
#define CR4_OSFXSR	(1UL << 9)
#define CR4_OSXMMEXCPT	(1UL << 10)
#define CR4_FSGSBASE	(1UL << 16)
#define CR4_OSXSAVE	(1UL << 18)

/* General registers and flags. */

static void registers_once(const char *who)
{
	struct regs r = regs_pattern, want;

	r.rax = 0;
	if (guest_uses_port())
		r.rdx = KVMFORK_PORT;
	want = r;
	if (guest_uses_port())
		regs_outl(&r);
	else
		regs_ud2(&r);
	if (!r.rax)
		guest_failures = 0;
	if (state_broken(1))
		r.r13 ^= 1;
	regs_check(r.rax ? who : "child", &r, &want, 0);
	state_join((long)r.rax);
}

void state_registers(void)
{
	long id;

	registers_once("parent");
	id = guest_fork();
	if (!id)
		registers_once("child as a parent");
	state_join(id);
}

/* x87, SSE and whatever XSAVE knows. */

#define XSAVE_BYTES	8192
#define XCR0_WANTED	(0x7UL | 0xe0UL | 0x200UL)
#define LEGACY_BYTES	416
#define MXCSR_OFFSET	24

static uint8_t fpu_set[XSAVE_BYTES] __aligned(64);
static uint8_t fpu_want[XSAVE_BYTES] __aligned(64);
static uint8_t fpu_got[XSAVE_BYTES] __aligned(64);
static uint64_t xcr0;

static uint64_t xgetbv(void)
{
	uint32_t lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static void fpu_save(uint8_t *to)
{
	memset(to, 0, XSAVE_BYTES);
	if (xcr0)
		asm volatile("xsave64 (%0)" : : "r"(to), "a"((uint32_t)xcr0),
			     "d"((uint32_t)(xcr0 >> 32)) : "memory");
	else
		asm volatile("fxsave64 (%0)" : : "r"(to) : "memory");
}

static void fpu_load(const uint8_t *from)
{
	if (xcr0)
		asm volatile("xrstor64 (%0)" : : "r"(from), "a"((uint32_t)xcr0),
			     "d"((uint32_t)(xcr0 >> 32)) : "memory");
	else
		asm volatile("fxrstor64 (%0)" : : "r"(from) : "memory");
}

static void fpu_setup(void)
{
	uint16_t fcw = 0x0e7f, fsw = 0x1d00;
	uint32_t mxcsr = 0x5fab;

	memset(fpu_set, 0, sizeof(fpu_set));
	memcpy(fpu_set, &fcw, 2);
	memcpy(fpu_set + 2, &fsw, 2);
	fpu_set[4] = 0xa5;
	memcpy(fpu_set + MXCSR_OFFSET, &mxcsr, 4);
	for (unsigned int st = 0; st < 8; st++)
		for (unsigned int i = 0; i < 10; i++)
			fpu_set[32 + 16 * st + i] = (uint8_t)(0x10 * st + i + 1);
	for (unsigned int i = 160; i < LEGACY_BYTES; i++)
		fpu_set[i] = (uint8_t)(i * 7 + 3);
	for (unsigned int n = 2; n < 63; n++) {
		struct cpuid c;

		if (!(xcr0 >> n & 1))
			continue;
		c = cpuid(0xd, n);
		/* PKRU is one word; the rest are vectors of any bits. */
		for (unsigned int i = 0; i < (n == 9 ? 4 : c.a); i++)
			fpu_set[c.b + i] = (uint8_t)(i * 13 + n * 31 + 1);
	}
	memcpy(fpu_set + 512, &xcr0, 8);
	fpu_load(fpu_set);
	fpu_save(fpu_want);
	check(!memcmp(fpu_want + 160, fpu_set + 160, LEGACY_BYTES - 160),
	      "XMM registers were not loaded");
}

static void fpu_compare(const char *who, const char *what, unsigned int from,
			unsigned int len)
{
	for (unsigned int i = from; i < from + len; i++)
		if (!check(fpu_got[i] == fpu_want[i],
			   "%s: %s: byte %u: expected 0x%x, got 0x%x", who, what,
			   i - from, fpu_want[i], fpu_got[i]))
			return;
}

static void fpu_verify(const char *who)
{
	static const char *const names[] = {
		"x87", "SSE", "AVX", "BNDREGS", "BNDCSR", "opmask", "ZMM_Hi256",
		"Hi16_ZMM", "PT", "PKRU",
	};

	fpu_save(fpu_got);
	if (state_broken(2))
		fpu_got[200] ^= 1;
	if (xcr0)
		check_eq("XCR0", xgetbv(), xcr0);
	/* The instruction and data pointers (8 to 23) are not kept by all CPUs. */
	fpu_compare(who, "x87 control, status, tags", 0, 8);
	fpu_compare(who, "MXCSR", MXCSR_OFFSET, 4);
	for (unsigned int st = 0; st < 8; st++)
		fpu_compare(who, "x87 register", 32 + 16 * st, 10);
	fpu_compare(who, "SSE", 160, LEGACY_BYTES - 160);
	for (unsigned int n = 2; n < ARRAY_SIZE(names); n++) {
		struct cpuid c;

		if (!(xcr0 >> n & 1))
			continue;
		c = cpuid(0xd, n);
		fpu_compare(who, names[n], c.b, c.a);
	}
}

void state_fpu(void)
{
	uint64_t cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (cpuid(1, 0).c >> 26 & 1)
		cr4 |= CR4_OSXSAVE;
	write_cr4(cr4);
	if (cr4 & CR4_OSXSAVE) {
		xcr0 = cpuid(0xd, 0).a & XCR0_WANTED;
		asm volatile("xsetbv" : : "c"(0), "a"((uint32_t)xcr0),
			     "d"((uint32_t)(xcr0 >> 32)));
	}
	state_chain("fpu", fpu_setup, fpu_verify);
	say("XCR0 0x%lx", xcr0);
}

/* System registers: set, listed, and compared by name. */

struct msr {
	const char *name;
	uint32_t index;
	bool set;
	uint64_t value;
};

static const struct msr msrs[] = {
	{ "EFER", MSR_EFER, true, EFER_LMA | EFER_LME | EFER_NXE | EFER_SCE },
	{ "STAR", 0xc0000081, true, 0x0023001011223344 },
	{ "LSTAR", 0xc0000082, true, 0xffff811122223333 },
	{ "CSTAR", 0xc0000083, true, 0xffff822233334444 },
	{ "SFMASK", 0xc0000084, true, 0x47700 },
	{ "FS base", MSR_FS_BASE, true, 0x00007f1122334455 },
	{ "GS base", MSR_GS_BASE, true, 0xffff933344445555 },
	{ "kernel GS base", 0xc0000102, true, 0xffff944455556666 },
	{ "TSC_AUX", 0xc0000103, true, 0xabcd },
	{ "SYSENTER_CS", 0x174, true, 0x1234 },
	{ "SYSENTER_ESP", 0x175, true, 0xffff955566667777 },
	{ "SYSENTER_EIP", 0x176, true, 0xffff966677778888 },
	{ "PAT", 0x277, true, 0x0007010600070106 },
	{ "MTRR default", 0x2ff, true, 0xc06 },
	{ "MTRR fixed 64K", 0x250, true, 0x0606060606060606 },
	{ "MTRR fixed 16K", 0x258, true, 0x0505050505050505 },
	{ "MTRR fixed 4K", 0x26f, true, 0x0606050506060505 },
	{ "MTRR base 0", 0x200, true, 0x00000000c0000000 },
	{ "MTRR mask 0", 0x201, true, 0x00000000c0000800 },
	{ "MTRR base 7", 0x20e, true, 0x00000000d0000005 },
	{ "TSC_ADJUST", 0x3b, true, 0x12345 },
	{ "MISC_ENABLE", 0x1a0, false, 0 },
	{ "APIC base", MSR_APIC_BASE, false, 0 },
	{ "SPEC_CTRL", 0x48, false, 0 },
	{ "XSS", 0xda0, false, 0 },
	{ "DEBUGCTL", 0x1d9, false, 0 },
	{ "MCG_CAP", 0x179, false, 0 },
	{ "MCG_STATUS", 0x17a, true, 0x4 },
	{ "MCG_CTL", 0x17b, false, 0 },
	{ "MC0_CTL", 0x400, true, 0 },
	{ "MC1_CTL", 0x404, true, 0xffffffffffffffff },
	{ "PLATFORM_INFO", 0xce, false, 0 },
	{ "MISC_FEATURES_ENABLES", 0x140, false, 0 },
	{ "ARCH_CAPABILITIES", 0x10a, false, 0 },
	{ "EVNTSEL0 (Intel)", 0x186, true, 0x30076 },
	{ "PMC0 (Intel)", 0xc1, true, 0x1122 },
	{ "EVNTSEL0 (AMD)", 0xc0010000, true, 0x30076 },
	{ "PMC0 (AMD)", 0xc0010004, true, 0x1122 },
	{ "HWCR", 0xc0010015, false, 0 },
	{ "VM_HSAVE_PA", 0xc0010117, false, 0 },
	{ "KVM poll control", 0x4b564d05, true, 0 },
	{ "KVM EOI", 0x4b564d04, false, 0 },
	{ "KVM async page fault", 0x4b564d02, false, 0 },
};

/*
 * AMD's CPUs have no SYSENTER in long mode, and KVM's calls carry the lower
 * halves of its addresses only.
 */
static uint64_t msr_value(const struct msr *msr)
{
	bool intel = cpuid(0, 0).b == 0x756e6547;

	if (!intel && (msr->index == 0x175 || msr->index == 0x176))
		return (uint32_t)msr->value;
	return msr->value;
}

#define ITEMS_MAX	160
#define NO_SUCH		0x6e6f6e6578697374UL

struct item {
	const char *name;
	unsigned int number;
	uint64_t v;
};

static struct item items_want[ITEMS_MAX], items_got[ITEMS_MAX];

static struct item *add(struct item *i, const char *name, unsigned int number,
			uint64_t v)
{
	*i = (struct item){ name, number, v };
	return i + 1;
}

static struct item *add_segments(struct item *i)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __packed table;
	uint16_t ds, es, fs, gs, ss, cs, tr, ldtr;

	asm volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
		     : "=m"(ds), "=m"(es), "=m"(fs), "=m"(gs));
	asm volatile("mov %%ss, %0; mov %%cs, %1; str %2; sldt %3"
		     : "=m"(ss), "=m"(cs), "=m"(tr), "=m"(ldtr));
	i = add(i, "DS", 0, ds);
	i = add(i, "ES", 0, es);
	i = add(i, "FS", 0, fs);
	i = add(i, "GS", 0, gs);
	i = add(i, "SS", 0, ss);
	i = add(i, "CS", 0, cs);
	i = add(i, "TR", 0, tr);
	i = add(i, "LDTR", 0, ldtr);
	asm volatile("sgdt %0" : "=m"(table));
	i = add(i, "GDT base", 0, table.base);
	i = add(i, "GDT limit", 0, table.limit);
	asm volatile("sidt %0" : "=m"(table));
	i = add(i, "IDT base", 0, table.base);
	return add(i, "IDT limit", 0, table.limit);
}

static struct item *add_irqchips(struct item *i)
{
	static const struct {
		const char *name;
		unsigned int reg;
	} lapic[] = {
		{ "LAPIC id", LAPIC_ID }, { "LAPIC version", LAPIC_VER },
		{ "LAPIC TPR", LAPIC_TPR }, { "LAPIC LDR", LAPIC_LDR },
		{ "LAPIC DFR", LAPIC_DFR }, { "LAPIC SVR", LAPIC_SVR },
		{ "LAPIC ICR", LAPIC_ICR }, { "LAPIC ICR2", LAPIC_ICR2 },
		{ "LAPIC LVTT", LAPIC_LVTT }, { "LAPIC LVTTHMR", LAPIC_LVTTHMR },
		{ "LAPIC LVTPC", LAPIC_LVTPC }, { "LAPIC LVT0", LAPIC_LVT0 },
		{ "LAPIC LVT1", LAPIC_LVT1 }, { "LAPIC LVTERR", LAPIC_LVTERR },
		{ "LAPIC TMICT", LAPIC_TMICT }, { "LAPIC TDCR", LAPIC_TDCR },
	};

	for (unsigned int n = 0; n < ARRAY_SIZE(lapic); n++)
		i = add(i, lapic[n].name, 0, lapic_read(lapic[n].reg));
	for (unsigned int pin = 0; pin < 24; pin++) {
		i = add(i, "I/O APIC low", pin, ioapic_read(0x10 + 2 * pin));
		i = add(i, "I/O APIC high", pin, ioapic_read(0x11 + 2 * pin));
	}
	i = add(i, "I/O APIC id", 0, ioapic_read(0));
	i = add(i, "PIC masks", 0, pic_get_mask());
	i = add(i, "ELCR 1", 0, inb(0x4d0));
	i = add(i, "ELCR 2", 0, inb(0x4d1));
	i = add(i, "speaker gate", 0, inb(0x61) & 3);
	/* Read-back of the status of PIT channels 1 and 2: mode and access. */
	outb(0x43, 0xe0 | 1 << 2);
	i = add(i, "PIT 1", 0, inb(0x41) & 0x3f);
	outb(0x43, 0xe0 | 1 << 3);
	return add(i, "PIT 2", 0, inb(0x42) & 0x3f);
}

static unsigned int system_list(struct item *items)
{
	struct item *i = items;

	i = add(i, "CR0", 0, read_cr0());
	i = add(i, "CR2", 0, read_cr2());
	i = add(i, "CR3", 0, read_cr3());
	i = add(i, "CR4", 0, read_cr4());
	i = add(i, "CR8", 0, read_cr8());
	i = add(i, "DR0", 0, read_dr0());
	i = add(i, "DR1", 0, read_dr1());
	i = add(i, "DR2", 0, read_dr2());
	i = add(i, "DR3", 0, read_dr3());
	i = add(i, "DR6", 0, read_dr6());
	i = add(i, "DR7", 0, read_dr7());
	i = add_segments(i);
	for (unsigned int n = 0; n < ARRAY_SIZE(msrs); n++) {
		uint64_t v;

		if (!rdmsr_safe(msrs[n].index, &v))
			v = NO_SUCH;
		i = add(i, msrs[n].name, 0, v);
	}
	i = add_irqchips(i);
	return (unsigned int)(i - items);
}

static uint64_t other_gdt[GDT_BYTES / 8 + 2];
static uint8_t other_idt[0x1000];

static void set_tables(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __packed table;

	/* Copies elsewhere, with limits that no table here has by default. */
	asm volatile("sgdt %0" : "=m"(table));
	if (table.base != (uint64_t)other_gdt)
		memcpy(other_gdt, (void *)table.base, GDT_BYTES);
	table.base = (uint64_t)other_gdt;
	table.limit = sizeof(other_gdt) - 1;
	asm volatile("lgdt %0" : : "m"(table));
	asm volatile("sidt %0" : "=m"(table));
	if (table.base != (uint64_t)other_idt)
		memcpy(other_idt, (void *)table.base, sizeof(other_idt));
	table.base = (uint64_t)other_idt;
	table.limit = 0x9ff;
	asm volatile("lidt %0" : : "m"(table));
	/*
	 * SS must go with CPL 0; the others take what they like. Loads of FS
	 * and GS clear their bases, hence before the MSRs.
	 */
	asm volatile("mov %0, %%ds; mov %1, %%es; mov %2, %%fs; mov %3, %%gs"
		     : : "r"(SEL_DATA_A), "r"(SEL_DATA_B), "r"(SEL_LDT_DATA),
		     "r"(SEL_USER_DATA));
}

static void set_irqchips(void)
{
	lapic_write(LAPIC_SVR, 0x1e7);
	lapic_write(LAPIC_LDR, 0x5a000000);
	lapic_write(LAPIC_DFR, 0x0fffffff);
	lapic_write(LAPIC_LVTT, LVT_MASKED | LVTT_PERIODIC | 0x41);
	lapic_write(LAPIC_LVTPC, LVT_MASKED | 0x43);
	lapic_write(LAPIC_LVTTHMR, LVT_MASKED | 0x44);
	lapic_write(LAPIC_LVT0, LVT_MASKED | 0x700);
	lapic_write(LAPIC_LVT1, LVT_MASKED | 0x400);
	lapic_write(LAPIC_LVTERR, LVT_MASKED | 0x45);
	lapic_write(LAPIC_TDCR, 0x2);
	lapic_write(LAPIC_TMICT, 0x123456);
	lapic_write(LAPIC_ICR2, 0x77000000);
	for (unsigned int pin = 0; pin < 24; pin++) {
		ioapic_write(0x11 + 2 * pin, (pin + 1) << 24);
		ioapic_write(0x10 + 2 * pin, LVT_MASKED | (pin & 1) << 13 |
			     (pin & 2) << 14 | (0x40 + pin));
	}
	ioapic_write(0, 0x05000000);
	pic_init(0x20);
	pic_mask(0xa5c7);
	outb(0x4d1, 0x0c);
	outb(0x43, 0x74);
	outb(0x41, 0x34);
	outb(0x41, 0x12);
	outb(0x61, 0x01);
	outb(0x43, 0xb6);
	outb(0x42, 0x78);
	outb(0x42, 0x56);
}

static void system_setup(void)
{
	uint64_t cr4 = read_cr4();
	unsigned int n;

	set_tables();
	for (n = 0; n < ARRAY_SIZE(msrs); n++)
		if (msrs[n].set)
			wrmsr_safe(msrs[n].index, msr_value(&msrs[n]));
	set_irqchips();
	write_cr3(user_page_tables());
	cr4 |= CR4_TSD | CR4_DE | CR4_MCE | CR4_PGE | CR4_PCE;
	if (cpuid(7, 0).b & 1)
		cr4 |= CR4_FSGSBASE;
	write_cr4(cr4);
	write_cr0((read_cr0() | CR0_MP | CR0_NE | CR0_WP | CR0_AM) | CR0_TS);
	write_cr8(0xb);
	write_dr0(0x0000111122223333);
	write_dr1(0x0000222233334444);
	write_dr2(0x0000333344445555);
	write_dr3(0x0000444455556666);
	/* Global, of all kinds and lengths, at addresses never touched. */
	write_dr7(0x400 | 0xaa | 0xd7910000);
	write_dr6(0xffff4ff5);
	write_cr2(0x0123456789abcdef);
	n = system_list(items_want);
	check(n <= ITEMS_MAX, "too many items");
}

/* That the values took effect before the fork: what follows depends on it. */
static void system_check_setup(void)
{
	check_eq("CR2 as set", read_cr2(), 0x0123456789abcdef);
	check_eq("CR8 as set", read_cr8(), 0xb);
	check_eq("DR3 as set", read_dr3(), 0x0000444455556666);
	for (unsigned int n = 0; n < ARRAY_SIZE(msrs); n++) {
		uint64_t v;

		if (!rdmsr_safe(msrs[n].index, &v))
			say("no %s", msrs[n].name);
		else if (msrs[n].set && v != msr_value(&msrs[n]))
			say("%s reads 0x%lx after 0x%lx was written",
			    msrs[n].name, v, msr_value(&msrs[n]));
	}
}

static void system_verify(const char *who)
{
	unsigned int n = system_list(items_got);

	if (state_broken(3))
		items_got[n / 2].v ^= 1;
	for (unsigned int i = 0; i < n; i++)
		check(items_got[i].v == items_want[i].v,
		      "%s: %s %u: expected 0x%lx, got 0x%lx", who,
		      items_want[i].name, items_want[i].number, items_want[i].v,
		      items_got[i].v);
}

static void system_restore(void)
{
	write_dr7(0x400);
	write_dr6(0xffff0ff0);
	write_cr0(read_cr0() & ~CR0_TS);
	write_cr4(read_cr4() & ~CR4_TSD);
	write_cr8(0);
	cpu_tables_load();
	lapic_write(LAPIC_TMICT, 0);
	lapic_write(LAPIC_LVTT, LVT_MASKED);
	lapic_write(LAPIC_LVT0, 0x700);
	lapic_write(LAPIC_DFR, 0xffffffff);
	lapic_enable();
	pic_mask(0xffff);
	wrmsr_safe(0x17a, 0);
}

void state_system(void)
{
	state_chain("system", system_setup, system_verify);
	system_check_setup();
	system_restore();
}

/* Debug registers do something, not only hold something. */

static uint64_t breaks, watches;
static uint64_t watched;

static void handle_db(struct trap_frame *frame)
{
	uint64_t dr6 = read_dr6();

	if (dr6 & 1 && frame->rip == (uint64_t)breakpoint_target)
		breaks++;
	if (dr6 & 2)
		watches++;
	write_dr6(0xffff0ff0);
	frame->rflags |= FLAGS_RF;
}

static void breakpoints_setup(void)
{
	trap_set(VECTOR_DB, handle_db);
	breaks = 0;
	watches = 0;
	write_dr0((uint64_t)breakpoint_target);
	write_dr1((uint64_t)&watched);
	/* 0: execution; 1: write of 8 bytes. */
	write_dr7(0x400 | 0x0a | 0x00900000);
}

static void breakpoints_verify(const char *who)
{
	breakpoint_target();
	WRITE_ONCE(watched, 1);
	breakpoint_target();
	check(READ_ONCE(breaks) == 2 + state_broken(4),
	      "%s: %lu breakpoints hit, expected 2", who, breaks);
	check(READ_ONCE(watches) == 1, "%s: %lu watchpoints hit, expected 1", who,
	      watches);
}

void state_breakpoints(void)
{
	state_chain("breakpoints", breakpoints_setup, breakpoints_verify);
	write_dr7(0x400);
	trap_set(VECTOR_DB, NULL);
}

/* A fork by a program at CPL 3, whose kernel does not notice. */

static uint8_t user_stack[4096] __aligned(16);
static uint8_t rsp0_stack[4096] __aligned(16);
static uint64_t user_traps;

static void handle_syscall(struct trap_frame *frame)
{
	if (!frame->rax)
		guest_failures = 0;
	user_traps++;
	check_eq("CS at CPL 3", frame->cs, SEL_USER_CODE);
	check_eq("SS at CPL 3", frame->ss, SEL_USER_DATA);
	check_eq("RSP at CPL 3", frame->rsp,
		 (uint64_t)user_stack + sizeof(user_stack) + state_broken(15));
	/* The CPU took the stack from the TSS, which TR names. */
	check_eq("stack of the trap", (uint64_t)(frame + 1),
		 (uint64_t)rsp0_stack + sizeof(rsp0_stack));
	frame->rip = (uint64_t)user_exit;
	frame->cs = SEL_CODE;
	frame->ss = SEL_DATA;
	frame->rsp = user_kernel_rsp;
	frame->rflags = 2;
}

static long user_fork(void)
{
	return user_run(guest_uses_port() ? user_fork_port : user_fork_ud2,
			(uint64_t)user_stack + sizeof(user_stack),
			guest_uses_port() ? FLAGS_IOPL | 2 : 2);
}

void state_user_mode(void)
{
	uint64_t cr3 = read_cr3();
	long id;

	write_cr3(user_page_tables());
	cpu_set_rsp0((uint64_t)rsp0_stack + sizeof(rsp0_stack));
	trap_set(0x80, handle_syscall);
	trap_allow_user(0x80);
	id = user_fork();
	check_eq("traps from CPL 3", user_traps, 1);
	if (!id) {
		id = user_fork();
		check_eq("traps from CPL 3", user_traps, 2);
		if (id)
			state_join(id);
		state_join(0);
	}
	state_join(id);
	write_cr3(cr3);
}
