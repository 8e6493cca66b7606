// SPDX-License-Identifier: GPL-2.0-only
/* Intel MultiProcessor Specification 1.4, chapter 4. */
#include <string.h>

#include "boot/acpi.h"
#include "boot/mptable.h"
#include "compiler.h"
#include "log.h"
#include "pci/pci.h"
#include "vcpu.h"
#include "vm.h"

/* 4.1: found by its signature, on 16 bytes, in the BIOS area among others. */
struct mp_pointer {
	char signature[4];	/* "_MP_" */
	uint32_t table;
	uint8_t length;		/* in 16 bytes */
	uint8_t revision, checksum;
	uint8_t features[5];	/* all zero: there is a table, and the 8259 is wired to it */
} __packed;

/* 4.2 */
struct mp_table {
	char signature[4];	/* "PCMP" */
	uint16_t length;
	uint8_t revision, checksum;
	char oem_id[8], product_id[12];
	uint32_t oem_table;
	uint16_t oem_size, nr_entries;
	uint32_t lapic_address;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
} __packed;

/* 4.3.1 to 4.3.5 */
enum mp_type {
	MP_CPU,
	MP_BUS,
	MP_IOAPIC,
	MP_INTERRUPT,
	MP_LOCAL,
};

struct mp_cpu {
	uint8_t type, lapic_id, lapic_version, flags;
	uint32_t signature, features;
	uint32_t reserved[2];
} __packed;

#define CPU_ENABLED	(1 << 0)
#define CPU_BOOTS	(1 << 1)
/* As KVM's LAPIC says of itself. */
#define LAPIC_VERSION	0x14
#define IOAPIC_VERSION	0x11

struct mp_bus {
	uint8_t type, id;
	char name[6];
} __packed;

struct mp_ioapic {
	uint8_t type, id, version, flags;
	uint32_t address;
} __packed;

/* Of an I/O APIC or, as MP_LOCAL, of all LAPICs. */
struct mp_interrupt {
	uint8_t type, kind;
	uint16_t flags;		/* 0: as is usual on the bus */
	uint8_t bus, irq, apic, pin;
} __packed;

#define KIND_INT	0
#define KIND_NMI	1
#define KIND_EXTINT	3
#define ALL_LAPICS	0xff
/* Level, active high. */
#define FLAGS_SCI	0xd

#define LEGACY_IRQS	16
#define IRQ_CASCADE	2

#define TABLE_AT	16
/* The most that VCPUS_MAX vCPUs take. */
#define AREA_SIZE	(TABLE_AT + sizeof(struct mp_table) +			\
			 VCPUS_MAX * sizeof(struct mp_cpu) + 2 * sizeof(struct mp_bus) + \
			 sizeof(struct mp_ioapic) +				\
			 (LEGACY_IRQS + PCI_SLOTS + 2) * sizeof(struct mp_interrupt))

static uint8_t mp_checksum(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint8_t sum = 0;

	while (size--)
		sum += *byte++;
	return -sum;
}

static void mp_append(struct mp_table *table, const void *entry, size_t size)
{
	memcpy((uint8_t *)table + table->length, entry, size);
	table->length += size;
	table->nr_entries++;
}

static void mp_put_cpus(struct mp_table *table, uint32_t nr_vcpus)
{
	struct mp_cpu cpu = {
		.type = MP_CPU, .lapic_version = LAPIC_VERSION,
		.flags = CPU_ENABLED | CPU_BOOTS,
		/* Family 6, with FPU, MSRs and a LAPIC: CPUID says it all. */
		.signature = 0x600, .features = 0x221,
	};
	uint32_t i;

	for (i = 0; i < nr_vcpus; i++) {
		cpu.lapic_id = i;
		mp_append(table, &cpu, sizeof(cpu));
		cpu.flags = CPU_ENABLED;
	}
}

