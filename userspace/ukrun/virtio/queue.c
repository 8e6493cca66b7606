// SPDX-License-Identifier: GPL-2.0-only
#include <stdatomic.h>
#include <string.h>

#include "memory.h"
#include "virtio/queue.h"
#include "worker.h"

#define DESC_SIZE	sizeof(struct vring_desc)

static uint16_t queue_load(const uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void queue_store(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Behind the rings' ends: where each side says which index it waits for. */
static uint16_t *queue_used_event(const struct queue *queue)
{
	return &queue->avail->ring[queue->state.size];
}

static uint16_t *queue_avail_event(const struct queue *queue)
{
	return (uint16_t *)&queue->used->ring[queue->state.size];
}

static bool queue_fails(struct queue *queue, const char *error)
{
	queue->error = error;
	return false;
}

static void *queue_ring(const struct queue *queue, uint64_t gpa, uint64_t size, uint64_t align)
{
	return gpa & (align - 1) ? NULL : memory_at(queue->vm, gpa, size);
}

bool queue_start(struct queue *queue, bool event_idx)
{
	const struct queue_state *state = &queue->state;
	uint64_t size = state->size;

	queue->running = false;
	queue->error = NULL;
	queue->event_idx = event_idx;
	if (!state->ready)
		return true;
	if (!size || size > queue->size_max || size & (size - 1))
		return queue_fails(queue, "the queue has no size that it may have");
	/* With room for the event indices, wanted or not. */
	queue->desc = queue_ring(queue, state->desc, size * DESC_SIZE, 16);
	queue->avail = queue_ring(queue, state->avail, 6 + 2 * size, 2);
	queue->used = queue_ring(queue, state->used, 6 + 8 * size, 4);
	if (!queue->desc || !queue->avail || !queue->used)
		return queue_fails(queue, "a ring is not in memory, or not aligned");
	queue->running = true;
	queue_begin_turn(queue);
	return true;
}

static bool queue_add(struct queue *queue, struct chain *chain, const struct vring_desc *desc)
{
	bool in = desc->flags & VRING_DESC_F_WRITE;
	unsigned int n = chain->nr_out + chain->nr_in;
	void *at = memory_at(queue->vm, desc->addr, desc->len);

	if (!desc->len)
		return queue_fails(queue, "a buffer of no length");
	if (!at)
		return queue_fails(queue, "a buffer that is not in memory");
	if (n == QUEUE_SIZE_MAX)
		return queue_fails(queue, "a chain that is too long, or a loop");
	if (!in && chain->nr_in)
		return queue_fails(queue, "a buffer to read behind one to write");
	chain->iov[n] = (struct iovec){ at, desc->len };
	if (in) {
		chain->nr_in++;
		chain->in_size += desc->len;
	} else {
		chain->nr_out++;
		chain->out_size += desc->len;
	}
	return true;
}

/* Once, wherever it lies: the guest may change it, and tables need not be aligned. */
static struct vring_desc queue_desc(const struct vring_desc *at)
{
	struct vring_desc desc;

	memcpy(&desc, at, sizeof(desc));
	atomic_signal_fence(memory_order_seq_cst);
	return desc;
}

/* From @at in a table of @size; a loop ends when more were met than there are. */
static bool queue_walk(struct queue *queue, struct chain *chain, const struct vring_desc *table,
		       uint32_t size, uint16_t at, const struct vring_desc **indirect,
		       uint32_t *indirect_size)
{
	struct vring_desc desc;
	uint32_t met;

	for (met = 0; met < size; met++) {
		if (at >= size)
			return queue_fails(queue, "a descriptor outside its table");
		desc = queue_desc(&table[at]);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			if (!indirect)
				return queue_fails(queue, "a table in a table");
			if (desc.flags & VRING_DESC_F_NEXT || !desc.len || desc.len % DESC_SIZE ||
			    desc.len / DESC_SIZE > UINT16_MAX)
				return queue_fails(queue, "a table of no size that it may have");
			*indirect = memory_at(queue->vm, desc.addr, desc.len);
			*indirect_size = desc.len / DESC_SIZE;
			return *indirect || queue_fails(queue, "a table that is not in memory");
		}
		if (!queue_add(queue, chain, &desc))
			return false;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return true;
		at = desc.next;
	}
	return queue_fails(queue, "a chain that is too long, or a loop");
}

/* How many there are. If none: have the driver kick, unless it adds one just now. */
static uint16_t queue_waiting(struct queue *queue)
{
	uint16_t waiting = queue_load(&queue->avail->idx) - queue->state.next_avail;

	if (waiting)
		return waiting;
	if (queue->event_idx)
		queue_store(queue_avail_event(queue), queue->state.next_avail);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return queue_load(&queue->avail->idx) - queue->state.next_avail;
}

void queue_begin_turn(struct queue *queue)
{
	queue->budget = queue->state.size;
}

/* A driver that always has one more must not keep us from looking at anything else. */
static bool queue_has_turn(struct queue *queue)
{
	if (!queue->budget)
		event_signal(queue->kick_fd);
	return queue->budget;
}

bool queue_has(struct queue *queue)
{
	return queue->running && !queue->error && queue_waiting(queue) && queue_has_turn(queue);
}

bool queue_pop(struct queue *queue, struct chain *chain)
{
	struct queue_state *state = &queue->state;
	const struct vring_desc *indirect = NULL;
	uint32_t indirect_size;
	uint16_t waiting;

	if (!queue->running || queue->error)
		return false;
	waiting = queue_waiting(queue);
	if (!waiting || !queue_has_turn(queue))
		return false;
	if (waiting > state->size)
		return queue_fails(queue, "more chains than there is room for");
	chain->head = queue_load(&queue->avail->ring[state->next_avail % state->size]);
	chain->nr_out = 0;
	chain->nr_in = 0;
	chain->out_size = 0;
	chain->in_size = 0;
	if (!queue_walk(queue, chain, queue->desc, state->size, chain->head, &indirect,
			&indirect_size))
		return false;
	if (indirect && !queue_walk(queue, chain, indirect, indirect_size, 0, NULL, NULL))
		return false;
	state->next_avail++;
	queue->budget--;
	return true;
}

void queue_unpop(struct queue *queue)
{
	queue->state.next_avail--;
}

void queue_push(struct queue *queue, uint16_t head, uint32_t written)
{
	struct queue_state *state = &queue->state;

	if (!queue->running)
		return;
	queue->used->ring[state->next_used % state->size] =
		(struct vring_used_elem){ .id = head, .len = written };
	queue_store(&queue->used->idx, ++state->next_used);
}

void queue_take_back(struct queue *queue, uint16_t next_avail)
{
	struct queue_state *state = &queue->state;

	state->next_avail = next_avail;
	state->next_used = queue_load(&queue->used->idx);
	state->told = state->next_used;
	/* Who had it may have had enough for a while. */
	queue_store(&queue->used->flags, 0);
}

bool queue_must_tell(struct queue *queue)
{
	struct queue_state *state = &queue->state;
	uint16_t told = state->told;

	if (!queue->running || told == state->next_used)
		return false;
	/* The driver must see the index before we see what it wants. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	state->told = state->next_used;
	if (!queue->event_idx)
		return !(queue_load(&queue->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(queue_load(queue_used_event(queue)), state->next_used, told);
}

static size_t iov_move(struct iovec **iov, unsigned int *n, void *to, const void *from,
		       size_t size)
{
	size_t done = 0, part;

	while (*n && done < size) {
		part = size - done < (*iov)->iov_len ? size - done : (*iov)->iov_len;
		if (to)
			memcpy((uint8_t *)to + done, (*iov)->iov_base, part);
		if (from)
			memcpy((*iov)->iov_base, (const uint8_t *)from + done, part);
		done += part;
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + part;
		(*iov)->iov_len -= part;
		if (!(*iov)->iov_len) {
			(*iov)++;
			(*n)--;
		}
	}
	return done;
}

size_t iov_take(struct iovec **iov, unsigned int *n, void *to, size_t size)
{
	return iov_move(iov, n, to, NULL, size);
}

size_t iov_put(struct iovec **iov, unsigned int *n, const void *from, size_t size)
{
	return iov_move(iov, n, NULL, from, size);
}

size_t iov_skip(struct iovec **iov, unsigned int *n, size_t size)
{
	return iov_move(iov, n, NULL, NULL, size);
}
