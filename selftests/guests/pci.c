// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI bus, and a driver of its own for the virtio-rng-pci on it, by either kind
 * of registers. What a driver must not do is harmless.
 *
 *	legacy	by those of before version 1.0
 *	absent	there is no bus
 *	fork	forks while a request is under way
 *	break	expects what is not there
 */
#include "cpu.h"
#include "guest.h"
#include "pci.h"
#include "virtio.h"
#include "x86.h"

#define QUEUE		8
#define BYTES		64
#define WAIT_MS		20000
#define BAR_PORTS	0
#define BAR_MEMORY	4
#define MEMORY_END	0xfe000000U
#define WINDOW		5

const char guest_name[] = "pci";

/* As legacy registers want it. */
static struct {
	struct desc desc[QUEUE];
	uint16_t avail_flags, avail_idx, avail[QUEUE], used_event;
	uint8_t pad[4096 - 16 * QUEUE - 6 - 2 * QUEUE];
	uint16_t used_flags, used_idx;
	struct {
		uint32_t id, len;
	} used[QUEUE];
	uint16_t avail_event;
} rng_ring __aligned(4096);

static struct virtio rng;
static uint8_t bytes[BYTES];

/* By ports and by memory, in all sizes. */
static void check_config(unsigned int slot)
{
	static const unsigned int sizes[] = { 1, 2, 4 };
	unsigned int reg, i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (reg = 0; reg < 256; reg += sizes[i])
			check_eq("ports and memory", pci_get(slot, reg, sizes[i]),
				 pci_ecam_get(slot, reg, sizes[i]));
	check_eq("behind 256 bytes", pci_ecam_get(slot, 256, 4), ~0U);
	check_eq("another function", peek(PCI_ECAM + (slot << 15 | 1 << 12), 4), ~0U);
}

static void check_spaces(void)
{
	unsigned int slot;

	check_eq("the bridge's class", pci_get(0, PCI_CLASS, 2), 0x0600);
	for (slot = 0; slot < PCI_SLOTS; slot++) {
		if (!slot || slot == rng.slot) {
			check_config(slot);
			continue;
		}
		check_eq("a slot without function", pci_get(slot, PCI_VENDOR, 4), ~0U);
		check_eq("a slot without function, in memory",
			 pci_ecam_get(slot, 8, 4), ~0U);
		check_eq("a byte of none", pci_get(slot, 9, 1), 0xff);
	}
	check_eq("half in, half behind", peek(PCI_ECAM + (rng.slot << 15) + 254, 4), ~0U);
	outl(0xcf8, 1U << 31 | 1 << 16);
	check_eq("another bus", inl(0xcfc), ~0U);
	outl(0xcf8, 0x7f000000);
	check_eq("the address, what is reserved apart", inl(0xcf8), 0);
	check_eq("data that is not enabled", inl(0xcfc), ~0U);
	outb(0xcf8, 0x80);
	check_eq("an address in part", inl(0xcf8), 0);
}

/* Whatever is written to it, in any size, what is fixed stays and the rest can be put back. */
static void check_writes(void)
{
	uint32_t before[64], seed = 5;
	unsigned int i;

	for (i = 0; i < 64; i++)
		before[i] = pci_get(rng.slot, 4 * i, 4);
	for (i = 0; i < 2000; i++) {
		unsigned int size = 1U << (seed >> 28 & 3);

		seed = seed * 1664525 + 1013904223;
		poke(PCI_ECAM + (rng.slot << 15) + (seed >> 10 & 0xff), size,
		     (uint64_t)seed * seed);
		peek(PCI_ECAM + (rng.slot << 15) + (seed >> 10 & 0xfff), size);
	}
	check_eq("the vendor", pci_get(rng.slot, PCI_VENDOR, 4), before[0]);
	check_eq("the class", pci_get(rng.slot, PCI_REVISION, 4), before[2]);
	check_eq("a BAR that there is not", pci_get(rng.slot, PCI_BAR(1), 4), 0);
	check_eq("the pin", pci_get(rng.slot, PCI_PIN, 1), 1);
	check_eq("capabilities", pci_get(rng.slot, PCI_CAPABILITIES, 1), before[13] & 0xff);
	for (i = 1; i < 64; i++)
		pci_ecam_set(rng.slot, 4 * i, 4, before[i]);
	for (i = 0; i < 64; i++)
		check_eq("what was put back", pci_get(rng.slot, 4 * i, 4), before[i]);
}

