// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk as the standard has it, on the first disk: a MiB that is all
 * zeroes, `serial=disk0`.
 *
 *	fork	forks with requests under way: each is done once in both VMs,
 *		and neither sees what the other writes
 *	clones	--template was given: the children do the same
 *	break	expects what is not there
 */
#include "cpu.h"
#include "guest.h"
#include "virtio.h"
#include "x86.h"

#define SECTOR		512
#define SECTORS		2048
#define T_IN		0
#define T_OUT		1
#define T_FLUSH		4
#define T_GET_ID	8
#define T_DISCARD	11
#define T_WRITE_ZEROES	13
#define S_OK		0
#define S_IOERR		1
#define S_UNSUPP	2
#define F_EVERYTHING	(FEATURE_VERSION_1 | FEATURE_INDIRECT | FEATURE_EVENT_IDX)
#define REQUESTS	5
#define ROUNDS		200

const char guest_name[] = "blk";

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static struct virtio disk;
static struct ring ring;
static uint16_t used;
/* By slot: a request has three descriptors, or a table of them. */
static struct header headers[REQUESTS];
static volatile uint8_t statuses[REQUESTS];
static struct desc tables[REQUESTS][3] __aligned(16);
static uint8_t data[REQUESTS][4 * SECTOR] __aligned(4096);

static void fill(uint8_t *at, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i += 4, seed = seed * 1664525 + 1013904223)
		memcpy(at + i, &seed, 4);
}

static bool is_filled(const uint8_t *at, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i += 4, seed = seed * 1664525 + 1013904223)
		if (memcmp(at + i, &seed, 4))
			return false;
	return true;
}

static bool is_zero(const uint8_t *at, size_t size)
{
	while (size--)
		if (*at++)
			return false;
	return true;
}

static void offer(unsigned int slot, uint32_t type, uint64_t sector, uint32_t size, bool indirect)
{
	uint16_t head = (uint16_t)(3 * slot);
	uint16_t first = indirect ? 0 : head;
	struct desc *desc = indirect ? tables[slot] : &ring.desc[head];
	bool in = type == T_IN || type == T_GET_ID;

	headers[slot] = (struct header){ type, 0, sector };
	statuses[slot] = 0xee;
	desc[0] = (struct desc){ (uint64_t)&headers[slot], sizeof(struct header), DESC_NEXT,
				 (uint16_t)(first + (size ? 1 : 2)) };
	desc[1] = (struct desc){ (uint64_t)data[slot], size, DESC_NEXT | (in ? DESC_WRITE : 0),
				 (uint16_t)(first + 2) };
	desc[2] = (struct desc){ (uint64_t)&statuses[slot], 1, DESC_WRITE, 0 };
	if (indirect)
		ring.desc[head] = (struct desc){ (uint64_t)tables[slot], sizeof(tables[slot]),
						 DESC_INDIRECT, 0 };
	ring_offer(&ring, head);
}

static void kick(void)
{
	virtio_set(&disk, VIRTIO_NOTIFY, 0);
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t size)
{
	static unsigned int turn;
	unsigned int slot = 0;

	offer(slot, type, sector, size, turn++ & 1);
	kick();
	if (!check(ring_wait(&ring, ++used), "request %u: no answer", type))
		guest_end();
	check_eq("the chain that came back", ring.used[(used - 1) % RING_SIZE].id, 3 * slot);
	return statuses[slot];
}

static uint8_t clear(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct range range = { sector, sectors, flags };

	memcpy(data[0], &range, sizeof(range));
	return request(type, 0, sizeof(range));
}

static void begin(uint64_t features)
{
	check(virtio_begin(&disk, features & virtio_features(&disk)), "features 0x%lx refused",
	      features);
	virtio_set_ring(&disk, 0, &ring);
	used = 0;
	virtio_ready(&disk);
}

static void check_registers(void)
{
	uint64_t features = virtio_features(&disk);

	check_eq("magic", virtio_get(&disk, VIRTIO_MAGIC), 0x74726976);
	check_eq("capacity", virtio_get(&disk, VIRTIO_CONFIG), SECTORS);
	virtio_set(&disk, VIRTIO_QUEUE_SEL, 0);
	check(virtio_get(&disk, VIRTIO_QUEUE_MAX) >= RING_SIZE, "queue 0 is small");
	virtio_set(&disk, VIRTIO_QUEUE_SEL, 1);
	check_eq("size of a queue that is not there", virtio_get(&disk, VIRTIO_QUEUE_MAX), 0);
	virtio_set(&disk, VIRTIO_QUEUE_SEL, 0xffffffff);
	virtio_set(&disk, VIRTIO_QUEUE_NUM, 8);
	check_eq("an unknown register", virtio_get(&disk, 0xf0), 0);
	check_eq("behind the configuration", virtio_get(&disk, VIRTIO_CONFIG + 0xf0), 0);
	if (disk.legacy) {
		check_eq("version 1 of the standard", features & FEATURE_VERSION_1, 0);
		return;
	}
	check_eq("features of all", features & F_EVERYTHING, F_EVERYTHING);
	check(virtio_begin(&disk, features | 1ULL << 63), "what is not offered is not left out");
	check(virtio_begin(&disk, features & ~FEATURE_VERSION_1), "version 1 is insisted on");
	virtio_ready(&disk);
	check(virtio_get(&disk, VIRTIO_STATUS) & STATUS_DRIVER_OK, "not ready without version 1");
}