/* PCI's are numbered as Linux numbers them, from 0, and the ISA's comes last. */
static void mp_put_buses(struct mp_table *table, const struct pci *pci)
{
	const struct mp_bus bus = { .type = MP_BUS, .name = { 'P', 'C', 'I', ' ', ' ', ' ' } };
	const struct mp_bus isa = {
		.type = MP_BUS, .id = !!pci, .name = { 'I', 'S', 'A', ' ', ' ', ' ' },
	};

	if (pci)
		mp_append(table, &bus, sizeof(bus));
	mp_append(table, &isa, sizeof(isa));
}

/* INTA of each slot. Returns the lines that are taken, as bits. */
static uint32_t mp_put_pci_interrupts(struct mp_table *table, const struct pci *pci)
{
	struct mp_interrupt interrupt = { .type = MP_INTERRUPT };
	uint32_t taken = 0;
	unsigned int slot;

	for (slot = 0; pci && slot < PCI_SLOTS; slot++) {
		if (!pci->functions[slot] || !pci->functions[slot]->irq)
			continue;
		interrupt.irq = slot << 2;
		interrupt.pin = pci->functions[slot]->irq;
		taken |= 1U << interrupt.pin;
		mp_append(table, &interrupt, sizeof(interrupt));
	}
	return taken;
}

static void mp_put_interrupts(struct mp_table *table, const struct pci *pci)
{
	struct mp_interrupt interrupt = { .type = MP_INTERRUPT, .bus = !!pci };
	uint32_t taken = mp_put_pci_interrupts(table, pci);
	unsigned int irq;

	for (irq = 0; irq < LEGACY_IRQS; irq++) {
		if (irq == IRQ_CASCADE || taken & 1U << irq)
			continue;
		interrupt.irq = irq;
		interrupt.pin = irq;
		interrupt.flags = irq == ACPI_SCI_IRQ ? FLAGS_SCI : 0;
		mp_append(table, &interrupt, sizeof(interrupt));
	}
	interrupt = (struct mp_interrupt){
		.type = MP_LOCAL, .kind = KIND_EXTINT, .bus = !!pci, .apic = ALL_LAPICS,
	};
	mp_append(table, &interrupt, sizeof(interrupt));
	interrupt.kind = KIND_NMI;
	interrupt.pin = 1;
	mp_append(table, &interrupt, sizeof(interrupt));
}

void mptable_setup(struct vm *vm)
{
	/* Its id is what KVM's register has: xv6 compares. */
	const struct mp_ioapic ioapic = {
		.type = MP_IOAPIC, .version = IOAPIC_VERSION, .flags = 1,
		.address = IOAPIC_ADDRESS,
	};
	uint8_t *area = memory_at(vm, LOW_MPTABLE, AREA_SIZE);
	struct mp_pointer *pointer = (void *)area;
	struct mp_table *table = (void *)(area + TABLE_AT);

	_Static_assert(sizeof(struct mp_pointer) == 16, "MP pointer has a wrong size");
	_Static_assert(sizeof(struct mp_table) == 44, "MP table has a wrong size");
	_Static_assert(LOW_MPTABLE + AREA_SIZE <= LOW_BIOS, "MP table overlaps");

	memcpy(table->signature, "PCMP", 4);
	table->length = sizeof(*table);
	table->revision = 4;
	memcpy(table->oem_id, "UKRUN   ", 8);
	memcpy(table->product_id, "KVMFORK     ", 12);
	table->lapic_address = LAPIC_ADDRESS;
	mp_put_cpus(table, vm->config.nr_vcpus);
	mp_put_buses(table, vm->pci);
	mp_append(table, &ioapic, sizeof(ioapic));
	mp_put_interrupts(table, vm->pci);
	table->checksum = mp_checksum(table, table->length);

	memcpy(pointer->signature, "_MP_", 4);
	pointer->table = LOW_MPTABLE + TABLE_AT;
	pointer->length = 1;
	pointer->revision = 4;
	pointer->checksum = mp_checksum(pointer, sizeof(*pointer));
}
