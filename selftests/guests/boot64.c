// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks every clause of the contract that docs/guest-abi.rst states for an
 * ELF64 image, and forks nothing.
 *
 *	exit=N		ends with N
 *	exit-by=port|kbd|acpi|triple	not by the call
 *	mib=N cpus=N	what the command line of ukrun asked for
 *	hang		sleeps for ever
 *	spin		runs for ever
 *	flood=N		prints N lines
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

const char guest_name[] = "boot64";

/* Not zero in the file's memory image by accident: spans pages of .bss. */
static uint64_t zeroes[4096];
static uint64_t initialized[600] = { [0] = 0x1122334455667788, [599] = 0x99 };

static void check_cpu_state(void)
{
	uint64_t efer = rdmsr(MSR_EFER);

	check((boot_state.cs & 3) == 0, "CPL is %lu", boot_state.cs & 3);
	check(!(boot_state.rflags & FLAGS_IF), "interrupts are on");
	check(!(boot_state.rflags & FLAGS_DF), "DF is set");
	check((efer & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA),
	      "not in long mode: EFER 0x%lx", efer);
	check((boot_state.cr0 & 0x80000001) == 0x80000001, "CR0 is 0x%lx",
	      boot_state.cr0);
	check(boot_state.cr4 & 0x20, "CR4 is 0x%lx", boot_state.cr4);
	check(boot_state.gdtr.base && boot_state.gdtr.limit >= boot_state.cs + 7,
	      "GDT at 0x%lx limit 0x%x does not hold CS 0x%lx",
	      boot_state.gdtr.base, boot_state.gdtr.limit, boot_state.cs);
	check(boot_state.gdtr.base + boot_state.gdtr.limit < 0x100000,
	      "GDT at 0x%lx is not below 1 MiB", boot_state.gdtr.base);
	check(boot_state.cr3 < 0x100000, "CR3 0x%lx is not below 1 MiB",
	      boot_state.cr3);
}

/* The given GDT must be real: segments can be loaded from it. */
static void check_gdt(void)
{
	uint16_t cs = (uint16_t)boot_state.cs, ss = (uint16_t)boot_state.ss;
	uint64_t descriptor;

	memcpy(&descriptor, (void *)(boot_state.gdtr.base + cs), 8);
	check((descriptor >> 40 & 0x9a) == 0x9a && descriptor >> 53 & 1,
	      "descriptor of CS is 0x%lx", descriptor);
	if (!ss)
		return;
	memcpy(&descriptor, (void *)(boot_state.gdtr.base + ss), 8);
	check((descriptor >> 40 & 0x92) == 0x92, "descriptor of SS is 0x%lx",
	      descriptor);
	asm volatile("lgdt %0\n\t"
		     "mov %1, %%ds\n\t"
		     "mov %1, %%es\n\t"
		     "mov %1, %%ss\n\t"
		     : : "m"(boot_state.gdtr), "r"((uint32_t)ss) : "memory");
	cpu_tables_load();
}

static void check_stack(void)
{
	uint8_t *top = (uint8_t *)boot_state.rsp;

	check(boot_state.rsp >= 65536 && boot_state.rsp <= boot_state.memory,
	      "stack at 0x%lx", boot_state.rsp);
	check(boot_state.rsp % 8 == 0, "stack at 0x%lx", boot_state.rsp);
	check(boot_state.rsp <= 0x200000 ||
	      boot_state.rsp - 65536 >= (uint64_t)_end,
	      "stack at 0x%lx is in the image", boot_state.rsp);
	memset(top - 65536, 0x5a, 65536);
	check(top[-1] == 0x5a && top[-65536] == 0x5a, "stack cannot be written");
	/* The stack is not where the rest lies. */
	check(*(const char *)boot_state.cmdline != 0x5a,
	      "command line is in the stack");
	check(read_cr3() == boot_state.cr3, "CR3");
	asm volatile("mov %0, %%cr3" : : "r"(boot_state.cr3) : "memory");
}

/* First and last word of each MiB, so that holes and aliases are found. */
static void check_memory(void)
{
	uint64_t mib = arg_number("mib", 0), *p, a;
	bool ok = true;

	if (mib)
		check_eq("memory size", boot_state.memory, mib << 20);
	for (a = ((uint64_t)_end + 0xfffff) & ~0xfffffUL;
	     a + 0x100000 <= boot_state.memory; a += 0x100000) {
		p = (uint64_t *)a;
		if (!check(!p[0] && !p[0x1ffff], "memory at 0x%lx is not zero", a))
			break;
		p[0] = a;
		p[0x1ffff] = ~a;
	}
	for (a = ((uint64_t)_end + 0xfffff) & ~0xfffffUL;
	     ok && a + 0x100000 <= boot_state.memory; a += 0x100000) {
		p = (uint64_t *)a;
		ok = check(p[0] == a && p[0x1ffff] == ~a,
			   "memory at 0x%lx: 0x%lx, 0x%lx", a, p[0], p[0x1ffff]);
	}
	p = (uint64_t *)(boot_state.memory - 8);
	*p = 0x1234;
	check_eq("last word of memory", READ_ONCE(*p), 0x1234);
	/* Below 1 MiB only what the contract leaves to the guest. */
	p = (uint64_t *)0x8000;
	for (unsigned int i = 0; i < 512; i++)
		p[i] = i * 0x0101010101010101UL;
	for (unsigned int i = 0; i < 512; i++)
		check(p[i] == i * 0x0101010101010101UL, "0x8000 cannot be used");
}