static void check_requests(void)
{
	fill(data[0], 2 * SECTOR, 1);
	check_eq("a write", request(T_OUT, 3, 2 * SECTOR), S_OK);
	memset(data[0], 0xcc, sizeof(data[0]));
	check_eq("a read", request(T_IN, 2, 4 * SECTOR), S_OK);
	check_eq("bytes written by a read", ring.used[(used - 1) % RING_SIZE].len, 4 * SECTOR + 1);
	check(is_zero(data[0], SECTOR) && is_filled(data[0] + SECTOR, 2 * SECTOR, 1) &&
	      is_zero(data[0] + 3 * SECTOR, SECTOR), "what is read is not what was written");
	check_eq("a flush", request(T_FLUSH, 0, 0), S_OK);
	check_eq("the serial number", request(T_GET_ID, 0, 20), S_OK);
	check(!memcmp(data[0], "disk0", 6), "the serial number is another");
	check_eq("the last sector", request(T_IN, SECTORS - 1, SECTOR), S_OK);
	check_eq("past the end", request(T_IN, SECTORS - 1, 2 * SECTOR), S_IOERR);
	check_eq("far past the end", request(T_OUT, ~0ULL, SECTOR), S_IOERR);
	check_eq("a sum that wraps", request(T_IN, ~0ULL - 1, 4 * SECTOR), S_IOERR);
	check_eq("half a sector", request(T_IN, 0, SECTOR / 2), S_IOERR);
	check_eq("no data at all", request(T_IN, 0, 0), S_IOERR);
	check_eq("an unknown request", request(77, 0, SECTOR), S_UNSUPP);
	check_eq("zeroes", clear(T_WRITE_ZEROES, 4, 1, 0), S_OK);
	check_eq("a read", request(T_IN, 3, 2 * SECTOR), S_OK);
	check(is_filled(data[0], SECTOR, 1) && is_zero(data[0] + SECTOR, SECTOR),
	      "zeroes are in the wrong place");
	check_eq("a discard", clear(T_DISCARD, 0, 16, 0), S_OK);
	check_eq("zeroes in holes", clear(T_WRITE_ZEROES, 0, 16, 1), S_OK);
	check_eq("a read", request(T_IN, 3, 2 * SECTOR), S_OK);
	check(is_zero(data[0], 2 * SECTOR), "discarded data is there");
	check_eq("a discard past the end", clear(T_DISCARD, SECTORS - 1, 2, 0), S_IOERR);
	check_eq("a discard of nothing", clear(T_DISCARD, 0, 0, 0), S_IOERR);
	check_eq("a discard with an unknown flag", clear(T_DISCARD, 0, 1, 2), S_UNSUPP);
	check_eq("a device that is well",
		 virtio_get(&disk, VIRTIO_STATUS) & STATUS_NEEDS_RESET, 0);
}

/* All slots at once, over and over: indices wrap, interrupts come. */
static void check_many(void)
{
	unsigned int round, slot;

	disk.queue_irqs = 0;
	for (round = 0; round < ROUNDS; round++) {
		for (slot = 0; slot < REQUESTS; slot++) {
			fill(data[slot], SECTOR, round * REQUESTS + slot);
			offer(slot, T_OUT, 100 + slot, SECTOR, slot & 1);
		}
		/* Sleeps: only an interrupt wakes us. */
		WRITE_ONCE(ring.used_event, (uint16_t)(used + REQUESTS - 1));
		kick();
		used = (uint16_t)(used + REQUESTS);
		while (READ_ONCE(ring.used_idx) != used)
			irq_enable_halt();
		for (slot = 0; slot < REQUESTS; slot++)
			check_eq("one of many writes", statuses[slot], S_OK);
	}
	for (slot = 0; slot < REQUESTS; slot++) {
		check_eq("a read", request(T_IN, 100 + slot, SECTOR), S_OK);
		check(is_filled(data[0], SECTOR, (ROUNDS - 1) * REQUESTS + slot),
		      "sector %u is not what was written last", 100 + slot);
	}
	check(disk.queue_irqs > 0, "no interrupts");
}

