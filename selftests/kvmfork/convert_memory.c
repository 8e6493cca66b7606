// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_CONVERT: what memory it takes, and memory that the kernel has in
 * other places: in swap, merged, in huge pages.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>

#include "convert.h"
#include "disk.h"
#include "harness.h"

#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define GPA	(4 * GIB)
#define SIZE	(16 * MIB)
#define PAGES	(SIZE / PAGE_SIZE)

FIXTURE(memory) {
	struct vm vm;
};

FIXTURE_SETUP(memory)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
}

FIXTURE_TEARDOWN(memory)
{
	vm_close(&self->vm);
}

static uint64_t *page_at(char *hva, unsigned long page)
{
	return (uint64_t *)(hva + page * PAGE_SIZE);
}

static void fill(char *hva)
{
	for (unsigned long page = 0; page < PAGES; page++)
		for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
			page_at(hva, page)[i] = page * 0x9e3779b97f4a7c15ULL + i;
}

static unsigned long count_wrong(char *hva)
{
	unsigned long wrong = 0;

	for (unsigned long page = 0; page < PAGES; page++)
		for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
			wrong += page_at(hva, page)[i] != page * 0x9e3779b97f4a7c15ULL + i;
	return wrong;
}

/* Of the mapping at @hva, in bytes; -1: not there. */
static long long smaps_value(const void *hva, const char *key)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	long long value = -1;
	bool here = false;
	char line[512];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (unsigned long)hva && (unsigned long)hva < end;
		else if (here && !strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			value = strtoll(line + strlen(key) + 1, NULL, 10) * 1024;
	}
	if (file)
		fclose(file);
	return value;
}

TEST_F(memory, holes_cost_nothing)
{
	char *hva = memory_anonymous(GIB);
	long long before, after;

	vm_slot_add(&self->vm, 0, GPA, GIB, hva, -1, 0);
	hva[0] = hva[GIB / 2 + 12345] = hva[GIB - 1] = 1;
	before = mem_available();
	EXPECT_EQ(3, vm_convert(&self->vm));
	after = mem_available();
	EXPECT_EQ((long long)(3 * PAGE_SIZE),
		  fdinfo_value(self->vm.slots[1].memory_fd, "kvmfork-private"));
	EXPECT_EQ(1, count_mappings(hva, GIB));
	EXPECT_EQ(1, hva[GIB / 2 + 12345]);
	EXPECT_GT((long long)(2 * MIB), before - after)
		TH_LOG("%lld bytes less", before - after);
}

TEST_F(memory, holes_of_a_memfd_cost_nothing)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct stat st;
	char *hva;

	ASSERT_EQ(0, ftruncate(fd, GIB));
	hva = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, hva);
	vm_slot_add(&self->vm, 0, GPA, GIB, hva, -1, 0);
	hva[0] = hva[GIB / 2 + 12345] = hva[GIB - 1] = 1;
	EXPECT_EQ(3, vm_convert(&self->vm));
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(3 * PAGE_SIZE / 512, (unsigned long)st.st_blocks);
	close(fd);
}

/* Read, or cleared, and so there, but of zeroes. */
TEST_F(memory, zeroes_become_holes)
{
	char *hva = memory_anonymous(SIZE);
	unsigned long sum = 0;

	vm_slot_add(&self->vm, 0, GPA, SIZE, hva, -1, 0);
	memset(hva, 0, SIZE / 2);
	for (unsigned long at = SIZE / 2; at < SIZE; at += PAGE_SIZE)
		sum += hva[at];
	hva[5] = 1;
	EXPECT_EQ(1 + sum, vm_convert(&self->vm));
	EXPECT_EQ((long long)PAGE_SIZE,
		  fdinfo_value(self->vm.slots[1].memory_fd, "kvmfork-private"));
}

/* It goes in pieces: never is all of it there twice. */
#define GROUP	"/sys/fs/cgroup/kvmfork-test-convert"
#define BIG	(64 * MIB)

static int convert_within_limit(void *arg)
{
	char text[32], *hva;
	long long now;
	struct vm vm;
	(void)arg;

	if (!file_write(GROUP "/cgroup.procs", "0"))
		return 2;
	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	hva = memory_anonymous(BIG);
	memset(hva, 7, BIG);
	vm_slot_add(&vm, 0, GPA, BIG, hva, -1, 0);
	now = file_number(GROUP "/memory.current");
	if (now < (long long)BIG)
		return 2;
	snprintf(text, sizeof(text), "%lld", now + (long long)(12 * MIB));
	file_write(GROUP "/memory.swap.max", "0");
	if (!file_write(GROUP "/memory.max", text))
		return 2;
	if (vm_convert(&vm) != BIG / PAGE_SIZE)
		return 1;
	for (unsigned long at = 0; at < BIG; at += PAGE_SIZE)
		if (hva[at] != 7)
			return 1;
	vm_close(&vm);
	return 0;
}

TEST_F(memory, peak)
{
	int status;

	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755) || access(GROUP "/memory.max", F_OK))
		SKIP(return, "no memory cgroup");
	status = process_run(convert_within_limit, NULL);
	for (int try = 0; rmdir(GROUP) && try < 100; try++)
		usleep(20000);
	if (process_exited(status, 2))
		SKIP(return, "the memory cgroup cannot be used");
	EXPECT_TRUE(process_exited(status, 0)) TH_LOG("status 0x%x", status);
}

