// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_CONVERT while others write to the memory, or map it otherwise. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "convert.h"
#include "harness.h"

#define MIB	(1UL << 20)
#define GPA	(16 * MIB)
#define SIZE	(8 * MIB)
#define PAGES	(SIZE / PAGE_SIZE)
#define WRITERS	3

struct writer {
	struct race *race;
	unsigned int number;
	pthread_t thread;
	void *(*fn)(void *arg);
	char *spare;			/* MIB, of move_away() */
	unsigned long counts[PAGES];
	unsigned long total;
};

struct race {
	struct vm vm;
	char *hva;
	bool stop;
	pthread_barrier_t begin;
	struct writer writers[WRITERS];
};

static struct race *race_create(void)
{
	struct race *race = calloc(1, sizeof(*race));

	TEST_REQUIRE(race, "out of memory");
	pthread_barrier_init(&race->begin, NULL, WRITERS);
	vm_create_default(&race->vm, VM_IRQCHIP_NONE, 1);
	return race;
}

static void race_destroy(struct race *race)
{
	vm_close(&race->vm);
	free(race);
}

static bool stopped(struct race *race)
{
	return __atomic_load_n(&race->stop, __ATOMIC_RELAXED);
}

/*
 * When all have their stacks and what else they need: no mapping is to be made
 * in the gaps that some of them leave for a moment.
 */
static void *begin(void *arg)
{
	struct writer *writer = arg;

	pthread_barrier_wait(&writer->race->begin);
	return writer->fn(writer);
}

static void start(struct race *race, void *(*fn)(void *arg))
{
	race->stop = false;
	for (unsigned int i = 0; i < WRITERS; i++) {
		struct writer *writer = &race->writers[i];

		memset(writer, 0, sizeof(*writer));
		writer->race = race;
		writer->number = i;
		writer->fn = fn;
		writer->spare = memory_anonymous(MIB);
		TEST_REQUIRE(!pthread_create(&writer->thread, NULL, begin, writer), "thread");
	}
}

static unsigned long stop(struct race *race)
{
	unsigned long total = 0;

	__atomic_store_n(&race->stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < WRITERS; i++) {
		pthread_join(race->writers[i].thread, NULL);
		munmap(race->writers[i].spare, MIB);
		total += race->writers[i].total;
	}
	return total;
}

/* All writers count in the same words, in pages that are there and in holes. */
static void *count_up(void *arg)
{
	struct writer *writer = arg;
	unsigned int seed = writer->number + 1;

	while (!stopped(writer->race)) {
		unsigned long page = rand_r(&seed) % PAGES;
		unsigned long *word = (unsigned long *)(writer->race->hva + page * PAGE_SIZE);

		__atomic_add_fetch(word + page % 512, 1, __ATOMIC_RELAXED);
		writer->counts[page]++;
		writer->total++;
	}
	return NULL;
}

