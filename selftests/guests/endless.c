// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ring in which there is always one more for the device to do: the host must still
 * be able to stop it.
 */
#include "cpu.h"
#include "guest.h"
#include "virtio.h"
#include "x86.h"

#define AHEAD	(RING_SIZE / 2)
#define DEFLATE	1

const char guest_name[] = "endless";

static struct virtio dev;
static struct ring ring;
static uint32_t page;

void guest_main(void)
{
	volatile uint16_t *avail = &ring.avail_idx, *used = &ring.used_idx;

	virtio_need(&dev, VIRTIO_ID_BALLOON);
	check(virtio_begin(&dev, FEATURE_VERSION_1), "features refused");
	virtio_set_ring(&dev, DEFLATE, &ring);
	virtio_ready(&dev);
	/* All of the ring is descriptor 0. */
	ring.desc[0] = (struct desc){ (uint64_t)&page, sizeof(page), 0, 0 };
	*avail = AHEAD;
	virtio_set(&dev, VIRTIO_NOTIFY, DEFLATE);
	while (!*used)
		cpu_pause();
	say("goes on");
	for (;;) {
		*avail = *used + AHEAD;
		cpu_pause();
	}
}