static void move(unsigned int bar, uint32_t to)
{
	pci_set(rng.slot, PCI_BAR(bar), 4, to);
	virtio_pci_locate(&rng);
}

static uint32_t bar_size(unsigned int bar)
{
	uint32_t old = pci_get(rng.slot, PCI_BAR(bar), 4), mask;

	pci_set(rng.slot, PCI_BAR(bar), 4, ~0U);
	mask = pci_get(rng.slot, PCI_BAR(bar), 4);
	pci_set(rng.slot, PCI_BAR(bar), 4, old);
	check_eq("a BAR after its size was asked", pci_get(rng.slot, PCI_BAR(bar), 4), old);
	mask &= mask & 1 ? ~3U : ~15U;
	return -mask;
}

static void begin(void)
{
	memset(&rng_ring, 0, sizeof(rng_ring));
	check(virtio_begin(&rng, FEATURE_VERSION_1 & virtio_features(&rng)), "features refused");
	virtio_set(&rng, VIRTIO_QUEUE_SEL, 0);
	check_eq("the size of the queue", virtio_get(&rng, VIRTIO_QUEUE_MAX), QUEUE);
	if (rng.legacy) {
		virtio_set(&rng, VIRTIO_QUEUE_PFN, (uint32_t)((uint64_t)&rng_ring / PAGE_SIZE));
	} else {
		/* In one access each; blk takes two. */
		poke(rng.common + 32, 8, (uint64_t)rng_ring.desc);
		poke(rng.common + 40, 8, (uint64_t)&rng_ring.avail_flags);
		poke(rng.common + 48, 8, (uint64_t)&rng_ring.used_flags);
		check_eq("a ring's address", peek(rng.common + 48, 8),
			 (uint64_t)&rng_ring.used_flags);
		virtio_set(&rng, VIRTIO_QUEUE_READY, 1);
	}
	virtio_ready(&rng);
}

static void offer(void)
{
	memset(bytes, 0, sizeof(bytes));
	rng_ring.desc[0] = (struct desc){ (uint64_t)bytes, sizeof(bytes), DESC_WRITE, 0 };
	rng_ring.avail[rng_ring.avail_idx % QUEUE] = 0;
	asm volatile("" : : : "memory");
	WRITE_ONCE(rng_ring.avail_idx, (uint16_t)(rng_ring.avail_idx + 1));
	virtio_set(&rng, VIRTIO_NOTIFY, 0);
}

static bool answered(void)
{
	static const uint8_t none[BYTES];
	uint64_t end = rdtsc() + WAIT_MS * tsc_per_ms();

	while (READ_ONCE(rng_ring.used_idx) != rng_ring.avail_idx)
		if (rdtsc() > end)
			return false;
	asm volatile("" : : : "memory");
	return memcmp(bytes, none, BYTES);
}

static void works(const char *when)
{
	begin();
	offer();
	check(answered(), "%s: no random bytes", when);
}

/* The line stays up until the driver looks, and no longer. */
static void check_interrupts(void)
{
	unsigned int i;

	works("before interrupts");
	/* What came until now. */
	virtio_get(&rng, VIRTIO_INTERRUPTS);
	for (i = 0; i < 20; i++) {
		rng.queue_irqs = 0;
		offer();
		while (!READ_ONCE(rng.queue_irqs))
			irq_enable_halt();
		check(answered(), "an interrupt, and no random bytes");
	}
	check_eq("causes that were taken", virtio_get(&rng, VIRTIO_INTERRUPTS), 0);
	rng.queue_irqs = 0;
	pci_set(rng.slot, PCI_COMMAND, 2, pci_get(rng.slot, PCI_COMMAND, 2) | COMMAND_INTX_OFF);
	offer();
	check(answered(), "without interrupts: no random bytes");
	irq_enable();
	delay_ms(20);
	irq_disable();
	check_eq("interrupts while they are off", rng.queue_irqs, 0);
	pci_set(rng.slot, PCI_COMMAND, 2, pci_get(rng.slot, PCI_COMMAND, 2) & ~COMMAND_INTX_OFF);
	while (!READ_ONCE(rng.queue_irqs))
		irq_enable_halt();
}

