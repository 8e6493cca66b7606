// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of 2 MiB pages: that sharing leaves them whole, for the host's page
 * tables and for KVM's, and what copying makes of them.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "access.h"
#include "fork.h"
#include "harness.h"

#define HUGE		(2UL << 20)
#define BLOCKS		4
#define SIZE		(BLOCKS * HUGE)
#define GPA		(16UL << 20)
#define GROUP		"/sys/fs/cgroup/kvmfork-test-huge"

FIXTURE(huge) {
	struct vm vm;
	int fd;
	char *ram;
};

FIXTURE_VARIANT(huge) {
	uint64_t flags;
	uint64_t copied;	/* by one write */
};

FIXTURE_VARIANT_ADD(huge, copy_4k) { KVMFORK_MEMORY_HUGE, PAGE_SIZE };
FIXTURE_VARIANT_ADD(huge, copy_2m) { KVMFORK_MEMORY_HUGE | KVMFORK_MEMORY_HUGE_COPY, HUGE };

FIXTURE_SETUP(huge)
{
	vm_create(&self->vm, VM_IRQCHIP_NONE);
	vm_memory_add(&self->vm, 0, 0, GUEST_MEMORY);
	self->fd = __memory_create(SIZE, variant->flags);
	if (self->fd == -EOPNOTSUPP)
		SKIP(return, "no transparent huge pages here");
	ASSERT_LE(0, self->fd);
	self->ram = memory_map(self->fd, SIZE);
	vm_slot_add(&self->vm, 0, GPA, SIZE, self->ram, self->fd, 0);
	vm_load_guest(&self->vm);
	vcpu_add(&self->vm, 0);
	self->vm.attach_fd = vm_attach(self->vm.vm_fd);
}

FIXTURE_TEARDOWN(huge)
{
	vm_close(&self->vm);
}

static struct vm_slot *huge_slot(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		if (vm->slots[i].gpa == GPA)
			return &vm->slots[i];
	test_fail(__FILE__, __LINE__, "no slot at 0x%lx", GPA);
}

/* Bytes of the mapping at @map that one page table entry of 2 MiB maps each. */
static long long mapped_huge(const char *map)
{
	char line[256], *end;
	bool here = false;
	long long kib = -1;
	FILE *smaps = fopen("/proc/self/smaps", "r");

	TEST_REQUIRE(smaps, "/proc/self/smaps: %m");
	while (kib < 0 && fgets(line, sizeof(line), smaps)) {
		unsigned long from = strtoul(line, &end, 16);

		if (*end == '-')
			here = from <= (unsigned long)map &&
			       (unsigned long)map < strtoul(end + 1, NULL, 16);
		else if (here && !strncmp(line, "FilePmdMapped:", 14))
			kib = strtoll(line + 14, NULL, 10);
	}
	fclose(smaps);
	TEST_REQUIRE(kib >= 0, "no FilePmdMapped of %p", map);
	return kib << 10;
}

/* KVM's statistics of the VM: entries of 2 MiB in its own page tables. */
static long long kvm_pages_2m(struct vm *vm)
{
	struct kvm_stats_header head;
	long long value = -1;
	int fd = xioctl(vm->vm_fd, KVM_GET_STATS_FD, NULL);

	TEST_REQUIRE(fd >= 0, "KVM_GET_STATS_FD: %s", strerror(-fd));
	TEST_REQUIRE(pread(fd, &head, sizeof(head), 0) == sizeof(head), "statistics: %m");
	for (uint32_t i = 0; i < head.num_desc && value < 0; i++) {
		size_t size = sizeof(struct kvm_stats_desc) + head.name_size;
		char buffer[size];
		struct kvm_stats_desc *desc = (void *)buffer;

		TEST_REQUIRE(pread(fd, buffer, size, head.desc_offset + i * size) == (ssize_t)size,
			     "statistics: %m");
		if (!strcmp(desc->name, "pages_2m"))
			TEST_REQUIRE(pread(fd, &value, 8, head.data_offset + desc->offset) == 8,
				     "statistics: %m");
	}
	close(fd);
	return value;
}

