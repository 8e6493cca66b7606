/* SPDX-License-Identifier: GPL-2.0-only */
/* Which device answers at which port or address. */
#ifndef UKRUN_IO_H
#define UKRUN_IO_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

enum io_space {
	IO_PORT,
	IO_MMIO,
};

/*
 * @offset counts from the start of the region; @size is 1, 2, 4 or 8. Called
 * from any vCPU, several at a time: a device locks for itself, and holds no
 * lock when it returns.
 */
struct io_ops {
	uint64_t (*read)(void *dev, uint64_t offset, unsigned int size);
	void (*write)(void *dev, uint64_t offset, unsigned int size, uint64_t value);
};

struct io_region {
	enum io_space space;
	uint64_t base, size;
	const struct io_ops *ops;
	void *dev;
};

#define IO_REGIONS_MAX	64

struct io {
	struct io_region regions[IO_REGIONS_MAX];
	unsigned int nr_regions;
	/* Ports nobody answers at that -v has told of. */
	uint8_t told_ports[65536 / 8];
	uint64_t told_mmio;
};

/* Set-up only, before vCPUs run. A null read answers all ones. */
void io_add(struct vm *vm, enum io_space space, uint64_t base, uint64_t size,
	    const struct io_ops *ops, void *dev);

/* Where nothing answers, reads give all ones and writes are lost. */
void io_access(struct vm *vm, enum io_space space, uint64_t address, unsigned int size,
	       bool write, void *data);

#endif