static void check_bars(void)
{
	unsigned int bar = rng.legacy ? BAR_PORTS : BAR_MEMORY;
	uint32_t old = pci_get(rng.slot, PCI_BAR(bar), 4), size = bar_size(bar);
	uint32_t command = pci_get(rng.slot, PCI_COMMAND, 2);

	check(size >= 32 && !(size & (size - 1)), "a BAR of 0x%x bytes", size);
	works("before the BAR moves");
	/* Kicks follow, too. */
	move(bar, rng.legacy ? 0xff00 | 1 : MEMORY_END - size);
	offer();
	check(answered(), "a BAR that was moved: no random bytes");
	pci_set(rng.slot, PCI_COMMAND, 2, command & ~(COMMAND_PORTS | COMMAND_MEMORY));
	check_eq("a BAR that is off", virtio_get(&rng, VIRTIO_STATUS), 0xff);
	pci_set(rng.slot, PCI_COMMAND, 2, command);
	/* Where nothing answers, and on top of others. */
	move(bar, 0xfffff000 | (rng.legacy ? 1 : 0));
	virtio_set(&rng, VIRTIO_STATUS, 0);
	move(bar, 0);
	move(bar, old);
	works("after the BAR moved");
}

static void check_window(void)
{
	unsigned int at = pci_get(rng.slot, PCI_CAPABILITIES, 1);

	while (at && pci_get(rng.slot, at + 3, 1) != WINDOW)
		at = pci_get(rng.slot, at + 1, 1);
	if (!check(at, "no window"))
		return;
	works("before the window");
	pci_set(rng.slot, at + 4, 1, BAR_MEMORY);
	pci_set(rng.slot, at + 8, 4, 20);
	pci_set(rng.slot, at + 12, 4, 1);
	check_eq("the status by the window", pci_get(rng.slot, at + 16, 1),
		 virtio_get(&rng, VIRTIO_STATUS));
	pci_set(rng.slot, at + 16, 1, 0);
	check_eq("a reset by the window", virtio_get(&rng, VIRTIO_STATUS), 0);
	/* Behind the BAR, odd, of a size that it has not. */
	pci_set(rng.slot, at + 8, 4, 0xfffffffc);
	pci_set(rng.slot, at + 12, 4, 4);
	pci_get(rng.slot, at + 16, 4);
	pci_set(rng.slot, at + 8, 4, 1);
	pci_set(rng.slot, at + 16, 4, ~0U);
	pci_set(rng.slot, at + 12, 4, 1U << 31);
	pci_set(rng.slot, at + 16, 4, ~0U);
	works("after the window");
}

/* Any size at any place. */
static void check_hostile(void)
{
	static const unsigned int sizes[] = { 1, 2, 4, 8 };
	uint32_t seed = 7;
	unsigned int i, size;

	for (i = 0; i < 3000; i++) {
		seed = seed * 1664525 + 1013904223;
		size = sizes[seed >> 30];
		if (rng.legacy && size < 8) {
			port_out((uint16_t)(rng.base + (seed >> 8 & 0x3f)), size, seed >> 4);
			port_in((uint16_t)(rng.base + (seed >> 16 & 0x3f)), size);
		} else if (!rng.legacy) {
			poke(rng.base + (seed >> 8 & (seed & 1 ? 0x3f : 0x3fff)), size, seed >> 4);
			peek(rng.base + (seed >> 12 & 0x3fff), size);
		}
	}
	works("after random accesses");
}

static void check_fork(void)
{
	long id;

	works("before the fork");
	offer();
	id = guest_fork();
	check(answered(), "%s: no random bytes", id ? "parent" : "child");
	check_interrupts();
	check_bars();
	if (!id) {
		say("child goes on");
		return;
	}
	guest_expect(id, 0);
	say("parent goes on");
}

void guest_main(void)
{
	if (arg_flag("absent")) {
		check_eq("no bus, by ports", pci_get(0, PCI_VENDOR, 4), ~0U);
		check_eq("no bus, in memory", pci_ecam_get(0, PCI_VENDOR, 4), ~0U);
		return;
	}
	virtio_need(&rng, VIRTIO_ID_RNG);
	check(rng.slot, "the device is not on the PCI bus");
	virtio_irq_init(&rng);
	if (arg_flag("fork")) {
		check_fork();
	} else {
		check_spaces();
		check_writes();
		check_interrupts();
		check_bars();
		if (rng.common)
			check_window();
		check_hostile();
	}
	if (arg_flag("break"))
		check_eq("break", pci_get(rng.slot, PCI_VENDOR, 2), 0x8086);
}