static void fill(char *ram, uint8_t with)
{
	for (unsigned long page = 0; page < SIZE / PAGE_SIZE; page++)
		ram[page * PAGE_SIZE] = with + page;
}

/* How many pages do not hold what fill() put there. */
static unsigned int differ(const char *ram, uint8_t with)
{
	unsigned int wrong = 0;

	for (unsigned long page = 0; page < SIZE / PAGE_SIZE; page++)
		wrong += (uint8_t)ram[page * PAGE_SIZE] != (uint8_t)(with + page);
	return wrong;
}

static void guest_reads_all(struct vm *vm, uint8_t with, unsigned int *wrong)
{
	for (unsigned long page = 0; page < SIZE / PAGE_SIZE; page += 37)
		*wrong += access_read(vm, ACCESS_GUEST, GPA + page * PAGE_SIZE) !=
			  (uint8_t)(with + page);
}

#define EXPECT_HUGE(bytes, vm) do {						\
	EXPECT_EQ((long long)(bytes), fdinfo_value(huge_slot(vm)->memory_fd, "kvmfork-huge"));	\
	EXPECT_EQ((long long)(bytes), mapped_huge(huge_slot(vm)->hva));		\
} while (0)

TEST_F(huge, mapped_whole)
{
	EXPECT_EQ(0, (unsigned long)self->ram % HUGE);
	self->ram[0] = 1;
	EXPECT_HUGE(HUGE, &self->vm);
	/* Reading a hole, too: it will be written. */
	EXPECT_EQ(0, self->ram[HUGE]);
	EXPECT_HUGE(2 * HUGE, &self->vm);
	/* And whoever writes to it. */
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, 2 * HUGE + 5));
	EXPECT_EQ('x', self->ram[2 * HUGE + 5]);
	EXPECT_HUGE(3 * HUGE, &self->vm);
	access_write(&self->vm, ACCESS_GUEST, GPA + 3 * HUGE, 7);
	EXPECT_EQ(7, self->ram[3 * HUGE]);
	EXPECT_HUGE(4 * HUGE, &self->vm);
	EXPECT_LE(1, kvm_pages_2m(&self->vm));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-huge-missed"));
}

TEST_F(huge, shared_whole)
{
	unsigned int wrong = 0;
	struct vm child;

	fill(self->ram, 3);
	vm_fork(&self->vm, &child);
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	guest_reads_all(&child, 3, &wrong);
	guest_reads_all(&self->vm, 3, &wrong);
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, differ(self->ram, 3));
	EXPECT_HUGE(SIZE, &child);
	EXPECT_HUGE(SIZE, &self->vm);
	EXPECT_EQ(0, fdinfo_value(huge_slot(&child)->memory_fd, "kvmfork-private"));
	EXPECT_LE(BLOCKS, kvm_pages_2m(&child));
	EXPECT_LE(BLOCKS, kvm_pages_2m(&self->vm));
	vm_close(&child);
}

TEST_F(huge, copied)
{
	unsigned long at = 2 * HUGE + 77 * PAGE_SIZE;
	long long huge = variant->copied == HUGE ? SIZE : SIZE - HUGE;
	unsigned int wrong = 0;
	struct vm child;
	char *ram;

	fill(self->ram, 3);
	vm_fork(&self->vm, &child);
	ram = huge_slot(&child)->hva;
	EXPECT_EQ(0, differ(ram, 3));
	access_write(&child, ACCESS_GUEST, GPA + at, 99);
	EXPECT_EQ((long long)variant->copied,
		  fdinfo_value(huge_slot(&child)->memory_fd, "kvmfork-private"));
	EXPECT_EQ(1, differ(ram, 3));
	EXPECT_EQ(99, ram[at]);
	EXPECT_HUGE(huge, &child);
	EXPECT_EQ(0, differ(self->ram, 3));
	EXPECT_HUGE(SIZE, &self->vm);

	/* The neighbours of the copy, and the parent afterwards. */
	ram[at] = 3 + at / PAGE_SIZE;
	guest_reads_all(&child, 3, &wrong);
	fill(self->ram, 5);
	EXPECT_EQ(0, differ(ram, 3));
	fill(ram, 8);
	EXPECT_EQ(0, differ(self->ram, 5));
	guest_reads_all(&child, 8, &wrong);
	guest_reads_all(&self->vm, 5, &wrong);
	EXPECT_EQ(0, wrong);
	vm_close(&child);
	EXPECT_EQ(0, differ(self->ram, 5));
}

