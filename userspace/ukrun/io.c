// SPDX-License-Identifier: GPL-2.0-only
#include <stddef.h>
#include <string.h>

#include "io.h"
#include "log.h"
#include "vm.h"

void io_add(struct vm *vm, enum io_space space, uint64_t base, uint64_t size,
	    const struct io_ops *ops, void *dev)
{
	struct io *io = &vm->io;

	if (io->nr_regions == IO_REGIONS_MAX)
		die("more than %d device regions", IO_REGIONS_MAX);
	io->regions[io->nr_regions++] = (struct io_region){ space, base, size, ops, dev };
}

static const struct io_region *io_find(const struct io *io, enum io_space space,
				       uint64_t address, unsigned int size)
{
	const struct io_region *region;
	unsigned int i;

	for (i = 0; i < io->nr_regions; i++) {
		region = &io->regions[i];
		if (region->space == space && address >= region->base &&
		    address - region->base < region->size &&
		    size <= region->size - (address - region->base))
			return region;
	}
	return NULL;
}

/* Races with other vCPUs at worst tell of a port twice. */
static void io_tell(struct vm *vm, enum io_space space, uint64_t address, unsigned int size,
		    bool write)
{
	uint8_t bit = 1 << (address & 7);
	uint8_t *told = &vm->io.told_ports[(address & 0xffff) >> 3];

	if (!vm->config.verbose)
		return;
	if (space == IO_PORT && *told & bit)
		return;
	if (space == IO_MMIO && vm->io.told_mmio == address >> 12)
		return;
	if (space == IO_PORT)
		*told |= bit;
	else
		vm->io.told_mmio = address >> 12;
	vm_log(vm, "no device at %s 0x%llx, %s of %u bytes", space == IO_PORT ? "port" : "address",
	       (unsigned long long)address, write ? "write" : "read", size);
}

void io_access(struct vm *vm, enum io_space space, uint64_t address, unsigned int size,
	       bool write, void *data)
{
	const struct io_region *region = io_find(&vm->io, space, address, size);
	uint64_t value = ~0ULL;

	if (!region) {
		io_tell(vm, space, address, size, write);
	} else if (write) {
		value = 0;
		memcpy(&value, data, size);
		if (region->ops->write)
			region->ops->write(region->dev, address - region->base, size, value);
	} else if (region->ops->read) {
		value = region->ops->read(region->dev, address - region->base, size);
	}
	if (!write)
		memcpy(data, &value, size);
}
