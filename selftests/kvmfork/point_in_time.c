// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory written by other threads during a fork. The child's image of one
 * memory file must be what the file was at one moment: a writer which goes
 * through the pages in order, round after round, leaves there some pages of
 * this round and then only pages of the round before.
 */
#include <pthread.h>
#include <sched.h>

#include "fork.h"
#include "harness.h"

#define PAGES	64
#define WRITERS	3
#define GPA	(16UL << 20)

struct writer {
	pthread_t thread;
	struct vm_slot *slot;
	bool by_file;
	bool *stop;
	uint64_t rounds;
	bool failed;
};

FIXTURE(point_in_time) {
	struct vm vm;
	struct writer writers[WRITERS];
	bool stop;
};

FIXTURE_VARIANT(point_in_time) {
	bool by_file;
};

FIXTURE_VARIANT_ADD(point_in_time, mapping) { .by_file = false };
FIXTURE_VARIANT_ADD(point_in_time, file) { .by_file = true };

static void write_page(struct writer *writer, unsigned int page, uint64_t round)
{
	uint64_t offset = page * PAGE_SIZE + 8 * (page % 512);

	if (!writer->by_file)
		__atomic_store_n((uint64_t *)(writer->slot->hva + offset), round,
				 __ATOMIC_RELEASE);
	else if (pwrite(writer->slot->memory_fd, &round, sizeof(round), offset) != sizeof(round))
		writer->failed = true;
}

static void *writer_run(void *arg)
{
	struct writer *writer = arg;

	while (!__atomic_load_n(writer->stop, __ATOMIC_RELAXED)) {
		writer->rounds++;
		for (unsigned int page = 0; page < PAGES; page++)
			write_page(writer, page, writer->rounds);
	}
	return NULL;
}

FIXTURE_SETUP(point_in_time)
{
	vm_create(&self->vm, VM_IRQCHIP_NONE);
	self->vm.attach_fd = vm_attach(self->vm.vm_fd);
	for (int i = 0; i < WRITERS; i++) {
		struct writer *writer = &self->writers[i];

		vm_memory_add(&self->vm, 0, GPA + i * PAGES * PAGE_SIZE, PAGES * PAGE_SIZE);
		writer->slot = &self->vm.slots[i];
		writer->by_file = variant->by_file;
		writer->stop = &self->stop;
		pthread_create(&writer->thread, NULL, writer_run, writer);
	}
}

static void stop_writers(FIXTURE_DATA(point_in_time) *self)
{
	if (__atomic_exchange_n(&self->stop, true, __ATOMIC_RELAXED))
		return;
	for (int i = 0; i < WRITERS; i++)
		pthread_join(self->writers[i].thread, NULL);
}

FIXTURE_TEARDOWN(point_in_time)
{
	stop_writers(self);
	vm_close(&self->vm);
}

static uint64_t read_page(struct vm *vm, unsigned int slot, unsigned int page)
{
	return *(uint64_t *)(vm->slots[slot].hva + page * PAGE_SIZE + 8 * (page % 512));
}

/* One moment, or not; where it was. */
static bool consistent(struct vm *vm, unsigned int slot, unsigned int *at)
{
	uint64_t first = read_page(vm, slot, 0);

	*at = PAGES;
	for (unsigned int page = 0; page < PAGES; page++) {
		uint64_t round = read_page(vm, slot, page);

		if (*at == PAGES && round != first)
			*at = page;
		if (round != (page < *at ? first : first - 1)) {
			fprintf(stderr, "# page 0 of round %llu, page %u of %llu, page %u of %llu\n",
				(unsigned long long)first, *at,
				(unsigned long long)read_page(vm, slot, *at % PAGES), page,
				(unsigned long long)round);
			return false;
		}
	}
	return true;
}

TEST_F(point_in_time, one_moment)
{
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL, last[WRITERS] = {};
	unsigned long forks = 0, inside = 0;
	struct vm child;

	while (test_now_ns() < end) {
		vm_fork(&self->vm, &child);
		forks++;
		for (int i = 0; i < WRITERS; i++) {
			unsigned int at;

			ASSERT_TRUE(consistent(&child, i, &at))
				TH_LOG("fork %lu, writer %d", forks, i);
			inside += at < PAGES;
			/* Time goes on from fork to fork. */
			ASSERT_LE(last[i], read_page(&child, i, 0));
			last[i] = read_page(&child, i, 0);
			/* The child's image holds still. */
			sched_yield();
			ASSERT_EQ(last[i], read_page(&child, i, 0));
		}
		vm_close(&child);
	}
	stop_writers(self);
	for (int i = 0; i < WRITERS; i++) {
		unsigned int at;

		EXPECT_FALSE(self->writers[i].failed);
		/* Nothing that the parent wrote is lost. */
		EXPECT_EQ(self->writers[i].rounds, read_page(&self->vm, i, PAGES - 1));
		EXPECT_TRUE(consistent(&self->vm, i, &at));
	}
	/* A run in which no fork fell into a round has shown little. */
	TH_LOG("%lu forks, %lu of %lu images in the middle of a round", forks, inside,
	       WRITERS * forks);
}

/* A template's image does not move, however long it is kept. */
TEST_F(point_in_time, template_holds_still)
{
	struct vm child;
	uint64_t seen[WRITERS][PAGES];
	int fd = vm_freeze(&self->vm);

	for (unsigned long round = 0; round < test_scaled(20); round++) {
		vm_spawn(fd, &self->vm, &child);
		for (int i = 0; i < WRITERS; i++) {
			for (unsigned int page = 0; page < PAGES; page++) {
				uint64_t value = read_page(&child, i, page);

				if (!round)
					seen[i][page] = value;
				ASSERT_EQ(seen[i][page], value);
			}
		}
		vm_close(&child);
	}
	close(fd);
}

TEST_HARNESS_MAIN
