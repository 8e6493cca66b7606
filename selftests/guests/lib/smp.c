// SPDX-License-Identifier: GPL-2.0-only
/* Starting the other vCPUs by INIT and SIPI. */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

/* Where a SIPI of vector 8 starts. */
#define TRAMPOLINE	0x8000UL
#define AP_STACK	16384

/* Of trampoline.S: position independent code, and what it reads. */
extern char trampoline_start[], trampoline_end[];

struct trampoline_data {
	uint64_t cr3;
	uint64_t stack;
	uint64_t entry;
};

static uint8_t stacks[SMP_MAX][AP_STACK] __aligned(16);
static void (*ap_function)(unsigned int cpu);
static unsigned int ap_running;

static void ap_main(void)
{
	unsigned int cpu = smp_id();

	cpu_tables_load();
	lapic_enable();
	__atomic_store_n(&ap_running, cpu, __ATOMIC_RELEASE);
	ap_function(cpu);
	for (;;)
		asm volatile("cli; hlt");
}

unsigned int smp_id(void)
{
	return lapic_read(LAPIC_ID) >> 24;
}

bool smp_start(unsigned int cpu, void (*fn)(unsigned int cpu))
{
	size_t len = (size_t)(trampoline_end - trampoline_start);
	struct trampoline_data *data;

	data = (void *)(TRAMPOLINE + len - sizeof(*data));
	memcpy((void *)TRAMPOLINE, trampoline_start, len);
	data->cr3 = read_cr3();
	data->stack = (uint64_t)stacks[cpu] + AP_STACK;
	data->entry = (uint64_t)ap_main;
	ap_function = fn;
	__atomic_store_n(&ap_running, 0, __ATOMIC_RELEASE);
	lapic_ipi(cpu, IPI_INIT | IPI_ASSERT);
	delay_ms(1);
	lapic_ipi(cpu, IPI_STARTUP | IPI_ASSERT | TRAMPOLINE >> 12);
	for (unsigned int ms = 0; ms < 5000; ms++) {
		if (__atomic_load_n(&ap_running, __ATOMIC_ACQUIRE) == cpu)
			return true;
		delay_ms(1);
	}
	return check(false, "vCPU %u did not start", cpu);
}
