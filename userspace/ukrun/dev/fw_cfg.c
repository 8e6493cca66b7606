// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's fw_cfg, docs/specs/fw_cfg.rst in its tree: numbers, which test kernels
 * ask for by a key, and no files.
 */
#include <pthread.h>
#include <string.h>

#include "device.h"
#include "log.h"

#define FW_CFG_PORT	0x510

#define KEY_SIGNATURE	0x0000
#define KEY_ID		0x0001
#define KEY_RAM_SIZE	0x0003
#define KEY_NB_CPUS	0x0005
#define KEY_MAX_CPUS	0x000f
#define KEY_FILE_DIR	0x0019

/* No DMA. */
#define ID_TRADITIONAL	1

struct fw_cfg {
	struct vm *vm;
	pthread_mutex_t lock;

	struct_group(state,
		uint16_t key;
		uint16_t offset;
	);
};

static size_t fw_cfg_item(const struct fw_cfg *fw_cfg, uint8_t *item)
{
	const struct config *config = &fw_cfg->vm->config;
	uint64_t value = 0;
	size_t size = 4;

	switch (fw_cfg->key) {
	case KEY_SIGNATURE:
		memcpy(item, "QEMU", size);
		return size;
	case KEY_ID:
		value = ID_TRADITIONAL;
		break;
	case KEY_RAM_SIZE:
		value = config->memory_size;
		size = 8;
		break;
	case KEY_NB_CPUS:
	case KEY_MAX_CPUS:
		value = config->nr_vcpus;
		size = 2;
		break;
	case KEY_FILE_DIR:
		break;
	default:
		return 0;
	}
	memcpy(item, &value, size);
	return size;
}

/* Behind the end of an item, and where there is none, are zeroes. */
static uint64_t fw_cfg_read(void *dev, uint64_t offset, unsigned int size)
{
	struct fw_cfg *fw_cfg = dev;
	uint8_t item[8];
	uint64_t value = 0;

	(void)size;
	if (!offset)
		return ~0ULL;
	pthread_mutex_lock(&fw_cfg->lock);
	if (fw_cfg->offset < fw_cfg_item(fw_cfg, item))
		value = item[fw_cfg->offset++];
	pthread_mutex_unlock(&fw_cfg->lock);
	return value;
}

static void fw_cfg_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct fw_cfg *fw_cfg = dev;

	if (offset || size != 2)
		return;
	pthread_mutex_lock(&fw_cfg->lock);
	fw_cfg->key = value;
	fw_cfg->offset = 0;
	pthread_mutex_unlock(&fw_cfg->lock);
}

static void fw_cfg_setup(struct vm *vm)
{
	static const struct io_ops ops = { fw_cfg_read, fw_cfg_write };
	struct fw_cfg *fw_cfg = xcalloc(1, sizeof(*fw_cfg));

	fw_cfg->vm = vm;
	pthread_mutex_init(&fw_cfg->lock, NULL);
	io_add(vm, IO_PORT, FW_CFG_PORT, 2, &ops, fw_cfg);
	device_add_state(vm, &fw_cfg->state, sizeof(fw_cfg->state));
}

DECLARE_DEVICE(fw_cfg, { .name = "fw_cfg", .setup = fw_cfg_setup });