static void check_image(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(zeroes); i++)
		if (!check(!READ_ONCE(zeroes[i]), ".bss[%u] is not zero", i))
			break;
	check_eq("first word of .data", READ_ONCE(initialized[0]),
		 0x1122334455667788 + arg_flag("break"));
	check_eq("last word of .data", READ_ONCE(initialized[599]), 0x99);
}

/* The topmost 2 MiB page of the identity map holds nothing but is there. */
static void check_identity_map(void)
{
	static const uint64_t gib[] = { 0, 1UL << 30, 2UL << 30, 3UL << 30 };
	const uint64_t *pml4 = (const uint64_t *)(boot_state.cr3 & ~0xfffUL);
	const uint64_t *pdpt, *pd;

	check(pml4[0] & 1, "PML4[0] is 0x%lx", pml4[0]);
	pdpt = (const uint64_t *)(pml4[0] & 0xffffffffff000);
	for (unsigned int g = 0; g < ARRAY_SIZE(gib); g++) {
		if (!check((pdpt[g] & 3) == 3, "PDPT[%u] is 0x%lx", g, pdpt[g]))
			continue;
		pd = (const uint64_t *)(pdpt[g] & 0xffffffffff000);
		for (uint64_t i = 0; i < 512; i++)
			if (!check((pd[i] & 0x83) == 0x83 && !(pd[i] >> 63) &&
				   (pd[i] & 0xfffffffe00000) == gib[g] + (i << 21),
				   "PD[%u][%lu] is 0x%lx", g, i, pd[i]))
				break;
	}
}

static void check_devices(void)
{
	uint64_t start = rdtsc();

	check(lapic_read(LAPIC_VER) >> 24 == 0 && lapic_read(LAPIC_VER) & 0xff,
	      "local APIC version 0x%x", lapic_read(LAPIC_VER));
	check_eq("LVT0", lapic_read(LAPIC_LVT0) & 0x10700, 0x700);
	check_eq("APIC id", smp_id(), 0);
	check(rdmsr(MSR_APIC_BASE) & 0x100, "APIC base 0x%lx is not the BSP's",
	      rdmsr(MSR_APIC_BASE));
	say("TSC %lu kHz", tsc_per_ms());
	check(tsc_per_ms() > 1000 && tsc_per_ms() < 20000000, "TSC frequency %lu",
	      tsc_per_ms());
	check(rdtsc() > start, "TSC does not go");
}

static void start_others(unsigned int cpu)
{
	(void)cpu;
}

static void check_cpus(void)
{
	uint64_t cpus = arg_number("cpus", boot_state.cpus);

	check_eq("vCPUs", boot_state.cpus, cpus);
	for (unsigned int cpu = 1; cpu < boot_state.cpus && cpu < SMP_MAX; cpu++)
		if (smp_start(cpu, start_others))
			say("vCPU %u runs", cpu);
}

static void end_by_other_means(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __packed no_idt;

	if (arg_flag("exit-by=port"))
		outb(0xf4, (uint8_t)arg_number("exit", 0));
	if (arg_flag("exit-by=kbd"))
		outb(0x64, 0xfe);
	if (arg_flag("exit-by=acpi"))
		outw(0x604, 0x2000);
	if (arg_flag("exit-by=triple"))
		asm volatile("lidt %0; int3" : : "m"(no_idt));
}

void guest_main(void)
{
	say("arguments '%s'", (const char *)boot_state.cmdline);
	say("memory %lu MiB, %lu vCPUs, stack 0x%lx", boot_state.memory >> 20,
	    boot_state.cpus, boot_state.rsp);
	check_image();
	check_cpu_state();
	check_gdt();
	check_identity_map();
	check_memory();
	check_stack();
	check_devices();
	check_cpus();
	for (uint64_t i = 0; i < arg_number("flood", 0); i++)
		say("line %lu", i);
	if (guest_failures)
		return;
	if (arg_flag("hang"))
		for (;;)
			asm volatile("cli; hlt");
	if (arg_flag("spin"))
		for (;;)
			cpu_pause();
	say("ok");
	end_by_other_means();
	guest_exit((unsigned int)arg_number("exit", 0));
}
