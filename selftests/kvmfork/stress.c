// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once, at random: processes of several threads, each with a VM
 * of its own which it forks, freezes, spawns, resets, writes behind, punches,
 * detaches and closes; templates that go from process to process; processes
 * that are killed in the middle. The guests check their own memory all the time,
 * and in the end all memory is back and the module is unused.
 *
 * KVMFORK_TEST_SECONDS: how long. KVMFORK_TEST_SEED: the choices of each thread (which
 * the others' timing still mixes); a new one is printed.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "fork.h"
#include "harness.h"

#define PROCESSES	3
#define THREADS		2
#define MANY		3

#define RAM_GPA		(16UL << 20)
#define GUEST_PAGES	16		/* the guest's own, in front */
#define HOST_PAGES	48		/* written from outside */
#define RAM_SIZE	((GUEST_PAGES + HOST_PAGES) * PAGE_SIZE)
#define WRONG		0xdeadU

enum operation {
	FORK, FREEZE, SPAWN, SPAWN_MANY, RESET, RUN, TOUCH, PWRITE, WRITEV, PUNCH, ATTACH, MOVE,
	RECEIVE, OPERATIONS,
};

static const char *const names[OPERATIONS] = {
	"forks", "freezes", "spawns", "spawns of many", "resets", "runs", "touches", "writes",
	"process_vm_writev", "punches", "attaches", "moves", "templates received",
};

/* Seen by all processes. */
static struct shared {
	unsigned long done[OPERATIONS];
	uint64_t end;			/* by test_now_ns() */
} *shared;

static int mail[2];			/* templates on their way */

struct worker {
	uint64_t random;
	struct vm vm;
	uint32_t generation;
	int template;
	uint32_t template_generation;
	struct vm frozen;		/* as vm was then: where its slots lay */
};

/* xorshift */
static unsigned int choose(struct worker *worker, unsigned int end)
{
	worker->random ^= worker->random << 13;
	worker->random ^= worker->random >> 7;
	worker->random ^= worker->random << 17;
	return (worker->random >> 16) % end;
}

/* All pages have the last generation's number; then they get the next one's. */
static void __guest guest_check(uint64_t arg)
{
	for (uint64_t generation = arg + 1;; generation++) {
		uint64_t result = generation;

		for (uint64_t i = 0; i < GUEST_PAGES; i++) {
			uint64_t address = RAM_GPA + i * PAGE_SIZE + 8 * i;

			if (guest_read64(address) != generation - 1)
				result = WRONG;
			guest_write64(address, generation);
		}
		guest_sync(result);
	}
}

static void expect_next(struct vm *vm, uint32_t generation)
{
	uint32_t found = vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);

	TEST_REQUIRE(found == generation + 1, "generation %u instead of %u", found,
		     generation + 1);
}

static void freeze(struct worker *worker)
{
	worker->template = vm_freeze(&worker->vm);
	worker->template_generation = worker->generation;
	worker->frozen = worker->vm;
}

static void start_vm(struct worker *worker)
{
	vm_create_default(&worker->vm, VM_IRQCHIP_KERNEL, 1 + choose(worker, 2));
	vm_memory_add(&worker->vm, 0, RAM_GPA, RAM_SIZE);
	vcpu_start(&worker->vm.vcpus[0], 0, guest_check, 0);
	worker->generation = 0;
	freeze(worker);
}

/* The child lives on, or the parent, or neither is any different. */
static void do_fork(struct worker *worker)
{
	struct vm child;

	vm_fork(&worker->vm, &child);
	expect_next(&child, worker->generation);
	if (choose(worker, 2)) {
		expect_next(&worker->vm, worker->generation);
		vm_close(&child);
	} else {
		vm_close(&worker->vm);
		worker->vm = child;
	}
	worker->generation++;
}

static void do_receive(struct worker *worker);

static void do_freeze(struct worker *worker)
{
	close(worker->template);
	freeze(worker);
	if (choose(worker, 4))
		return;
	/* One out before one in, so that nobody waits for room. */
	do_receive(worker);
	fd_send(mail[0], worker->template);
}