static void expect_sector(const char *who, uint64_t sector, uint32_t seed)
{
	check_eq("a read", request(T_IN, sector, SECTOR), S_OK);
	check(is_filled(data[0], SECTOR, seed), "%s: sector %lu is not what it should be", who,
	      sector);
}

static void write_sector(uint64_t sector, uint32_t seed)
{
	fill(data[0], SECTOR, seed);
	check_eq("a write", request(T_OUT, sector, SECTOR), S_OK);
}

/* Requests that are under way when the VM is copied. @seed: of this VM alone. */
static void finish_requests(const char *who)
{
	unsigned int slot;

	used = (uint16_t)(used + REQUESTS);
	if (!check(ring_wait(&ring, used), "%s: %u of %u are used", who,
		   (unsigned int)ring.used_idx, (unsigned int)used))
		guest_end();
	for (slot = 0; slot < REQUESTS; slot++)
		check_eq("a write over a fork", statuses[slot], S_OK);
	delay_ms(20);
	check_eq("none was done twice", ring.used_idx, used);
	for (slot = 0; slot < REQUESTS; slot++)
		expect_sector(who, 200 + slot, 7000 + slot);
}

static void start_requests(void)
{
	unsigned int slot;

	for (slot = 0; slot < REQUESTS; slot++) {
		fill(data[slot], SECTOR, 7000 + slot);
		offer(slot, T_OUT, 200 + slot, SECTOR, slot & 1);
	}
	kick();
}

/* Neither of the two sees the other's writes, in whichever order they come. */
static void live_apart(const char *who, uint32_t seed)
{
	expect_sector(who, 300, 5300);
	write_sector(300, seed);
	write_sector(313, seed + 1);
	delay_ms(50);
	expect_sector(who, 300, seed);
	expect_sector(who, 301, 5301);
	expect_sector(who, 313, seed + 1);
	expect_sector(who, 320, 5320);
	check_eq("zeroes", clear(T_WRITE_ZEROES, 304, 8, 0), S_OK);
	write_sector(320, seed + 2);
	delay_ms(50);
	check_eq("a read", request(T_IN, 306, 4 * SECTOR), S_OK);
	check(is_zero(data[0], 4 * SECTOR), "%s: zeroes have gone", who);
	expect_sector(who, 320, seed + 2);
	expect_sector(who, 303, 5303);
	expect_sector(who, 312, 5312);
	expect_sector(who, 330, 5330);
	check_eq("a flush", request(T_FLUSH, 0, 0), S_OK);
}

static void prepare_sectors(void)
{
	unsigned int i;

	for (i = 300; i < 340; i++)
		write_sector(i, 5000 + i);
}

static void child(uint32_t seed)
{
	long id;

	live_apart("child", seed);
	/* What a grandchild sees is what its parent has made of it. */
	id = guest_fork();
	if (id) {
		write_sector(300, seed + 10);
		guest_expect(id, 0);
		expect_sector("child", 300, seed + 10);
		expect_sector("child", 313, seed + 1);
		return;
	}
	delay_ms(50);
	expect_sector("grandchild", 300, seed);
	expect_sector("grandchild", 320, seed + 2);
	expect_sector("grandchild", 330, 5330);
	write_sector(313, seed + 11);
	expect_sector("grandchild", 313, seed + 11);
}

static void check_fork(void)
{
	long first, second;

	prepare_sectors();
	start_requests();
	first = guest_fork();
	finish_requests(first ? "parent" : "child");
	if (!first) {
		child(100000);
		return;
	}
	/* The second child is forked off another disk than the first. */
	write_sector(330, 1);
	second = guest_fork();
	if (!second) {
		expect_sector("second child", 330, 1);
		write_sector(330, 5330);
		child(200000);
		return;
	}
	write_sector(330, 5330);
	live_apart("parent", 300000);
	guest_expect(first, 0);
	guest_expect(second, 0);
	expect_sector("parent", 300, 300000);
}

static void check_clones(void)
{
	long number;

	prepare_sectors();
	start_requests();
	number = guest_call(KVMFORK_CALL_FREEZE, 0, 0, NULL);
	check(number > 0, "FREEZE returned %ld", number);
	finish_requests("clone");
	live_apart("clone", (uint32_t)number * 1000);
	say("clone %ld is done", number);
}

void guest_main(void)
{
	virtio_need(&disk, VIRTIO_ID_BLOCK);
	virtio_irq_init(&disk);
	check_registers();
	begin(disk.legacy ? 0 : F_EVERYTHING);
	if (arg_flag("clones")) {
		check_clones();
	} else if (arg_flag("fork")) {
		check_fork();
	} else {
		check_requests();
		check_many();
		/* Again, without event indices and tables. */
		begin(disk.legacy ? 0 : FEATURE_VERSION_1);
		check_many();
	}
	if (arg_flag("break"))
		expect_sector("break", 0, 12345);
}