/* Written in place again when the others are gone, as a whole. */
TEST_F(huge, alone_again)
{
	struct vm child;

	fill(self->ram, 3);
	vm_fork(&self->vm, &child);
	EXPECT_EQ(0, differ(self->ram, 3));
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	vm_close(&child);
	fill(self->ram, 4);
	EXPECT_EQ(0, differ(self->ram, 4));
	EXPECT_EQ((long long)SIZE, fdinfo_value(self->fd, "kvmfork-private"));
	EXPECT_HUGE(SIZE, &self->vm);
}

/* A huge page of which half is copied: the rest is ours when the other is gone. */
TEST_F(huge, alone_with_parts)
{
	struct vm child;

	if (variant->copied == HUGE)
		SKIP(return, "copies are whole");
	fill(self->ram, 3);
	vm_fork(&self->vm, &child);
	for (unsigned long at = 0; at < SIZE; at += 2 * PAGE_SIZE)
		self->ram[at] = 3 + at / PAGE_SIZE;
	vm_close(&child);
	fill(self->ram, 6);
	EXPECT_EQ(0, differ(self->ram, 6));
	vm_fork(&self->vm, &child);
	fill(self->ram, 7);
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 6));
	EXPECT_EQ(0, differ(self->ram, 7));
	fill(huge_slot(&child)->hva, 9);
	EXPECT_EQ(0, differ(self->ram, 7));
	vm_close(&child);
}

/* Pages in a pipe are those of the time they were put there, never the child's. */
TEST_F(huge, vmsplice)
{
	struct iovec iov = { self->ram + HUGE, 4 * PAGE_SIZE };
	uint8_t buffer[4 * PAGE_SIZE];
	struct vm child;
	int fds[2];

	fill(self->ram, 3);
	ASSERT_EQ(0, pipe(fds));
	vm_fork(&self->vm, &child);
	iov.iov_base = huge_slot(&child)->hva + HUGE;
	ASSERT_EQ((ssize_t)iov.iov_len, vmsplice(fds[1], &iov, 1, 0));
	/* The parent is alone with the pages, but for the pipe. */
	vm_close(&child);
	fill(self->ram, 4);
	ASSERT_EQ((ssize_t)sizeof(buffer), read(fds[0], buffer, sizeof(buffer)));
	for (unsigned int i = 0; i < 4; i++)
		EXPECT_EQ((uint8_t)(3 + HUGE / PAGE_SIZE + i), buffer[i * PAGE_SIZE]);
	EXPECT_EQ(0, differ(self->ram, 4));
	close(fds[0]);
	close(fds[1]);
}

/* O_DIRECT and the like: what is held at a freeze goes on being the parent's. */
TEST_F(huge, held_while_frozen)
{
	struct iovec iov = { self->ram + HUGE, PAGE_SIZE };
	struct vm child;
	uint8_t byte;
	int fds[2];

	fill(self->ram, 3);
	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ((ssize_t)iov.iov_len, vmsplice(fds[1], &iov, 1, 0));
	vm_fork(&self->vm, &child);
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	fill(self->ram, 4);
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	/* The pipe has the page that the parent writes. */
	ASSERT_EQ(1, read(fds[0], &byte, 1));
	EXPECT_EQ((uint8_t)(4 + HUGE / PAGE_SIZE), byte);
	vm_close(&child);
	close(fds[0]);
	close(fds[1]);
}