/* The kernel writes, for a system call: each writer has words of its own. */
static void *read_up(void *arg)
{
	struct writer *writer = arg;
	unsigned int seed = writer->number + 1;
	int fds[2];

	TEST_REQUIRE(!pipe(fds), "pipe: %m");
	while (!stopped(writer->race)) {
		unsigned long page = rand_r(&seed) % PAGES;
		unsigned long *word = (unsigned long *)(writer->race->hva + page * PAGE_SIZE);
		unsigned long value = ++writer->counts[page];

		TEST_REQUIRE(write(fds[1], &value, sizeof(value)) == sizeof(value), "write");
		TEST_REQUIRE(read(fds[0], word + writer->number, sizeof(value)) == sizeof(value),
			     "read into guest memory: %m");
		writer->total++;
	}
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

static unsigned long count_lost(struct race *race, bool own_words)
{
	unsigned long lost = 0;

	for (unsigned long page = 0; page < PAGES; page++) {
		unsigned long *word = (unsigned long *)(race->hva + page * PAGE_SIZE), sum = 0;

		for (unsigned int i = 0; i < WRITERS; i++) {
			sum += race->writers[i].counts[page];
			if (own_words)
				lost += word[i] != race->writers[i].counts[page];
		}
		if (!own_words)
			lost += word[page % 512] != sum;
	}
	return lost;
}

FIXTURE(writers) {
	struct race *race;
};

FIXTURE_VARIANT(writers) {
	void *(*fn)(void *arg);
	int flags;
	bool memfd;
	bool huge;
	bool forked;
};

FIXTURE_VARIANT_ADD(writers, anonymous) { .fn = count_up, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(writers, huge) { .fn = count_up, .flags = MAP_PRIVATE, .huge = true };
FIXTURE_VARIANT_ADD(writers, memfd) { .fn = count_up, .flags = MAP_SHARED, .memfd = true };
FIXTURE_VARIANT_ADD(writers, memfd_private) {
	.fn = count_up, .flags = MAP_PRIVATE, .memfd = true
};

/* Pages shared with a process made by fork(), which writers copy. */
FIXTURE_VARIANT_ADD(writers, copied_on_write) {
	.fn = count_up, .flags = MAP_PRIVATE, .forked = true
};

FIXTURE_VARIANT_ADD(writers, kernel) { .fn = read_up, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(writers, kernel_memfd) { .fn = read_up, .flags = MAP_SHARED, .memfd = true };

FIXTURE_SETUP(writers)
{
	self->race = race_create();
}

FIXTURE_TEARDOWN(writers)
{
	race_destroy(self->race);
}

static int wait_to_be_killed(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

static char *map_memory(int flags, bool memfd)
{
	int fd = memfd ? memfd_create("test", MFD_CLOEXEC) : -1;
	char *hva;

	TEST_REQUIRE(!memfd || !ftruncate(fd, SIZE), "memfd: %m");
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags | (memfd ? 0 : MAP_ANONYMOUS), fd, 0);
	TEST_REQUIRE(hva != MAP_FAILED, "mmap: %m");
	if (memfd)
		close(fd);
	return hva;
}

TEST_F(writers, lose_nothing)
{
	struct race *race = self->race;
	unsigned long total = 0, early = 0, rounds = test_scaled(30);

	for (unsigned long i = 0; i < rounds; i++) {
		unsigned long before;
		pid_t pid = 0;

		race->hva = map_memory(variant->flags, variant->memfd);
		if (variant->huge)
			madvise(race->hva, SIZE, MADV_HUGEPAGE);
		ASSERT_EQ(0, __vm_slot_set(&race->vm, 1, 0, GPA, SIZE, race->hva));
		if (variant->forked) {
			memset(race->hva, 0, SIZE);
			pid = process_start(wait_to_be_killed, NULL);
		}
		start(race, variant->fn);
		usleep(1000 * (i % 10));
		/* However slow the machine is, they are in the midst of it once. */
		do {
			before = __atomic_load_n(&race->writers[0].total, __ATOMIC_RELAXED);
		} while (!before && i == rounds - 1 && !usleep(1000));
		EXPECT_LE(0, __vm_convert(&race->vm));
		early += before != 0;
		usleep(1000);
		total += stop(race);
		EXPECT_EQ(0, count_lost(race, variant->fn == read_up)) TH_LOG("round %lu", i);
		EXPECT_EQ(1, count_mappings(race->hva, SIZE));
		ASSERT_EQ(0, __vm_slot_set(&race->vm, 1, 0, 0, 0, NULL));
		munmap(race->hva, SIZE);
		if (pid) {
			kill(pid, SIGKILL);
			process_wait(pid);
		}
	}
	TH_LOG("%lu writes in %lu rounds, %lu of which began ahead", total, rounds, early);
	EXPECT_LT(0, early);
}

/* What others may do to the mapping at any time. */
static void *change_protection(void *arg)
{
	struct writer *writer = arg;
	char *at = writer->race->hva + writer->number * MIB;

	while (!stopped(writer->race)) {
		mprotect(at, MIB, PROT_READ);
		mprotect(at, MIB, PROT_READ | PROT_WRITE);
		writer->total++;
	}
	return NULL;
}

static void *drop_pages(void *arg)
{
	struct writer *writer = arg;
	char *at = writer->race->hva + writer->number * MIB;

	while (!stopped(writer->race)) {
		memset(at, 1, MIB / 4);
		madvise(at, MIB / 2, MADV_DONTNEED);
		writer->total++;
	}
	return NULL;
}

static void *map_anew(void *arg)
{
	struct writer *writer = arg;
	char *at = writer->race->hva + writer->number * MIB;

	while (!stopped(writer->race)) {
		munmap(at, MIB / 2);
		mmap(at, MIB / 2, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		writer->total++;
	}
	return NULL;
}

static void *move_away(void *arg)
{
	struct writer *writer = arg;
	char *at = writer->race->hva + writer->number * MIB;
	char *to = writer->spare;

	while (!stopped(writer->race)) {
		mremap(at, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		mremap(to, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, at);
		writer->total++;
	}
	return NULL;
}

static void *fork_processes(void *arg)
{
	struct writer *writer = arg;

	while (!stopped(writer->race)) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		writer->total++;
	}
	return NULL;
}

static void *convert_too(void *arg)
{
	struct writer *writer = arg;
	struct race *race = writer->race;

	while (!stopped(race)) {
		struct convert_call call;
		int ret;

		convert_call_init(&call, &race->vm);
		call.args.nr_mappings = 0;
		ret = convert_call_run(&call, race->vm.attach_fd);
		TEST_REQUIRE(!ret || ret == -EALREADY, "convert: %s: %s", strerror(-ret),
			     call.message);
		writer->total++;
	}
	return NULL;
}

FIXTURE(others) {
	struct race *race;
};

FIXTURE_VARIANT(others) {
	void *(*fn)(void *arg);
	bool keeps_memory;	/* what nobody touches is as it was */
	bool may_fail;
};

FIXTURE_VARIANT_ADD(others, protection) { .fn = change_protection, .may_fail = true };
FIXTURE_VARIANT_ADD(others, dropping) { .fn = drop_pages };
FIXTURE_VARIANT_ADD(others, mapping_anew) { .fn = map_anew, .may_fail = true };
FIXTURE_VARIANT_ADD(others, moving) { .fn = move_away, .may_fail = true };
FIXTURE_VARIANT_ADD(others, forking) { .fn = fork_processes };
FIXTURE_VARIANT_ADD(others, converting) { .fn = convert_too, .may_fail = true };

FIXTURE_SETUP(others)
{
	self->race = race_create();
}

FIXTURE_TEARDOWN(others)
{
	race_destroy(self->race);
}

/*
 * The call does it, or says why not. What is beyond the reach of the others
 * keeps what it holds, and when they are gone it can be done.
 */
TEST_F(others, change_the_mapping)
{
	struct race *race = self->race;
	unsigned long done = 0, failed = 0, total = 0;
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL;
	const unsigned long reach = WRITERS * MIB;

	while (test_now_ns() < end) {
		struct convert_call call;
		int ret;

		race->hva = memory_anonymous(SIZE);
		memset(race->hva + reach, 5, SIZE - reach);
		ASSERT_EQ(0, __vm_slot_set(&race->vm, 1, 0, GPA, SIZE, race->hva));
		start(race, variant->fn);
		usleep(2000);
		convert_call_init(&call, &race->vm);
		call.args.nr_mappings = 0;
		ret = convert_call_run(&call, race->vm.attach_fd);
		EXPECT_TRUE(!ret || variant->may_fail) TH_LOG("%s", call.message);
		EXPECT_TRUE(!ret || ret == -EBUSY || ret == -EMEDIUMTYPE || ret == -EALREADY)
			TH_LOG("%s: %s", strerror(-ret), call.message);
		if (ret)
			failed++;
		else
			done++;
		total += stop(race);
		for (unsigned long at = reach; at < SIZE; at += PAGE_SIZE)
			ASSERT_EQ(5, race->hva[at]);
		convert_call_init(&call, &race->vm);
		call.args.nr_mappings = 0;
		ret = convert_call_run(&call, race->vm.attach_fd);
		/* Some of it may have come to lie where it does not belong. */
		EXPECT_TRUE(!ret || ret == -EMEDIUMTYPE) TH_LOG("%s", call.message);
		ASSERT_EQ(0, __vm_slot_set(&race->vm, 1, 0, 0, 0, NULL));
		munmap(race->hva, SIZE);
	}
	TH_LOG("%lu done, %lu failed, %lu times changed", done, failed, total);
	EXPECT_LT(0, total);
	EXPECT_LT(0, done + failed);
}

TEST_HARNESS_MAIN