/* Swap of 64 MiB, on memory. The path, or NULL. */
static const char *swap_on(int *disk)
{
	static char path[DISK_PATH_SIZE];
	struct {
		char boot[1024];
		uint32_t version, last_page, nr_badpages;
		char rest[PAGE_SIZE - 1024 - 12 - 10];
		char magic[10];
	} __attribute__((packed)) header = {
		.version = 1, .last_page = 16383, .magic = "SWAPSPACE2",
	};
	int file = memfd_create("swap", MFD_CLOEXEC);

	_Static_assert(sizeof(header) == PAGE_SIZE, "one page");
	TEST_REQUIRE(!ftruncate(file, 64 * MIB) &&
		     pwrite(file, &header, sizeof(header), 0) == sizeof(header), "swap: %m");
	*disk = disk_open(file, path);
	close(file);
	if (*disk < 0)
		return NULL;
	if (!swapon(path, 0))
		return path;
	close(*disk);
	return NULL;
}

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static void check_swapped(struct __test_metadata *_metadata, struct vm *vm, char *hva)
{
	const char *path;
	long long out;
	int disk;

	path = swap_on(&disk);
	if (!path)
		SKIP(return, "no swap");
	vm_slot_add(vm, 0, GPA, SIZE, hva, -1, 0);
	fill(hva);
	ASSERT_EQ(0, madvise(hva, SIZE, MADV_PAGEOUT));
	out = smaps_value(hva, "Swap");
	TH_LOG("%lld bytes in swap", out);
	if (out <= 0) {
		swapoff(path);
		close(disk);
		SKIP(return, "nothing went to swap");
	}
	EXPECT_EQ(PAGES, vm_convert(vm));
	EXPECT_EQ(0, count_wrong(hva));
	EXPECT_EQ(0, swapoff(path));
	EXPECT_EQ(0, count_wrong(hva));
	close(disk);
}

TEST_F(memory, swapped)
{
	check_swapped(_metadata, &self->vm, memory_anonymous(SIZE));
}

TEST_F(memory, swapped_memfd)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char *hva;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, hva);
	check_swapped(_metadata, &self->vm, hva);
	close(fd);
}

TEST_F(memory, swapped_private_memfd)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char *hva;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, hva);
	check_swapped(_metadata, &self->vm, hva);
	close(fd);
}

TEST_F(memory, huge)
{
	char *hva = memory_anonymous(SIZE);

	ASSERT_EQ(0, madvise(hva, SIZE, MADV_HUGEPAGE));
	fill(hva);
	if (smaps_value(hva, "AnonHugePages") <= 0)
		SKIP(return, "no huge pages to be had");
	vm_slot_add(&self->vm, 0, GPA, SIZE, hva, -1, 0);
	EXPECT_EQ(PAGES, vm_convert(&self->vm));
	EXPECT_EQ(0, count_wrong(hva));
}

/* A huge page that is partly mapped, from an odd page on. */
TEST_F(memory, parts_of_huge)
{
	char *hva = memory_anonymous(SIZE + 4 * MIB), *at = hva + 3 * PAGE_SIZE;

	ASSERT_EQ(0, madvise(hva, SIZE + 4 * MIB, MADV_HUGEPAGE));
	memset(hva, 9, SIZE + 4 * MIB);
	fill(at);
	vm_slot_add(&self->vm, 0, GPA, SIZE, at, -1, 0);
	EXPECT_EQ(PAGES, vm_convert(&self->vm));
	EXPECT_EQ(0, count_wrong(at));
	EXPECT_EQ(9, at[-1]);
	EXPECT_EQ(9, at[SIZE]);
	EXPECT_EQ(1, count_mappings(at, SIZE));
}

#define KSM	"/sys/kernel/mm/ksm/"

TEST_F(memory, merged)
{
	char *hva = memory_anonymous(SIZE);
	long long merged = 0;

	if (access(KSM "run", W_OK) || madvise(hva, SIZE, MADV_MERGEABLE))
		SKIP(return, "no KSM");
	/* Two kinds, so that pages are merged and of two. */
	for (unsigned long page = 0; page < PAGES; page++)
		memset(page_at(hva, page), 1 + page % 2, PAGE_SIZE);
	vm_slot_add(&self->vm, 0, GPA, SIZE, hva, -1, 0);
	file_write(KSM "sleep_millisecs", "1");
	file_write(KSM "pages_to_scan", "10000");
	file_write(KSM "run", "1");
	for (int try = 0; try < 200 && merged < (long long)PAGES / 2; try++) {
		usleep(50000);
		merged = file_number(KSM "pages_sharing");
	}
	TH_LOG("%lld pages merged", merged);
	if (merged > 0) {
		EXPECT_EQ(PAGES, vm_convert(&self->vm));
		for (unsigned long page = 0; page < PAGES; page++)
			ASSERT_EQ(1 + (int)page % 2, hva[page * PAGE_SIZE + 77]);
	}
	file_write(KSM "run", "2");
	file_write(KSM "run", "0");
	if (merged <= 0)
		SKIP(return, "nothing was merged");
}

TEST_HARNESS_MAIN