/* Mapped so that no entry of 2 MiB can be: the same, by 4 KiB. */
TEST_F(huge, mapped_askew)
{
	char *area = mmap(NULL, SIZE + 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *askew = (char *)(((unsigned long)area + HUGE - 1) / HUGE * HUGE + PAGE_SIZE);
	struct vm child;

	ASSERT_EQ(askew, mmap(askew, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self->fd,
			      0));
	fill(askew, 3);
	EXPECT_EQ(0, differ(self->ram, 3));
	EXPECT_EQ(0, mapped_huge(askew));
	EXPECT_EQ((long long)SIZE, mapped_huge(self->ram));
	vm_fork(&self->vm, &child);
	EXPECT_EQ(0, differ(askew, 3));
	fill(askew, 4);
	EXPECT_EQ(0, differ(self->ram, 4));
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	vm_close(&child);
	munmap(area, SIZE + 2 * HUGE);
}

TEST_F(huge, holes)
{
	struct vm child;
	struct stat stat;

	fill(self->ram, 3);
	vm_fork(&self->vm, &child);
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       HUGE + 3 * PAGE_SIZE, PAGE_SIZE));
	EXPECT_EQ(0, self->ram[HUGE + 3 * PAGE_SIZE]);
	EXPECT_EQ(1, differ(self->ram, 3));
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
	EXPECT_EQ(0, fstat(self->fd, &stat));
	EXPECT_EQ(0, stat.st_blocks);
	EXPECT_EQ(0, self->ram[0]);
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	fill(self->ram, 5);
	EXPECT_EQ(0, differ(self->ram, 5));
	EXPECT_EQ((long long)SIZE, fdinfo_value(self->fd, "kvmfork-huge"));
	vm_close(&child);
}

/* What does not fill 2 MiB at the end is of 4 KiB pages. */
TEST_F(huge, odd_size)
{
	uint64_t size = HUGE + 5 * PAGE_SIZE;
	int fd = __memory_create(size, variant->flags);
	char *map = memory_map(fd, size);

	memset(map, 1, size);
	EXPECT_EQ((long long)HUGE, fdinfo_value(fd, "kvmfork-huge"));
	EXPECT_EQ((long long)size, fdinfo_value(fd, "kvmfork-private"));
	EXPECT_EQ(0, fdinfo_value(fd, "kvmfork-huge-missed"));
	munmap(map, size);
	close(fd);
}

/* No huge page to be had: 4 KiB pages, counted. */
TEST_F(huge, missed)
{
	char limit[32];

	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	rmdir(GROUP);
	if (mkdir(GROUP, 0755) || access(GROUP "/memory.max", F_OK))
		SKIP(return, "no cgroup v2 with a memory controller");
	self->ram[0] = 1;
	/* Less than a huge page of room, and nothing that could make any. */
	snprintf(limit, sizeof(limit), "%lu", HUGE);
	ASSERT_TRUE(file_write(GROUP "/memory.max", limit));
	ASSERT_TRUE(file_write(GROUP "/cgroup.procs", "0"));
	for (unsigned long page = 0; page < 16; page++)
		self->ram[HUGE + page * PAGE_SIZE] = page;
	EXPECT_EQ(1, fdinfo_value(self->fd, "kvmfork-huge-missed"));
	EXPECT_EQ((long long)HUGE, fdinfo_value(self->fd, "kvmfork-huge"));
	EXPECT_EQ(0, self->ram[2 * HUGE]);
	EXPECT_EQ(2, fdinfo_value(self->fd, "kvmfork-huge-missed"));
	file_write("/sys/fs/cgroup/cgroup.procs", "0");
	rmdir(GROUP);

	/* A block that has none does not get one later. The others do. */
	self->ram[HUGE + 20 * PAGE_SIZE] = 20;
	self->ram[2 * HUGE] = 1;
	for (unsigned long page = 0; page < 16; page++)
		EXPECT_EQ((char)page, self->ram[HUGE + page * PAGE_SIZE]);
	EXPECT_EQ((long long)(2 * HUGE), fdinfo_value(self->fd, "kvmfork-huge"));
}

