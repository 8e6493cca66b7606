// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_EXPORT, and what KVMFORK_LOAD makes of it: a template as good as the
 * first, in another process, when that one is gone.
 */
#include "fork.h"
#include "harness.h"
#include "save.h"

#define RAM_GPA		(16UL << 20)
#define RAM_PAGES	8
#define RAM_SIZE	(RAM_PAGES * PAGE_SIZE)

#define MSR_TSC		0x10

FIXTURE(export) {
	struct vm vm;
	int template;
	struct blob blob;
};

FIXTURE_VARIANT(export) {
	enum vm_irqchip irqchip;
	unsigned int nr_vcpus;
};

FIXTURE_VARIANT_ADD(export, kernel_irqchip) { .irqchip = VM_IRQCHIP_KERNEL, .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(export, split_irqchip) { .irqchip = VM_IRQCHIP_SPLIT, .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(export, no_irqchip) { .irqchip = VM_IRQCHIP_NONE, .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(export, four_vcpus) { .irqchip = VM_IRQCHIP_KERNEL, .nr_vcpus = 4 };

static uint32_t next(struct vm *vm)
{
	uint32_t value = vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC);

	TEST_REQUIRE(*(uint64_t *)vm_hva(vm, GUEST_DATA) == value, "memory and registers differ");
	return value;
}

/* A guest that counts; and memory in two pieces with a hole, in reverse order. */
static void make_vm(struct vm *vm, enum vm_irqchip irqchip, unsigned int nr_vcpus)
{
	int fd = memory_create(RAM_SIZE);
	char *hva = memory_map(fd, RAM_SIZE);

	vm_create_default(vm, irqchip, nr_vcpus);
	vm_slot_add(vm, 0, RAM_GPA + RAM_SIZE, RAM_SIZE / 2, hva, fd, 0);
	vm_slot_add(vm, KVM_MEM_READONLY, RAM_GPA, RAM_SIZE / 2, hva + RAM_SIZE / 2, fd,
		    RAM_SIZE / 2);
	memset(hva + PAGE_SIZE, 0x11, PAGE_SIZE);
	memset(hva + RAM_SIZE / 2, 0x22, PAGE_SIZE);
	for (unsigned int i = 0; i < nr_vcpus; i++)
		vcpu_start(&vm->vcpus[i], i, guest_count, 0);
	TEST_REQUIRE(next(vm) == 1, "the guest is wrong");
}

static bool memory_is_right(struct vm *vm)
{
	const char *low = vm_hva(vm, RAM_GPA + RAM_SIZE), *high = vm_hva(vm, RAM_GPA);

	return low[0] == 0 && low[PAGE_SIZE] == 0x11 && low[2 * PAGE_SIZE - 1] == 0x11 &&
	       low[2 * PAGE_SIZE] == 0 && high[0] == 0x22 && high[PAGE_SIZE] == 0;
}

FIXTURE_SETUP(export)
{
	make_vm(&self->vm, variant->irqchip, variant->nr_vcpus);
	self->template = vm_freeze(&self->vm);
	template_export(self->template, &self->blob);
}

FIXTURE_TEARDOWN(export)
{
	free(self->blob.bytes);
	close(self->template);
	vm_close(&self->vm);
}

/* A template of the blob and the memories of the fixture's. */
static int load(FIXTURE_DATA(export) *self)
{
	struct load_call call;
	int fd;

	load_call_init(&call, &self->blob, self->template);
	fd = load_call_run(&call);
	load_call_close(&call);
	TEST_REQUIRE(fd >= 0, "KVMFORK_LOAD: %s: %s", strerror(-fd), call.message);
	return fd;
}

static bool same(const struct blob *a, const struct blob *b)
{
	return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

TEST_F(export, size)
{
	uint64_t size = 0, room = self->blob.size + 64;
	uint8_t *bytes = malloc(room);

	EXPECT_EQ(-E2BIG, __template_export(self->template, NULL, &size));
	EXPECT_EQ(self->blob.size, size);
	memset(bytes, 0xee, room);
	size = self->blob.size - 1;
	EXPECT_EQ(-E2BIG, __template_export(self->template, bytes, &size));
	EXPECT_EQ(self->blob.size, size);
	EXPECT_EQ(0xee, bytes[size - 1]);
	size = room;
	EXPECT_EQ(0, __template_export(self->template, bytes, &size));
	EXPECT_EQ(self->blob.size, size);
	EXPECT_EQ(0, memcmp(bytes, self->blob.bytes, size));
	for (uint64_t i = size; i < room; i++)
		EXPECT_EQ(0xee, bytes[i]);
	free(bytes);
}

TEST_F(export, errors)
{
	struct kvmfork_export args = {
		.state = (unsigned long)self->blob.bytes, .size = self->blob.size,
	};

	for (int bit = 0; bit < 64; bit++) {
		args.flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, xioctl(self->template, KVMFORK_EXPORT, &args));
		args.flags = 0;
		args.reserved = 1ULL << bit;
		EXPECT_EQ(-EINVAL, xioctl(self->template, KVMFORK_EXPORT, &args));
		args.reserved = 0;
	}
	args.state = 0;
	EXPECT_EQ(-EFAULT, xioctl(self->template, KVMFORK_EXPORT, &args));
	args.state = -4096UL;
	EXPECT_EQ(-EFAULT, xioctl(self->template, KVMFORK_EXPORT, &args));
	EXPECT_EQ(self->blob.size, args.size);
}

/* By nothing but the header file. */
TEST_F(export, describes_itself)
{
	struct kvmfork_state_header *header = (void *)self->blob.bytes;
	struct kvmfork_state_record *record = NULL;
	unsigned int vcpus = 0;
	uint8_t *end;
	bool of_vcpu;

	EXPECT_EQ(0, memcmp(header->magic, "KVMFORK", 8));
	EXPECT_EQ(1, header->version);
	EXPECT_EQ(0, header->reserved);
	EXPECT_EQ(self->blob.size, header->size);
	while ((record = blob_next(&self->blob, record))) {
		end = (uint8_t *)record + blob_record_size(record);
		ASSERT_LE(end, self->blob.bytes + self->blob.size);
		EXPECT_EQ(0, record->reserved);
		for (uint8_t *pad = blob_payload(record) + record->size; pad < end; pad++)
			EXPECT_EQ(0, *pad);
		of_vcpu = record->type >= KVMFORK_STATE_CPUID && record->type <= KVMFORK_STATE_RUN;
		EXPECT_EQ(of_vcpu ? vcpus : KVMFORK_STATE_VM, record->vcpu);
		/* The last of each vCPU. */
		vcpus += record->type == KVMFORK_STATE_RUN;
	}
	EXPECT_EQ(variant->nr_vcpus, vcpus);
}

TEST_F(export, again_is_the_same)
{
	struct blob again;
	int fd;

	usleep(50000);
	EXPECT_EQ(2, next(&self->vm));
	template_export(self->template, &again);
	EXPECT_TRUE(same(&self->blob, &again));
	free(again.bytes);
	fd = load(self);
	template_export(fd, &again);
	EXPECT_TRUE(same(&self->blob, &again));
	close(fd);
	free(again.bytes);
}

TEST_F(export, spawns_and_resets)
{
	struct vm child, grandchild;
	int fd = load(self);

	for (int i = 0; i < 2; i++) {
		vm_spawn(fd, &self->vm, &child);
		EXPECT_TRUE(memory_is_right(&child));
		EXPECT_EQ(2, next(&child));
		EXPECT_EQ(3, next(&child));
		vm_fork(&child, &grandchild);
		EXPECT_EQ(4, next(&grandchild));
		vm_close(&grandchild);
		memset(vm_hva(&child, RAM_GPA), 0x99, PAGE_SIZE);
		/* To the one it came from, and to the first, and back. */
		vm_reset(&child, fd);
		EXPECT_TRUE(memory_is_right(&child));
		EXPECT_EQ(2, next(&child));
		vm_reset(&child, self->template);
		EXPECT_EQ(2, next(&child));
		vm_reset(&child, fd);
		EXPECT_EQ(2, next(&child));
		vm_close(&child);
	}
	/* The parent itself, which has gone on. */
	EXPECT_EQ(2, next(&self->vm));
	vm_reset(&self->vm, fd);
	EXPECT_TRUE(memory_is_right(&self->vm));
	EXPECT_EQ(2, next(&self->vm));
	close(fd);
}

TEST_F(export, spawns_many)
{
	struct fork_call calls[3];
	struct kvmfork_spawn spawns[3];
	int32_t results[3];
	struct kvmfork_spawn_many many = {
		.spawns = (unsigned long)spawns, .results = (unsigned long)results, .count = 3,
		.flags = KVMFORK_SPAWN_MANY_ALL,
	};
	struct vm child;
	int fd = load(self);

	for (int i = 0; i < 3; i++) {
		spawn_call_init(&calls[i]);
		spawns[i] = calls[i].args.spawn;
	}
	ASSERT_EQ(0, xioctl(fd, KVMFORK_SPAWN_MANY, &many));
	EXPECT_EQ(3, many.nr_spawned);
	for (int i = 0; i < 3; i++) {
		calls[i].args.spawn = spawns[i];
		fork_call_child(&calls[i], &self->vm, &child);
		EXPECT_EQ(2, next(&child));
		vm_close(&child);
	}
	close(fd);
}

/* They are the caller's as before, and frozen in the template as they were. */
TEST_F(export, memories_go_on)
{
	struct load_call call;
	struct vm child;
	int fd, again;
	char byte;

	load_call_init(&call, &self->blob, self->template);
	fd = load_call_run(&call);
	ASSERT_LE(0, fd);
	for (unsigned int i = 0; i < call.args.nr_memories; i++) {
		long long size = fdinfo_value(call.memory_fds[i], "kvmfork-size");

		EXPECT_EQ(1, fdinfo_value(call.memory_fds[i], "kvmfork-freezes"));
		for (long long at = 0; at < size; at += PAGE_SIZE)
			ASSERT_EQ(1, pwrite(call.memory_fds[i], "\xdd", 1, at));
		again = template_open_memory(fd, i);
		EXPECT_EQ(size, fdinfo_value(again, "kvmfork-size"));
		for (long long at = 0; at < size; at += PAGE_SIZE) {
			ASSERT_EQ(1, pread(again, &byte, 1, at));
			EXPECT_NE('\xdd', byte);
		}
		close(again);
	}
	EXPECT_EQ(-ENXIO, __template_open_memory(fd, call.args.nr_memories, 0));
	load_call_close(&call);
	vm_spawn(fd, &self->vm, &child);
	EXPECT_TRUE(memory_is_right(&child));
	EXPECT_EQ(2, next(&child));
	vm_close(&child);
	close(fd);
}

TEST_F(export, of_what_was_loaded)
{
	char path[SAVE_PATH_SIZE];
	struct vm child;
	int fd = load(self);

	for (int i = 0; i < 3; i++) {
		template_save(fd, path);
		close(fd);
		fd = template_restore(path);
		template_saved_remove(path);
	}
	vm_spawn(fd, &self->vm, &child);
	EXPECT_TRUE(memory_is_right(&child));
	EXPECT_EQ(2, next(&child));
	vm_close(&child);
	close(fd);
}

/* Shared between the processes. */
struct kept {
	char path[SAVE_PATH_SIZE];
	struct vm shape;
	enum vm_irqchip irqchip;
	unsigned int nr_vcpus;
};

static int save_and_die(void *arg)
{
	struct kept *kept = arg;
	int fd;

	make_vm(&kept->shape, kept->irqchip, kept->nr_vcpus);
	fd = vm_freeze(&kept->shape);
	template_save(fd, kept->path);
	return 0;
}

static int restore_and_run(void *arg)
{
	struct kept *kept = arg;
	int fd = template_restore(kept->path);
	struct vm child;

	vm_spawn(fd, &kept->shape, &child);
	if (!memory_is_right(&child))
		return 1;
	for (uint32_t i = 2; i < 10; i++)
		if (next(&child) != i)
			return 2;
	vm_reset(&child, fd);
	return next(&child) == 2 ? 0 : 3;
}

TEST_F(export, in_other_processes)
{
	struct kept *kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, kept);
	kept->irqchip = variant->irqchip;
	kept->nr_vcpus = variant->nr_vcpus;
	ASSERT_TRUE(process_exited(process_run(save_and_die, kept), 0));
	for (int i = 0; i < 2; i++)
		EXPECT_TRUE(process_exited(process_run(restore_and_run, kept), 0));
	template_saved_remove(kept->path);
	munmap(kept, sizeof(*kept));
}

/* A template at the addresses of its parent, which must not be in use there. */
TEST_F(export, fixed)
{
	struct fork_call call;
	struct vm child;
	int fd = load(self);

	spawn_call_init(&call);
	call.args.spawn.flags = KVMFORK_SPAWN_FIXED;
	EXPECT_EQ(-EEXIST, fork_call_spawn(&call, fd));
	for (unsigned int i = 0; i < self->vm.nr_slots; i++)
		ASSERT_EQ(0, munmap(self->vm.slots[i].hva, self->vm.slots[i].size));
	spawn_call_init(&call);
	call.args.spawn.flags = KVMFORK_SPAWN_FIXED;
	ASSERT_EQ(0, fork_call_spawn(&call, fd));
	fork_call_child(&call, &self->vm, &child);
	for (unsigned int i = 0; i < child.nr_slots; i++)
		EXPECT_EQ(self->vm.slots[i].hva, child.slots[i].hva);
	EXPECT_EQ(2, next(&child));
	vm_close(&child);
	close(fd);
}

TEST_F(export, traps)
{
	struct vm child;
	int fd;

	if (__vm_trap(self->vm.attach_fd, KVMFORK_TRAP_UD))
		SKIP(return, "no KVMFORK_TRAP_UD");
	close(self->template);
	free(self->blob.bytes);
	self->template = vm_freeze(&self->vm);
	template_export(self->template, &self->blob);
	fd = load(self);
	vm_spawn(fd, &self->vm, &child);
	EXPECT_EQ(KVMFORK_TRAP_UD, fdinfo_value(child.attach_fd, "kvmfork-traps"));
	vm_close(&child);
	close(fd);
}

static struct kvm_clock_data *saved_clock(struct blob *blob)
{
	return blob_payload(blob_find(blob, KVMFORK_STATE_CLOCK, KVMFORK_STATE_VM));
}

static uint64_t *saved_offset(struct blob *blob, uint32_t vcpu)
{
	return blob_payload(blob_find(blob, KVMFORK_STATE_TSC_OFFSET, vcpu));
}

/* What the host's TSC and clock may disagree by, in cycles, and the time of a spawn. */
#define SLACK_SECONDS	20

/*
 * Another boot is another TSC of the host. Pretend that it was: the guest's TSC
 * goes on all the same, and those of all vCPUs alike.
 */
TEST_F(export, tsc_of_another_boot)
{
	static const int64_t others[] = { 1LL << 44, -(1LL << 44) };
	long khz = xioctl(self->vm.vcpus[0].fd, KVM_GET_TSC_KHZ, NULL);

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
		uint64_t before, child_tsc, after;
		struct vm child;
		int fd;

		saved_clock(&self->blob)->host_tsc += others[i];
		for (unsigned int v = 0; v < self->vm.nr_vcpus; v++)
			*saved_offset(&self->blob, v) -= others[i];
		fd = load(self);
		before = vcpu_get_msr(&self->vm.vcpus[0], MSR_TSC);
		vm_spawn(fd, &self->vm, &child);
		child_tsc = vcpu_get_msr(&child.vcpus[0], MSR_TSC);
		after = vcpu_get_msr(&self->vm.vcpus[0], MSR_TSC);
		EXPECT_LE(before, child_tsc + khz * 1000 * SLACK_SECONDS);
		EXPECT_GE(after + khz * 1000 * SLACK_SECONDS, child_tsc);
		for (unsigned int v = 1; v < child.nr_vcpus; v++) {
			uint64_t other = vcpu_get_msr(&child.vcpus[v], MSR_TSC);

			EXPECT_LE(child_tsc, other);
			EXPECT_GE(child_tsc + khz * 1000 * SLACK_SECONDS, other);
		}
		vm_close(&child);
		close(fd);
	}
}

