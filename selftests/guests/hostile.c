// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings that no driver may make. Each stops the device, which says so, and
 * nothing else; after a reset it works again. `break`: a ring that is fine.
 */
#include "cpu.h"
#include "guest.h"
#include "virtio.h"
#include "x86.h"

#define SECTOR	512

const char guest_name[] = "hostile";

static struct virtio dev;
static struct ring ring;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static uint8_t sector[SECTOR] __aligned(4096);
static volatile uint8_t status;
static struct desc table[600] __aligned(16);

static void begin(void)
{
	check(virtio_begin(&dev, FEATURE_VERSION_1 | FEATURE_INDIRECT), "features refused");
	virtio_set_ring(&dev, 0, &ring);
	virtio_ready(&dev);
}

/* A read of the first sector, for the tests to spoil. */
static void good_chain(struct desc *desc)
{
	memset(&header, 0, sizeof(header));
	status = 0xee;
	desc[0] = (struct desc){ (uint64_t)&header, sizeof(header), DESC_NEXT, 1 };
	desc[1] = (struct desc){ (uint64_t)sector, SECTOR, DESC_NEXT | DESC_WRITE, 2 };
	desc[2] = (struct desc){ (uint64_t)&status, 1, DESC_WRITE, 0 };
}

static void good_table(void)
{
	good_chain(table);
	ring.desc[0] = (struct desc){ (uint64_t)table, 3 * sizeof(*table), DESC_INDIRECT, 0 };
}

static void kick(void)
{
	virtio_set(&dev, VIRTIO_NOTIFY, 0);
}

static void works(void)
{
	begin();
	good_chain(ring.desc);
	ring_offer(&ring, 0);
	kick();
	check(ring_wait(&ring, 1) && !status, "the device does not work after a reset");
}

/* The ring is spoilt; @head is offered. */
static void refused(const char *what, uint16_t head)
{
	dev.config_irqs = 0;
	ring_offer(&ring, head);
	kick();
	check(virtio_wait_status(&dev, STATUS_NEEDS_RESET), "%s: the device goes on", what);
	check_eq(what, ring.used_idx, 0);
	check(status == 0xee, "%s: something was done", what);
	irq_enable();
	for (int i = 0; i < 1000 && !dev.config_irqs; i++)
		delay_ms(1);
	irq_disable();
	check(dev.config_irqs, "%s: no interrupt says so", what);
	works();
}

/* With a chain that is fine but for one descriptor. */
static void refused_desc(const char *what, unsigned int at, struct desc desc)
{
	begin();
	good_chain(ring.desc);
	ring.desc[at] = desc;
	refused(what, 0);
	begin();
	good_table();
	table[at] = desc;
	refused(what, 0);
}

static void check_descriptors(void)
{
	uint64_t end = boot_state.memory;

	refused_desc("a buffer behind all memory", 1,
		     (struct desc){ end, SECTOR, DESC_NEXT | DESC_WRITE, 2 });
	refused_desc("a buffer half in memory", 1,
		     (struct desc){ end - 256, SECTOR, DESC_NEXT | DESC_WRITE, 2 });
	refused_desc("a buffer that wraps", 1,
		     (struct desc){ ~0ULL - 100, SECTOR, DESC_NEXT | DESC_WRITE, 2 });
	refused_desc("a buffer in the PCI hole", 1,
		     (struct desc){ 0xfeb00000, SECTOR, DESC_NEXT | DESC_WRITE, 2 });
	refused_desc("a buffer of no length", 1,
		     (struct desc){ (uint64_t)sector, 0, DESC_NEXT | DESC_WRITE, 2 });
	refused_desc("a buffer of 4 GiB", 1,
		     (struct desc){ (uint64_t)sector, ~0U, DESC_NEXT | DESC_WRITE, 2 });
	refused_desc("a loop", 1,
		     (struct desc){ (uint64_t)sector, SECTOR, DESC_NEXT | DESC_WRITE, 1 });
	refused_desc("a next outside", 1,
		     (struct desc){ (uint64_t)sector, SECTOR, DESC_NEXT | DESC_WRITE, 4000 });
	refused_desc("reading behind writing", 2, (struct desc){ (uint64_t)sector, 1, 0, 0 });
	refused_desc("a header that is short", 0,
		     (struct desc){ (uint64_t)&header, 8, DESC_NEXT, 1 });
	refused_desc("no room for the status", 0,
		     (struct desc){ (uint64_t)&header, sizeof(header), 0, 0 });
}