TEST_F(huge, reset)
{
	struct vm child;
	int template;

	fill(self->ram, 3);
	template = vm_freeze(&self->vm);
	vm_spawn(template, &self->vm, &child);
	for (unsigned int round = 0; round < 3; round++) {
		huge_slot(&child)->hva[HUGE + round * PAGE_SIZE] = 99;
		EXPECT_EQ(1, differ(huge_slot(&child)->hva, 3));
		vm_reset(&child, template);
		EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	}
	fill(huge_slot(&child)->hva, 4);
	vm_reset(&child, template);
	EXPECT_EQ(0, differ(huge_slot(&child)->hva, 3));
	EXPECT_EQ((long long)SIZE, fdinfo_value(huge_slot(&child)->memory_fd, "kvmfork-huge"));
	vm_close(&child);
	close(template);
}

/* The memory of a VM keeps the size of its pages. */
TEST_F(huge, reset_to_other_pages)
{
	struct reset_call call;
	struct vm other;
	int template = vm_freeze(&self->vm);

	vm_create(&other, VM_IRQCHIP_NONE);
	vm_memory_add(&other, 0, 0, GUEST_MEMORY);
	vm_memory_add(&other, 0, GPA, SIZE);
	vcpu_add(&other, 0);
	other.attach_fd = vm_attach(other.vm_fd);
	reset_call_init(&call, &other, template);
	EXPECT_EQ(-ESTALE, reset_call_run(&call, other.attach_fd));
	EXPECT_NE(NULL, strstr(call.message, "flags of memory"))
		TH_LOG("%s", call.message);
	vm_close(&other);
	close(template);
}

struct reader {
	pthread_t thread;
	const char *ram;
	volatile bool stop;
	unsigned long rounds;
};

static void *read_on(void *arg)
{
	struct reader *reader = arg;
	volatile char sum = 0;

	while (!reader->stop) {
		for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE)
			sum += reader->ram[at];
		reader->rounds++;
	}
	return NULL;
}

/* Blocks are mapped whole by one thread and broken up by another. */
TEST_F(huge, race_of_reads_and_copies)
{
	uint64_t end = test_now_ns() + test_seconds() * 1000000000ULL;
	struct reader readers[2] = {};
	unsigned int rounds = 0, wrong = 0;
	struct vm child;
	int template;

	fill(self->ram, 3);
	template = vm_freeze(&self->vm);
	vm_spawn(template, &self->vm, &child);
	readers[0].ram = self->ram;
	readers[1].ram = huge_slot(&child)->hva;
	for (unsigned int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&readers[i].thread, NULL, read_on, &readers[i]));
	for (; test_now_ns() < end; rounds++) {
		char *ram = huge_slot(&child)->hva;

		for (unsigned long at = rounds % 7 * PAGE_SIZE; at < SIZE; at += 61 * PAGE_SIZE)
			ram[at] = 99;
		for (unsigned long at = rounds % 7 * PAGE_SIZE; at < SIZE; at += 61 * PAGE_SIZE)
			wrong += ram[at] != 99;
		wrong += differ(self->ram, 3);
		vm_reset(&child, template);
		wrong += differ(ram, 3);
	}
	for (unsigned int i = 0; i < 2; i++) {
		readers[i].stop = true;
		pthread_join(readers[i].thread, NULL);
		EXPECT_LT(0, readers[i].rounds);
	}
	EXPECT_EQ(0, wrong);
	EXPECT_LT(0, rounds);
	vm_close(&child);
	close(template);
}

TEST_HARNESS_MAIN