/*
 * Another host's TSC has another rate. Pretend that it ran at 9/10 of the
 * guest's, which was scaled there: offset = guest's TSC - host's * 10/9.
 */
TEST_F(export, tsc_of_another_host)
{
	struct kvmfork_state_host *host =
		blob_payload(blob_find(&self->blob, KVMFORK_STATE_HOST, KVMFORK_STATE_VM));
	long khz = xioctl(self->vm.vcpus[0].fd, KVM_GET_TSC_KHZ, NULL);
	uint64_t slack = khz * 1000 * SLACK_SECONDS;
	/* A tenth is more than the slack; what rounding the rate makes of it is not. */
	const uint64_t other_tsc = khz * 1000 * 90 * SLACK_SECONDS;
	uint64_t before, child_tsc, after;
	struct vm child;
	int fd;

	ASSERT_NE(0, host->tsc_khz);
	for (unsigned int v = 0; v < self->vm.nr_vcpus; v++)
		*saved_offset(&self->blob, v) += saved_clock(&self->blob)->host_tsc -
						 other_tsc / 9 * 10;
	host->tsc_khz = khz / 10 * 9;
	saved_clock(&self->blob)->host_tsc = other_tsc;
	fd = load(self);
	before = vcpu_get_msr(&self->vm.vcpus[0], MSR_TSC);
	vm_spawn(fd, &self->vm, &child);
	child_tsc = vcpu_get_msr(&child.vcpus[0], MSR_TSC);
	after = vcpu_get_msr(&self->vm.vcpus[0], MSR_TSC);
	EXPECT_LE(before, child_tsc + slack);
	EXPECT_GE(after + slack, child_tsc);
	vm_close(&child);
	close(fd);
}