static void check_rings(void)
{
	begin();
	good_chain(ring.desc);
	refused("a head outside", RING_SIZE);
	begin();
	good_chain(ring.desc);
	WRITE_ONCE(ring.avail_idx, RING_SIZE);
	refused("more heads than there is room for", 0);
}

static void check_tables(void)
{
	unsigned int i;

	begin();
	good_table();
	ring.desc[0].len = 0;
	refused("an empty table", 0);
	begin();
	good_table();
	ring.desc[0].len = 40;
	refused("half a descriptor", 0);
	begin();
	good_table();
	ring.desc[0].addr = boot_state.memory - 16;
	refused("a table half in memory", 0);
	begin();
	good_table();
	ring.desc[0].flags |= DESC_NEXT;
	refused("a table with a next", 0);
	begin();
	good_table();
	table[0] = ring.desc[0];
	refused("a table in a table", 0);
	begin();
	good_table();
	for (i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = (struct desc){ (uint64_t)&header, 1, DESC_NEXT, (uint16_t)(i + 1) };
	ring.desc[0].len = sizeof(table);
	refused("a chain of 600", 0);
}

/* Rings themselves where they may not be: seen when the driver is ready. */
static void refused_ring(const char *what, unsigned int reg, uint64_t address)
{
	check(virtio_begin(&dev, FEATURE_VERSION_1), "features refused");
	virtio_set_ring(&dev, 0, &ring);
	virtio_set(&dev, reg, (uint32_t)address);
	virtio_set(&dev, reg + 4, (uint32_t)(address >> 32));
	virtio_ready(&dev);
	check(virtio_wait_status(&dev, STATUS_NEEDS_RESET), "%s: the device goes on", what);
	works();
}

static void check_places(void)
{
	uint64_t end = boot_state.memory;

	refused_ring("descriptors behind memory", VIRTIO_QUEUE_DESC, end);
	refused_ring("descriptors half in memory", VIRTIO_QUEUE_DESC, end - 16);
	refused_ring("descriptors at an odd place", VIRTIO_QUEUE_DESC, (uint64_t)&ring + 8);
	refused_ring("the available ring in the hole", VIRTIO_QUEUE_AVAIL, 0xfee00000);
	refused_ring("the available ring at an odd place", VIRTIO_QUEUE_AVAIL,
		     (uint64_t)&ring + 1);
	refused_ring("the used ring at the end of addresses", VIRTIO_QUEUE_USED, ~0ULL - 3);
	refused_ring("the used ring at an odd place", VIRTIO_QUEUE_USED, (uint64_t)&ring + 2);
}

static void check_sizes(void)
{
	static const uint32_t sizes[] = { 0, 3, 100000, 0xffffffff };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		check(virtio_begin(&dev, FEATURE_VERSION_1), "features refused");
		virtio_set_ring(&dev, 0, &ring);
		virtio_set(&dev, VIRTIO_QUEUE_NUM, sizes[i]);
		virtio_ready(&dev);
		check(virtio_wait_status(&dev, STATUS_NEEDS_RESET), "a queue of %u is taken",
		      sizes[i]);
		works();
	}
}

/* Registers in any order and size: nothing may come of it but nothing. */
static void check_registers(void)
{
	uint32_t seed = 1;

	for (int i = 0; i < 3000; i++) {
		seed = seed * 1664525 + 1013904223;
		virtio_set(&dev, seed >> 8 & 0x1fc, seed >> 16 & 1 ? seed : seed >> 28);
		if (!(i % 16))
			*(volatile uint8_t *)(dev.base + (seed >> 10 & 0x1ff)) = (uint8_t)seed;
	}
	works();
}

void guest_main(void)
{
	virtio_need(&dev, VIRTIO_ID_BLOCK);
	virtio_irq_init(&dev);
	works();
	if (arg_flag("break")) {
		begin();
		good_chain(ring.desc);
		refused("a ring that is fine", 0);
		return;
	}
	check_descriptors();
	check_rings();
	check_tables();
	check_places();
	check_sizes();
	check_registers();
}
