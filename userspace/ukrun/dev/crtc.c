// SPDX-License-Identifier: GPL-2.0-only
/*
 * The index and the registers of a 6845, as a colour VGA has them, with nothing
 * behind: kernels which write to the screen as well as to COM1 keep its cursor
 * there, and xv6 gives up when that is none.
 */
#include <pthread.h>

#include "device.h"
#include "log.h"

#define CRTC_PORT	0x3d4
#define CRTC_REGISTERS	32

struct crtc {
	pthread_mutex_t lock;

	struct_group(state,
		uint8_t index;
		uint8_t registers[CRTC_REGISTERS];
	);
};

static uint64_t crtc_read(void *dev, uint64_t offset, unsigned int size)
{
	struct crtc *crtc = dev;
	uint64_t value;

	pthread_mutex_lock(&crtc->lock);
	value = crtc->index | (uint64_t)crtc->registers[crtc->index] << 8;
	pthread_mutex_unlock(&crtc->lock);
	return size == 1 ? (value >> (8 * offset)) & 0xff : value;
}

/* A word is the index and what goes there. */
static void crtc_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct crtc *crtc = dev;

	pthread_mutex_lock(&crtc->lock);
	if (!offset)
		crtc->index = value % CRTC_REGISTERS;
	if (offset || size > 1)
		crtc->registers[crtc->index] = offset ? value : value >> 8;
	pthread_mutex_unlock(&crtc->lock);
}

static void crtc_setup(struct vm *vm)
{
	static const struct io_ops ops = { crtc_read, crtc_write };
	struct crtc *crtc = xcalloc(1, sizeof(*crtc));

	pthread_mutex_init(&crtc->lock, NULL);
	io_add(vm, IO_PORT, CRTC_PORT, 2, &ops, crtc);
	device_add_state(vm, &crtc->state, sizeof(crtc->state));
}

DECLARE_DEVICE(crtc, { .name = "crtc", .setup = crtc_setup });