/* Saved an hour ago: so the guest's clock and TSC have gone on by an hour. */
TEST_F(export, time_that_has_passed)
{
	const uint64_t hour = 3600ULL, ns = 1000000000;
	long khz = xioctl(self->vm.vcpus[0].fd, KVM_GET_TSC_KHZ, NULL);
	struct kvm_clock_data now, later;
	uint64_t tsc, child_tsc;
	struct vm child;
	int fd;

	saved_clock(&self->blob)->realtime -= hour * ns;
	fd = load(self);
	vm_spawn(fd, &self->vm, &child);
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_CLOCK, &now));
	ASSERT_EQ(0, xioctl(child.vm_fd, KVM_GET_CLOCK, &later));
	EXPECT_LE(now.clock + (hour - SLACK_SECONDS) * ns, later.clock);
	EXPECT_GE(now.clock + (hour + SLACK_SECONDS) * ns, later.clock);
	tsc = vcpu_get_msr(&self->vm.vcpus[0], MSR_TSC);
	child_tsc = vcpu_get_msr(&child.vcpus[0], MSR_TSC);
	EXPECT_LE(tsc + (hour - SLACK_SECONDS) * khz * 1000, child_tsc);
	EXPECT_GE(tsc + (hour + SLACK_SECONDS) * khz * 1000, child_tsc);
	vm_close(&child);
	close(fd);
}

TEST_HARNESS_MAIN
