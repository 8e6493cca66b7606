// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-balloon: pages that are given away, or said to be free, are zero when they
 * are used again, and those beside them are not. `ask`: gives what the host asks for.
 * `break`: expects what is not there.
 */
#include "cpu.h"
#include "guest.h"
#include "virtio.h"
#include "x86.h"

#define FEATURE_REPORTING	(1ULL << 5)
#define INFLATE			0
#define DEFLATE			1
#define REPORT			2
#define QUEUES			3
#define NUM_PAGES		(VIRTIO_CONFIG + 0)
#define ACTUAL			(VIRTIO_CONFIG + 4)
#define PAGES			16

const char guest_name[] = "balloon";

static struct virtio dev;
static struct ring rings[QUEUES];
static uint16_t used[QUEUES];
static uint32_t numbers[PAGES];
static uint8_t pages[PAGES][PAGE_SIZE] __aligned(4096);

static void begin(void)
{
	check(virtio_begin(&dev, virtio_features(&dev) & (FEATURE_VERSION_1 | FEATURE_REPORTING)),
	      "features refused");
	for (unsigned int i = 0; i < QUEUES; i++) {
		virtio_set_ring(&dev, i, &rings[i]);
		used[i] = 0;
	}
	virtio_ready(&dev);
}

static void offer(unsigned int queue, void *at, uint32_t size, uint16_t flags)
{
	rings[queue].desc[0] = (struct desc){ (uint64_t)at, size, flags, 0 };
	ring_offer(&rings[queue], 0);
	virtio_set(&dev, VIRTIO_NOTIFY, queue);
}

static void wait(unsigned int queue)
{
	if (!check(ring_wait(&rings[queue], ++used[queue]), "queue %u: no answer", queue))
		guest_end();
}

static void fill(void)
{
	for (unsigned int i = 0; i < PAGES; i++)
		memset(pages[i], (int)(i + 1), PAGE_SIZE);
}

/* Those of which @gone has a bit are zero, the others are as they were. */
static void expect(const char *what, uint32_t gone)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		uint8_t want = gone >> i & 1 ? 0 : (uint8_t)(i + 1);

		for (unsigned int j = 0; j < PAGE_SIZE; j += 511)
			if (!check(READ_ONCE(pages[i][j]) == want, "%s: page %u has %u at %u", what, i,
				   pages[i][j], j))
				break;
	}
}

/* The pages of @which, in this order. */
static void give(const uint8_t *which, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		numbers[i] = (uint32_t)((uint64_t)pages[which[i]] / PAGE_SIZE);
	offer(INFLATE, numbers, n * 4, 0);
	wait(INFLATE);
}

static void check_pages(void)
{
	static const uint8_t up[] = { 2, 3, 4 }, down[] = { 9, 8, 7 }, apart[] = { 1, 15, 6 };

	fill();
	give(up, 3);
	expect("pages in order", 0x1c);
	fill();
	give(down, 3);
	expect("pages the other way round", 0x380);
	fill();
	give(apart, 3);
	expect("pages here and there", 0x8042);
	fill();
	offer(DEFLATE, numbers, 12, 0);
	wait(DEFLATE);
	expect("pages that are back", 0);
	offer(REPORT, pages[4], 3 * PAGE_SIZE, DESC_WRITE);
	wait(REPORT);
	expect("pages that are free", 0x70);
	/* Of no whole number, or nothing. */
	fill();
	offer(INFLATE, numbers, 3, 0);
	wait(INFLATE);
	expect("half a number", 0);
}

static void refused(const char *what)
{
	check(virtio_wait_status(&dev, STATUS_NEEDS_RESET), "%s: the device goes on", what);
	expect(what, 0);
	begin();
}

static void check_hostile(void)
{
	fill();
	numbers[0] = (uint32_t)(boot_state.memory / PAGE_SIZE);
	offer(INFLATE, numbers, 4, 0);
	refused("a page behind memory");
	numbers[0] = 0xffffffff;
	offer(INFLATE, numbers, 4, 0);
	refused("a page at the end of all");
	numbers[0] = 0xfee00;
	offer(INFLATE, numbers, 4, 0);
	refused("a page of the local APIC");
	offer(REPORT, pages[4] + 8, PAGE_SIZE, DESC_WRITE);
	refused("a free page that is two halves");
	offer(REPORT, pages[4], PAGE_SIZE / 2, DESC_WRITE);
	refused("half a free page");
}

/* What one gives away the other has still. */
static void check_fork(void)
{
	static const uint8_t first[] = { 0, 1 }, second[] = { 14, 15 };
	long id;

	fill();
	id = guest_fork();
	if (id) {
		give(first, 2);
		expect("parent", 0x3);
		guest_expect(id, 0);
		expect("parent", 0x3);
	} else {
		give(second, 2);
		delay_ms(200);
		expect("child", 0xc000);
	}
}

/* From the end of memory, where nobody is. */
static void give_as_asked(void)
{
	uint32_t want, have = 0, top = (uint32_t)(boot_state.memory / PAGE_SIZE);

	say("ready");
	while (!(want = virtio_get(&dev, NUM_PAGES)))
		delay_ms(1);
	check(dev.config_irqs || arg_flag("break"), "no interrupt says so");
	while (have < want) {
		uint32_t n = want - have < PAGES ? want - have : PAGES;

		for (uint32_t i = 0; i < n; i++, have++)
			numbers[i] = --top;
		offer(INFLATE, numbers, n * 4, 0);
		wait(INFLATE);
	}
	virtio_set(&dev, ACTUAL, have);
	check_eq("what is read back", virtio_get(&dev, ACTUAL), have);
	say("has given %u pages", have);
	while (virtio_get(&dev, NUM_PAGES))
		delay_ms(1);
	virtio_set(&dev, ACTUAL, 0);
}

void guest_main(void)
{
	virtio_need(&dev, VIRTIO_ID_BALLOON);
	begin();
	if (arg_flag("ask")) {
		virtio_irq_init(&dev);
		irq_enable();
		give_as_asked();
		return;
	}
	check_pages();
	check_hostile();
	check_fork();
	if (arg_flag("break"))
		expect("break", 0xffff);
}
