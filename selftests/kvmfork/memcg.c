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
	char path[256];
	long long value;

	snprintf(path, sizeof(path), "%s/memory.current", group);
	value = file_number(path);
	TEST_REQUIRE(value >= 0, "%s: %m", path);
	return value;
}

/* How often something has happened in a group. */
static long long count_events(const char *group, const char *event)
{
	char path[256], line[128];
	long long value = -1;
	size_t length = strlen(event);
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.events", group);
	file = fopen(path, "r");
	TEST_REQUIRE(file, "%s: %m", path);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, event, length) && line[length] == ' ')
			value = strtoll(line + length, NULL, 10);
	fclose(file);
	TEST_REQUIRE(value >= 0, "no %s in %s", event, path);
	return value;
}

/* Charges are given back in batches, and some later. */
static bool falls_below(const char *group, long long bytes)
{
	for (int try = 0; try < 200; try++) {
		if (current_of(group) < bytes)
			return true;
		usleep(20000);
	}
	return false;
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
	long long before = current_of(PARENT);
	struct vm vm;

	vm_create(&vm, VM_IRQCHIP_NONE);
	vm_memory_add(&vm, 0, GPA, SIZE);
	touch(&vm, SIZE);
	EXPECT_LE(before + (long long)SIZE, current_of(PARENT));
	vm_close(&vm);
	EXPECT_TRUE(falls_below(PARENT, before + (long long)(4 * MIB)));
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

static unsigned long count_other(struct vm *vm, char byte)
{
	unsigned long nr = 0;

	for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE)
		nr += *(char *)vm_hva(vm, GPA + at) != byte;
	return nr;
}

static void expect_to_run(struct __test_metadata *_metadata, struct vm *vm)
{
	vcpu_start(&vm->vcpus[0], 0, guest_count, 5);
	EXPECT_EQ(6, vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC));
	EXPECT_EQ(7, vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC));
}

/*
 * The child is killed, or gets an error: both end it. The parent and another
 * child, whose pages it shares, go on with all of them.
 */
TEST_F(memcg_limit, reached_by_the_child)
{
	struct vm *vm = &self->base.vm, sibling, child;
	struct child_job job = { .shape = vm, .bytes = SIZE, .how = variant->how };
	char level[64];
	int status, log;

	touch(vm, SIZE);
	job.template = vm_freeze(vm);
	vm_spawn(job.template, vm, &sibling);
	/* Some of its own, all else shared with the one at the limit. */
	*(char *)vm_hva(&sibling, GPA) = 2;
	ASSERT_TRUE(limit(CHILD, "16777216"));
	log = quiet_console(level);
	status = process_run(child_in_its_group, &job);
	file_write("/proc/sys/kernel/printk", level);
	EXPECT_TRUE(log_is_clean(log));
	EXPECT_FALSE(process_exited(status, 0));
	EXPECT_FALSE(process_exited(status, 1));
	EXPECT_FALSE(process_exited(status, 2));
	/* That it was, and nothing else; nobody else felt it; nothing is left. */
	EXPECT_LT(0, count_events(CHILD, "max"));
	EXPECT_EQ(0, count_events(PARENT, "max"));
	EXPECT_EQ(0, count_events(PARENT, "oom_kill"));
	TH_LOG("the child's status: 0x%x, %lld killed", status,
	       count_events(CHILD, "oom_kill"));
	EXPECT_TRUE(falls_below(CHILD, 2 * MIB)) TH_LOG("%lld bytes", current_of(CHILD));

	EXPECT_EQ(0, count_other(vm, 1));
	EXPECT_EQ(1, count_other(&sibling, 1));
	for (unsigned long at = 0; at < SIZE; at += PAGE_SIZE)
		*(char *)vm_hva(vm, GPA + at) = 3;
	EXPECT_EQ(1, count_other(&sibling, 1));
	expect_to_run(_metadata, vm);
	expect_to_run(_metadata, &sibling);
	vm_spawn(job.template, vm, &child);
	EXPECT_EQ(0, count_other(&child, 1));
	expect_to_run(_metadata, &child);
	vm_close(&child);
	vm_close(&sibling);
	close(job.template);
}

/* One that stays below goes on beside one that does not. */
struct pair_job {
	struct child_job child;
	int go;
};

static int child_beside(void *arg)
{
	struct pair_job *job = arg;
	struct vm child;
	char byte;

	vm_spawn(job->child.template, job->child.shape, &child);
	touch(&child, SIZE / 4);
	/* Until the other has ended. */
	if (read(job->go, &byte, 1) < 0)
		return 1;
	if (count_other(&child, 1))
		return 2;
	touch(&child, SIZE);
	vcpu_start(&child.vcpus[0], 0, guest_count, 5);
	return vcpu_run_to_port(&child.vcpus[0], PORT_SYNC) == 6 ? 0 : 3;
}

TEST_F(memcg_limit, reached_beside_another_child)
{
	struct vm *vm = &self->base.vm;
	struct pair_job job = {
		.child = { .shape = vm, .bytes = SIZE, .how = variant->how },
	};
	char level[64];
	int status, log, fds[2];
	pid_t beside;

	touch(vm, SIZE);
	job.child.template = vm_freeze(vm);
	ASSERT_EQ(0, pipe(fds));
	job.go = fds[0];
	beside = process_start(child_beside, &job);
	ASSERT_TRUE(limit(CHILD, "16777216"));
	log = quiet_console(level);
	status = process_run(child_in_its_group, &job.child);
	file_write("/proc/sys/kernel/printk", level);
	EXPECT_TRUE(log_is_clean(log));
	EXPECT_LT(0, count_events(CHILD, "max"));
	EXPECT_FALSE(process_exited(status, 0));
	ASSERT_EQ(1, write(fds[1], "", 1));
	EXPECT_TRUE(process_exited(process_wait(beside), 0));
	EXPECT_EQ(0, count_other(vm, 1));
	close(job.child.template);
	close(fds[0]);
	close(fds[1]);
}

TEST_HARNESS_MAIN
