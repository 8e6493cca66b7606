/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Split virtqueues, the device's side. All that lies in guest memory may be
 * anything and change at any time: it is read once, then checked. What breaks
 * the rules is told in @error, and the queue is not to be used any more.
 *
 * One thread uses a queue.
 */
#ifndef UKRUN_QUEUE_H
#define UKRUN_QUEUE_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vm;

/* The largest queue, and the longest chain. */
#define QUEUE_SIZE_MAX	256

/* What the guest can change: device_add_state(). */
struct queue_state {
	uint64_t desc, avail, used;	/* guest-physical */
	uint16_t size;
	bool ready;
	uint16_t next_avail, next_used;
	/* Up to where the driver was told, with event indices. */
	uint16_t told;
};

struct queue {
	struct vm *vm;
	struct queue_state state;
	uint16_t size_max;
	int kick_fd;

	/* Set by queue_start(). */
	bool event_idx;
	bool running;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	const char *error;
	/* Chains that may still be taken before others have their turn; then it is kicked. */
	unsigned int budget;
};

/* What the driver put into one slot: first what it gives, then what it wants. */
struct chain {
	uint16_t head;
	unsigned int nr_out, nr_in;
	size_t out_size, in_size;
	struct iovec iov[QUEUE_SIZE_MAX];
};

/*
 * Find the rings. False, with @error, when they are not all in guest memory; a
 * queue that is not ready is left alone.
 */
bool queue_start(struct queue *queue, bool event_idx);

/* Have a turn: so many chains as the queue has room for. */
void queue_begin_turn(struct queue *queue);

/* Is there a chain? If not, the driver will kick when it adds one. */
bool queue_has(struct queue *queue);

/*
 * Take the next chain. False: there is none, and the driver will kick when it
 * adds one; or there is an error.
 */
bool queue_pop(struct queue *queue, struct chain *chain);
/* As if the last chain had not been taken. */
void queue_unpop(struct queue *queue);
/* Give a chain back; the device has written the first @written bytes of its in part. */
void queue_push(struct queue *queue, uint16_t head, uint32_t written);

/* Somebody else has served it since queue_start(), up to @next_avail. */
void queue_take_back(struct queue *queue, uint16_t next_avail);

/* Does the driver want an interrupt for what was pushed since the last call? */
bool queue_must_tell(struct queue *queue);

/* Parts of lists of memory; all return the number of bytes, less at the end. */
size_t iov_take(struct iovec **iov, unsigned int *n, void *to, size_t size);
size_t iov_put(struct iovec **iov, unsigned int *n, const void *from, size_t size);
size_t iov_skip(struct iovec **iov, unsigned int *n, size_t size);

#endif