static void do_spawn(struct worker *worker)
{
	struct vm child;

	vm_spawn(worker->template, &worker->frozen, &child);
	expect_next(&child, worker->template_generation);
	vm_close(&child);
}

static void do_spawn_many(struct worker *worker)
{
	struct fork_call calls[MANY];
	struct kvmfork_spawn spawns[MANY];
	int32_t results[MANY];
	struct kvmfork_spawn_many args = {
		.flags = choose(worker, 2) ? KVMFORK_SPAWN_MANY_ALL : 0,
		.spawns = (unsigned long)spawns,
		.results = (unsigned long)results,
		.count = MANY,
	};
	int ret;

	for (int i = 0; i < MANY; i++) {
		spawn_call_init(&calls[i]);
		spawns[i] = calls[i].args.spawn;
	}
	ret = xioctl(worker->template, KVMFORK_SPAWN_MANY, &args);
	TEST_REQUIRE(!ret && args.nr_spawned == MANY, "KVMFORK_SPAWN_MANY: %d, %u spawned", ret,
		     args.nr_spawned);
	for (int i = 0; i < MANY; i++) {
		struct vm child;

		calls[i].args.spawn = spawns[i];
		fork_call_child(&calls[i], &worker->frozen, &child);
		expect_next(&child, worker->template_generation);
		vm_close(&child);
	}
}

static void do_reset(struct worker *worker)
{
	vm_reset(&worker->vm, worker->template);
	worker->generation = worker->template_generation;
}

static char *host_page(struct worker *worker)
{
	return (char *)vm_hva(&worker->vm, RAM_GPA) +
	       (GUEST_PAGES + choose(worker, HOST_PAGES)) * PAGE_SIZE;
}

static void do_pwrite(struct worker *worker)
{
	off_t at = (GUEST_PAGES + choose(worker, HOST_PAGES)) * PAGE_SIZE - 4;

	/* The end of a guest's page, which it does not look at. */
	TEST_REQUIRE(pwrite(worker->vm.slots[1].memory_fd, "writing", 7, at) > 0, "pwrite: %m");
}

static void do_writev(struct worker *worker)
{
	struct iovec local = { "writing", 7 }, remote = { host_page(worker), 7 };

	TEST_REQUIRE(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 7,
		     "process_vm_writev: %m");
}

static void do_punch(struct worker *worker)
{
	unsigned int first = choose(worker, HOST_PAGES);

	TEST_REQUIRE(!fallocate(worker->vm.slots[1].memory_fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(GUEST_PAGES + first) * PAGE_SIZE,
				(1 + choose(worker, HOST_PAGES - first)) * PAGE_SIZE),
		     "punching: %m");
}

static void do_attach(struct worker *worker)
{
	close(worker->vm.attach_fd);
	worker->vm.attach_fd = vm_attach(worker->vm.vm_fd);
}

