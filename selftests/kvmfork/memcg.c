// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory belongs to the memory cgroup of whoever made it; a child that
 * reaches its limit fails alone.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "access.h"
#include "fork.h"
#include "harness.h"

#define ROOT	"/sys/fs/cgroup"
#define PARENT	ROOT "/kvmfork-test-parent"
#define CHILD	ROOT "/kvmfork-test-child"
#define MIB	(1UL << 20)
#define GPA	(16UL * MIB)
#define SIZE	(32UL * MIB)

FIXTURE(memcg) {
	struct vm vm;
};

static long long current_of(const char *group)
{
	char path[256], text[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.current", group);
	file = fopen(path, "r");
	TEST_REQUIRE(file, "%s: %m", path);
	TEST_REQUIRE(fgets(text, sizeof(text), file), "%s is empty", path);
	fclose(file);
	return strtoll(text, NULL, 10);
}

static bool enter(const char *group)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	return file_write(path, "0");
}

static bool limit(const char *group, const char *bytes)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/memory.swap.max", group);
	file_write(path, "0");
	snprintf(path, sizeof(path), "%s/memory.max", group);
	return file_write(path, bytes);
}

/* False when others are still going. */
static bool remove_groups(void)
{
	for (int try = 0; try < 100; try++) {
		if ((!rmdir(PARENT) || errno == ENOENT) && (!rmdir(CHILD) || errno == ENOENT))
			return true;
		usleep(20000);
	}
	return false;
}

FIXTURE_SETUP(memcg)
{
	file_write(ROOT "/cgroup.subtree_control", "+memory");
	remove_groups();
	if (mkdir(PARENT, 0755) || mkdir(CHILD, 0755))
		SKIP(return, "no cgroup v2 at " ROOT);
	if (access(PARENT "/memory.max", F_OK)) {
		remove_groups();
		SKIP(return, "no memory controller at " ROOT);
	}
	TEST_REQUIRE(enter(PARENT), PARENT ": %m");
	vm_create(&self->vm, VM_IRQCHIP_NONE);
	vm_memory_add(&self->vm, 0, 0, GUEST_MEMORY);
	vm_memory_add(&self->vm, 0, GPA, SIZE);
	vm_load_guest(&self->vm);
	vcpu_add(&self->vm, 0);
	self->vm.attach_fd = vm_attach(self->vm.vm_fd);
}

FIXTURE_TEARDOWN(memcg)
{
	vm_close(&self->vm);
	enter(ROOT);
	remove_groups();
}

static void touch(struct vm *vm, unsigned long bytes)
{
	for (unsigned long at = 0; at < bytes; at += PAGE_SIZE)
		*(volatile char *)vm_hva(vm, GPA + at) = 1;
}

TEST_F(memcg, touching_is_charged)
{
	long long before = current_of(PARENT), full;

	touch(&self->vm, SIZE);
	full = current_of(PARENT);
	EXPECT_LE(before + (long long)SIZE, full);
	EXPECT_GT(before + (long long)(SIZE + 8 * MIB), full);
}

TEST_F(memcg, writing_to_the_file_is_charged)
{
	static char buffer[MIB];
	long long before = current_of(PARENT);

	memset(buffer, 1, sizeof(buffer));
	for (unsigned long at = 0; at < SIZE; at += MIB) {
		ASSERT_EQ((ssize_t)MIB, pwrite(self->vm.slots[1].memory_fd, buffer, MIB, at))
			TH_LOG("at 0x%lx", at);
	}
	EXPECT_LE(before + (long long)SIZE, current_of(PARENT));
}

TEST_F(memcg, closing_uncharges)
{
	long long before = current_of(PARENT), after = 0;
	struct vm vm;

	vm_create(&vm, VM_IRQCHIP_NONE);
	vm_memory_add(&vm, 0, GPA, SIZE);
	touch(&vm, SIZE);
	EXPECT_LE(before + (long long)SIZE, current_of(PARENT));
	vm_close(&vm);
	/* Charges are given back in batches. */
	for (int try = 0; try < 100; try++) {
		after = current_of(PARENT);
		if (after < before + (long long)(4 * MIB))
			break;
		usleep(20000);
	}
	EXPECT_GT(before + (long long)(4 * MIB), after);
}

/* Reported by the child on a pipe: what it got, step by step. */
struct child_job {
	struct vm *shape;
	int template;
	unsigned long bytes;
	enum access how;
};

