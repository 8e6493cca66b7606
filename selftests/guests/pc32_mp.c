// SPDX-License-Identifier: GPL-2.0-only
/* pc32: the MP table, and the CPUs in it. */
#include "pc32.h"

#define LAPIC_ICR		0x300
#define LAPIC_ICR_HIGH		0x310

/* Where pc32_entry.S has its code for other CPUs, and what that leaves. */
#define AP_CODE			0x7000
#define AP_AX			(AP_CODE + 0xf00)
#define AP_FLAGS		(AP_CODE + 0xf02)
#define AP_COUNT		(AP_CODE + 0xf04)
#define FLAG_CARRY		1

struct mp_table {
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char ids[20];
	uint32_t oem_table;
	uint16_t oem_size, nr_entries;
	uint32_t lapic;
	uint32_t extended;
} __packed;

extern const uint8_t ap_start[], ap_end[];

uint32_t timer_pin;

static bool same(const void *a, const char *b, unsigned int n)
{
	const char *s = a;

	for (; n; n--)
		if (*s++ != *b++)
			return false;
	return true;
}

static uint8_t sum_of(const void *data, uint32_t size)
{
	const uint8_t *byte = data;
	uint8_t sum = 0;

	while (size--)
		sum += *byte++;
	return sum;
}

/* Where the MP specification says, in its order. */
static const uint8_t *find_mp(void)
{
	uint32_t ebda = (uint32_t)low_word(0x40e) << 4;
	uint32_t base = (uint32_t)low_word(0x413) << 10;
	const uint32_t from[] = { ebda, base - 1024, 0xf0000 };
	const uint32_t to[] = { ebda + 1024, base, 0x100000 };

	for (unsigned int i = 0; i < 3; i++)
		for (uint32_t at = from[i]; at < to[i]; at += 16)
			if (same((const void *)at, "_MP_", 4) && !sum_of((const void *)at, 16))
				return (const void *)at;
	return 0;
}

/* Returns how many CPUs there are. */
static uint32_t check_mp_entries(const struct mp_table *table)
{
	const uint8_t *entry = (const void *)(table + 1);
	uint32_t cpus = 0, boots = 0, ioapics = 0, buses = 0, timer = 0, locals = 0;

	for (uint32_t i = 0; i < table->nr_entries; i++) {
		switch (entry[0]) {
		case 0:
			check(entry[3] & 1, "a CPU that is not enabled", entry[3]);
			check(entry[1] == cpus, "id of a CPU", entry[1]);
			cpus++;
			boots += entry[3] >> 1 & 1;
			entry += 20;
			continue;
		case 1:
			buses += same(entry + 2, "ISA   ", 6);
			break;
		case 2:
			check(*(const uint32_t *)(entry + 4) == IOAPIC, "IOAPIC", entry[7]);
			mmio_write(IOAPIC, 0);
			check(entry[1] == (mmio_read(IOAPIC + 0x10) >> 24 & 15), "IOAPIC's id",
			      entry[1]);
			ioapics++;
			break;
		case 3:
			if (entry[1] == 0 && entry[5] == 0) {
				timer_pin = entry[7];
				timer++;
			}
			break;
		case 4:
			locals += (entry[1] == 3 && entry[7] == 0) || (entry[1] == 1 && entry[7] == 1);
			break;
		default:
			check(false, "type of an MP entry", entry[0]);
		}
		entry += 8;
	}
	check(entry == (const uint8_t *)table + table->length, "length of the MP table",
	      table->length);
	check(boots == 1, "CPUs that boot", boots);
	check(buses == 1, "ISA buses", buses);
	check(ioapics == 1, "IOAPICs", ioapics);
	check(timer == 1, "pins of the timer", timer);
	check(locals == 2, "local interrupts", locals);
	return cpus;
}

uint32_t check_mp(void)
{
	const uint8_t *pointer = find_mp();
	const struct mp_table *table;

	if (!check(pointer, "no MP table", 0))
		return 0;
	table = *(const struct mp_table **)(pointer + 4);
	if (!check(same(table->signature, "PCMP", 4), "no PCMP", (uint32_t)table))
		return 0;
	check(!sum_of(table, table->length), "checksum of the MP table",
	      sum_of(table, table->length));
	check(table->lapic == LAPIC, "LAPIC", table->lapic);
	return check_mp_entries(table);
}

/* INIT and two SIPIs for each, as the MP specification has it. */
void start_cpus(uint32_t cpus)
{
	volatile uint32_t *count = (volatile uint32_t *)AP_COUNT;
	uint8_t *to = (uint8_t *)AP_CODE;

	for (const uint8_t *from = ap_start; from < ap_end; from++)
		*to++ = *from;
	for (uint32_t id = 1; id < cpus; id++) {
		mmio_write(LAPIC + LAPIC_ICR_HIGH, id << 24);
		mmio_write(LAPIC + LAPIC_ICR, 0xc500);
		mmio_write(LAPIC + LAPIC_ICR, 0x8500);
		for (unsigned int twice = 0; twice < 2; twice++) {
			mmio_write(LAPIC + LAPIC_ICR_HIGH, id << 24);
			mmio_write(LAPIC + LAPIC_ICR, 0x600 | AP_CODE >> 12);
		}
		wait_for(count, id);
		if (!check(*count == id, "CPUs that started", *count))
			return;
	}
	if (cpus < 2)
		return;
	check(low_word(AP_AX) == 0x8620, "AX of int 0x15",
	      low_word(AP_AX));
	check(low_word(AP_FLAGS) & FLAG_CARRY, "flags of int 0x15",
	      low_word(AP_FLAGS));
}