/* Entries of the page table go elsewhere; or all of the mapping is made anew. */
static void do_move(struct worker *worker)
{
	char *here = vm_hva(&worker->vm, RAM_GPA), *there;

	if (choose(worker, 2)) {
		there = mmap(here, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			     worker->vm.slots[1].memory_fd, worker->vm.slots[1].offset);
		TEST_REQUIRE(there == here, "mmap: %m");
		return;
	}
	there = mremap(here, RAM_SIZE, RAM_SIZE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	TEST_REQUIRE(there != MAP_FAILED, "mremap: %m");
	++*(volatile char *)(there + GUEST_PAGES * PAGE_SIZE);
	munmap(there, RAM_SIZE);
}

/* Some other thread's, perhaps of a process that is no more. */
static void do_receive(struct worker *worker)
{
	union {
		char data[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.data, .msg_controllen = sizeof(control.data),
	};
	int fd;

	(void)worker;
	if (recvmsg(mail[1], &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		return;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	close(template_open_memory_of(fd, RAM_SIZE));
	close(fd);
}

static void do_run(struct worker *worker)
{
	expect_next(&worker->vm, worker->generation);
	worker->generation++;
}

static void do_touch(struct worker *worker)
{
	++*(volatile char *)host_page(worker);
}

static void (*const operations[OPERATIONS])(struct worker *worker) = {
	do_fork, do_freeze, do_spawn, do_spawn_many, do_reset, do_run, do_touch, do_pwrite,
	do_writev, do_punch, do_attach, do_move, do_receive,
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	start_vm(worker);
	while (test_now_ns() < shared->end) {
		unsigned int i = choose(worker, OPERATIONS);

		operations[i](worker);
		__atomic_fetch_add(&shared->done[i], 1, __ATOMIC_RELAXED);
	}
	vm_close(&worker->vm);
	close(worker->template);
	return NULL;
}

static int work_in_threads(void *arg)
{
	struct worker workers[THREADS] = {};
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		workers[i].random = *(uint64_t *)arg + 1 + i;
		TEST_REQUIRE(!pthread_create(&threads[i], NULL, work, &workers[i]),
			     "pthread_create: %m");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static unsigned long long module_users(void)
{
	char text[32] = "";
	int fd = open("/sys/module/kvmfork/refcnt", O_RDONLY | O_CLOEXEC);

	TEST_REQUIRE(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0, "refcnt: %m");
	close(fd);
	return strtoull(text, NULL, 10);
}

static uint64_t seed(void)
{
	const char *text = getenv("KVMFORK_TEST_SEED");
	uint64_t value;

	if (text)
		return strtoull(text, NULL, 0);
	TEST_REQUIRE(getrandom(&value, sizeof(value), 0) == sizeof(value), "getrandom: %m");
	return value >> 16;
}

static void report(unsigned int killed)
{
	fprintf(stderr, "#");
	for (int i = 0; i < OPERATIONS; i++)
		fprintf(stderr, " %lu %s,", shared->done[i], names[i]);
	fprintf(stderr, " %u processes killed\n", killed);
}

/* Of a moment: what is freed late gets the time. */
static bool all_is_back(long long available, unsigned long long users)
{
	for (int try = 0; try < 100; try++) {
		if (mem_available() > available && module_users() == users)
			return true;
		usleep(100000);
	}
	return false;
}

/* What other users of the machine may change. */
#define SLACK	((long long)(24UL << 20))

TEST(stress)
{
	uint64_t start = test_now_ns(), last = start, seeds[PROCESSES] = {}, first = seed();
	unsigned int killed = 0, started = 0;
	pid_t pids[PROCESSES] = {};
	struct worker chance = { .random = first + 1 };
	unsigned long long users;
	long long available;

	shared = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, mail));
	fprintf(stderr, "# KVMFORK_TEST_SEED=%llu, %u s\n", (unsigned long long)first,
		test_seconds());
	/* Opened by whoever is first; the children share it. */
	kvm_device();
	kvmfork_device();
	users = module_users();
	available = mem_available();
	shared->end = start + test_seconds() * 1000000000ULL;
	while (test_now_ns() < shared->end) {
		unsigned int i = choose(&chance, PROCESSES);

		if (pids[i] && !choose(&chance, 4)) {
			int status;

			kill(pids[i], SIGKILL);
			status = process_wait(pids[i]);
			/* It may have found something wrong just before. */
			ASSERT_TRUE(process_exited(status, 0) ||
				    (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
				TH_LOG("status 0x%x", status);
			killed++;
			pids[i] = 0;
		} else if (!pids[i]) {
			seeds[i] = (first + ++started) * 0x9e3779b97f4a7c15ULL;
			pids[i] = process_start(work_in_threads, &seeds[i]);
		}
		usleep(100000 + choose(&chance, 400000) * test_slowness());
		if (test_now_ns() - last > 10000000000ULL) {
			last = test_now_ns();
			fprintf(stderr, "# %llu s\n", (unsigned long long)(last - start) / 1000000000);
			report(killed);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		if (!pids[i])
			continue;
		status = process_wait(pids[i]);
		EXPECT_TRUE(process_exited(status, 0))
			TH_LOG("status 0x%x", status);
	}
	/* Templates that nobody has taken. */
	close(mail[0]);
	close(mail[1]);
	report(killed);
	EXPECT_LT(0, shared->done[FORK]);
	EXPECT_TRUE(all_is_back(available - SLACK, users))
		TH_LOG("%lld bytes are missing, the module has %llu users of %llu",
		       available - mem_available(), module_users(), users);
}

TEST_HARNESS_MAIN
