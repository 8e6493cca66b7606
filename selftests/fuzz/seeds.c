// SPDX-License-Identifier: GPL-2.0-only
/*
 * usage: seeds DIRECTORY
 *
 * The inputs to begin with: each kind of request, to each target, made as a
 * good driver makes them, in descriptors of the ring and in a table.
 */
#include <err.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "input.h"

#define RING_SIZE	8
#define DESC_AT		0x000
#define AVAIL_AT	0x080
#define USED_AT		0x0c0
#define HEADER_AT	0x140
#define TABLE_AT	0x180
#define STATUS_AT	0x1c0
#define DATA_AT		0x200
#define MEMORY_SIZE	0x800

static struct {
	struct input input;
	uint8_t memory[MEMORY_SIZE];
} __attribute__((packed)) seed;

static void put_desc(unsigned int table, unsigned int at, uint64_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	struct vring_desc desc = { addr, len, flags, next };

	memcpy(seed.memory + table + at * sizeof(desc), &desc, sizeof(desc));
}

static void begin(enum target target)
{
	uint16_t avail[] = { 0, 1, 0 };

	memset(&seed, 0, sizeof(seed));
	seed.input.target = target;
	seed.input.event_idx = 3;
	seed.input.size_log = 3;
	seed.input.desc = DESC_AT;
	seed.input.avail = AVAIL_AT;
	seed.input.used = USED_AT;
	memcpy(seed.memory + AVAIL_AT, avail, sizeof(avail));
}

static void save(const char *dir, const char *name)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%u-%s", dir, seed.input.target, name);
	file = fopen(path, "w");
	if (!file || fwrite(&seed, sizeof(seed), 1, file) != 1 || fclose(file))
		err(1, "%s", path);
}

static void save_blk(const char *dir, enum target target, uint32_t type, uint32_t size,
		     bool indirect)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct virtio_blk_outhdr header = { .type = type, .sector = 2 };
	struct virtio_blk_discard_write_zeroes range = { .sector = 1, .num_sectors = 20 };
	unsigned int table = indirect ? TABLE_AT : DESC_AT;
	char name[32];

	begin(target);
	memcpy(seed.memory + HEADER_AT, &header, sizeof(header));
	if (size == sizeof(range))
		memcpy(seed.memory + DATA_AT, &range, sizeof(range));
	put_desc(table, 0, HEADER_AT, sizeof(header), VRING_DESC_F_NEXT, size ? 1 : 2);
	put_desc(table, 1, DATA_AT, size, VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0), 2);
	put_desc(table, 2, STATUS_AT, 1, VRING_DESC_F_WRITE, 0);
	if (indirect)
		put_desc(DESC_AT, 0, TABLE_AT, 3 * sizeof(struct vring_desc),
			 VRING_DESC_F_INDIRECT, 0);
	snprintf(name, sizeof(name), "blk-%u-%s", type, indirect ? "table" : "ring");
	save(dir, name);
}

static void save_all_blk(const char *dir, enum target target)
{
	static const struct {
		uint32_t type, size;
	} kinds[] = {
		{ VIRTIO_BLK_T_IN, 1024 }, { VIRTIO_BLK_T_OUT, 1024 }, { VIRTIO_BLK_T_FLUSH, 0 },
		{ VIRTIO_BLK_T_GET_ID, 20 }, { VIRTIO_BLK_T_DISCARD, 16 },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 16 },
	};
	unsigned int i;

	for (i = 0; i < 2 * sizeof(kinds) / sizeof(kinds[0]); i++)
		save_blk(dir, target, kinds[i / 2].type, kinds[i / 2].size, i & 1);
}

static void save_buffer(const char *dir, enum target target, uint32_t size, bool in)
{
	begin(target);
	put_desc(DESC_AT, 0, DATA_AT, size, in ? VRING_DESC_F_WRITE : 0, 0);
	save(dir, in ? "in" : "out");
}

/* A message of 9P, its arguments as bytes; strings have their size before them. */
struct p9_seed {
	const char *name;
	uint8_t type;
	const char *bytes;
	unsigned int size;
};

#define P9_SEED(name, type, bytes)	{ name, type, bytes, sizeof(bytes) - 1 }
#define ROOT	"\0\0\0\0"
#define FILE_1	"\1\0\0\0"
#define NEW	"\2\0\0\0"
#define ZERO	"\0\0\0\0"
#define NAME	"\4\0file"
#define OTHER	"\5\0other"
#define UP	"\2\0.."
#define LINK	"\4\0link"
#define RDWR	"\2\0\0\0"

