/* SPDX-License-Identifier: GPL-2.0-only */
/* Of the guest pc32, which is several files. */
#ifndef _PC32_H
#define _PC32_H

#include <stdbool.h>
#include <stdint.h>

#include "bare.h"
#include "x86.h"

#define __packed		__attribute__((packed))

#define LAPIC			0xfee00000
#define IOAPIC			0xfec00000

static inline uint32_t mmio_read(uint32_t address)
{
	return *(volatile uint32_t *)address;
}

static inline void mmio_write(uint32_t address, uint32_t v)
{
	*(volatile uint32_t *)address = v;
}

/* Low memory, which the compiler takes for a null pointer and what is behind it. */
static inline uint16_t low_word(uint32_t address)
{
	uint16_t v;

	asm volatile("movw (%1), %0" : "=r"(v) : "r"(address) : "memory");
	return v;
}

/* Until @count has come to @want, but not for ever. */
void wait_for(volatile uint32_t *count, uint32_t want);

/* pc32_mp.c: returns how many CPUs the table has. */
uint32_t check_mp(void);
void start_cpus(uint32_t cpus);
/* The 8254's pin of the IOAPIC, as the table has it. */
extern uint32_t timer_pin;

#endif