static int child_in_its_group(void *arg)
{
	struct child_job *job = arg;
	struct vm child;

	/* Of the mappings of its parent it needs none. */
	for (unsigned int i = 0; i < job->shape->nr_slots; i++)
		munmap(job->shape->slots[i].hva, job->shape->slots[i].size);
	if (!enter(CHILD))
		return 1;
	vm_spawn(job->template, job->shape, &child);
	if (job->how == ACCESS_MAP) {
		touch(&child, job->bytes);
	} else {
		for (unsigned long at = 0; at < job->bytes; at += PAGE_SIZE)
			access_write(&child, job->how, GPA + at, 2);
	}
	/* Copies of what is shared are the child's own. */
	if (current_of(CHILD) < (long long)job->bytes)
		return 2;
	return 0;
}

TEST_F(memcg, copies_are_the_childs)
{
	struct child_job job = { .shape = &self->vm, .bytes = SIZE / 2 };
	long long before;

	touch(&self->vm, SIZE);
	job.template = vm_freeze(&self->vm);
	before = current_of(PARENT);
	EXPECT_TRUE(process_exited(process_run(child_in_its_group, &job), 0));
	EXPECT_GT(before + (long long)(4 * MIB), current_of(PARENT));
	close(job.template);
}

FIXTURE(memcg_limit) {
	FIXTURE_DATA(memcg) base;
};

FIXTURE_VARIANT(memcg_limit) {
	enum access how;
};

FIXTURE_VARIANT_ADD(memcg_limit, mapping) { .how = ACCESS_MAP };
FIXTURE_VARIANT_ADD(memcg_limit, file) { .how = ACCESS_FILE };
FIXTURE_VARIANT_ADD(memcg_limit, guest) { .how = ACCESS_GUEST };

FIXTURE_SETUP(memcg_limit)
{
	memcg_setup(_metadata, &self->base, NULL);
}

FIXTURE_TEARDOWN(memcg_limit)
{
	memcg_teardown(_metadata, &self->base, NULL);
}

/*
 * The kernel describes each OOM kill with a call trace, which looks like
 * trouble in a log: keep it from the console, and look for the trouble here.
 */
static int quiet_console(char *level)
{
	int fd = open("/proc/sys/kernel/printk", O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, level, 63);
	int log;

	TEST_REQUIRE(size > 0, "/proc/sys/kernel/printk: %m");
	level[size] = 0;
	close(fd);
	file_write("/proc/sys/kernel/printk", "1");
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	TEST_REQUIRE(log >= 0, "/dev/kmsg: %m");
	lseek(log, 0, SEEK_END);
	return log;
}

static bool log_is_clean(int log)
{
	static const char *const bad[] = { "WARNING: ", "BUG: ", "kvmfork: " };
	char record[8192];
	bool clean = true;
	ssize_t size;

	while ((size = read(log, record, sizeof(record) - 1)) > 0) {
		record[size] = 0;
		for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
			if (strstr(record, bad[i]))
				clean = false;
	}
	close(log);
	return clean;
}

/*
 * The child is killed, or gets an error: both end it. The parent, whose pages
 * it shares, goes on with all of them.
 */
TEST_F(memcg_limit, reached_by_the_child)
{
	struct vm *vm = &self->base.vm, child;
	struct child_job job = { .shape = vm, .bytes = SIZE, .how = variant->how };
	char level[64];
	int status, log;

	touch(vm, SIZE);
	job.template = vm_freeze(vm);
	ASSERT_TRUE(limit(CHILD, "16777216"));
	log = quiet_console(level);
	status = process_run(child_in_its_group, &job);
	file_write("/proc/sys/kernel/printk", level);
	EXPECT_TRUE(log_is_clean(log));
	EXPECT_FALSE(process_exited(status, 0));
	EXPECT_FALSE(process_exited(status, 1));
	EXPECT_FALSE(process_exited(status, 2));
	TH_LOG("the child's status: 0x%x", status);
	for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE) {
		ASSERT_EQ(1, *(char *)vm_hva(vm, GPA + at));
		*(char *)vm_hva(vm, GPA + at) = 3;
	}
	vm_spawn(job.template, vm, &child);
	EXPECT_EQ(1, *(char *)vm_hva(&child, GPA + SIZE - PAGE_SIZE));
	vm_close(&child);
	close(job.template);
}

TEST_HARNESS_MAIN