static const struct p9_seed p9_seeds[] = {
	P9_SEED("version", 100, "\0\40\0\0\10\09P2000.L"),
	P9_SEED("attach", 104, NEW "\377\377\377\377\1\0u\1\0a" ZERO),
	P9_SEED("flush", 108, "\1\0"),
	P9_SEED("walk", 110, ROOT NEW "\1\0" NAME),
	P9_SEED("walk-up", 110, ROOT NEW "\2\0" UP LINK),
	P9_SEED("create", 114, ROOT OTHER "\377\1\0\200\0\0\0"),
	P9_SEED("read", 116, FILE_1 ZERO ZERO "\100\0\0\0"),
	P9_SEED("write", 118, FILE_1 ZERO ZERO "\4\0\0\0text"),
	P9_SEED("clunk", 120, FILE_1),
	P9_SEED("remove", 122, FILE_1),
	P9_SEED("statfs", 8, ROOT),
	P9_SEED("lopen", 12, ROOT ZERO),
	P9_SEED("lcreate", 14, ROOT OTHER RDWR "\377\1\0\0" ZERO),
	P9_SEED("symlink", 16, ROOT OTHER UP ZERO),
	P9_SEED("mknod", 18, ROOT OTHER "\377\21\0\0" ZERO ZERO ZERO),
	P9_SEED("readlink", 22, FILE_1),
	P9_SEED("getattr", 24, FILE_1 "\377\7\0\0" ZERO),
	P9_SEED("setattr", 26, FILE_1 "\377\1\0\0\377\1\0\0" ZERO ZERO RDWR ZERO
		ZERO ZERO ZERO ZERO ZERO ZERO ZERO ZERO),
	P9_SEED("readdir", 40, ROOT ZERO ZERO "\100\1\0\0"),
	P9_SEED("fsync", 50, FILE_1 ZERO),
	P9_SEED("lock", 52, FILE_1 "\1" ZERO ZERO ZERO ZERO ZERO ZERO "\1\0c"),
	P9_SEED("getlock", 54, FILE_1 "\1" ZERO ZERO ZERO ZERO ZERO "\1\0c"),
	P9_SEED("link", 70, ROOT FILE_1 OTHER),
	P9_SEED("mkdir", 72, ROOT OTHER "\377\1\0\0" ZERO),
	P9_SEED("rename", 74, ROOT NAME ROOT OTHER),
	P9_SEED("unlink", 76, ROOT NAME ZERO),
};

#define P9_ANSWER_SIZE	0x200

static void save_p9(const char *dir, const struct p9_seed *p9)
{
	uint32_t size = 7 + p9->size;

	begin(TARGET_9P);
	memcpy(seed.memory + DATA_AT, &size, sizeof(size));
	seed.memory[DATA_AT + 4] = p9->type;
	memcpy(seed.memory + DATA_AT + 7, p9->bytes, p9->size);
	put_desc(DESC_AT, 0, DATA_AT, size, VRING_DESC_F_NEXT, 1);
	put_desc(DESC_AT, 1, MEMORY_SIZE, P9_ANSWER_SIZE, VRING_DESC_F_WRITE, 0);
	save(dir, p9->name);
}

int main(int argc, char **argv)
{
	enum target target;
	unsigned int i;

	if (argc != 2)
		errx(1, "usage: seeds DIRECTORY");
	for (target = TARGET_BLK; target <= TARGET_BLK_KEEPS; target++)
		save_all_blk(argv[1], target);
	save_buffer(argv[1], TARGET_NET, 0x600, true);
	save_buffer(argv[1], TARGET_NET, 74, false);
	save_buffer(argv[1], TARGET_RNG, 64, true);
	save_buffer(argv[1], TARGET_SERIAL, 64, true);
	save_buffer(argv[1], TARGET_SERIAL, 64, false);
	save_buffer(argv[1], TARGET_BALLOON, 4096, true);
	save_buffer(argv[1], TARGET_BALLOON, 16, false);
	save_buffer(argv[1], TARGET_VSOCK, 8, true);
	for (i = 0; i < sizeof(p9_seeds) / sizeof(p9_seeds[0]); i++)
		save_p9(argv[1], &p9_seeds[i]);
	return 0;
}
