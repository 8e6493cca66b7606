// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_CONVERT: wrong arguments, and memory that cannot be taken over. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "convert.h"
#include "harness.h"

#define MIB	(1UL << 20)
#define GPA	(16 * MIB)
#define SIZE	(4 * MIB)

FIXTURE(errors) {
	struct vm vm;
	struct convert_call call;
	char *hva;
};

FIXTURE_SETUP(errors)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 2);
	self->hva = memory_anonymous(SIZE);
	self->hva[0] = 1;
	vm_slot_add(&self->vm, 0, GPA, SIZE, self->hva, -1, 0);
	convert_call_init(&self->call, &self->vm);
}

FIXTURE_TEARDOWN(errors)
{
	vm_close(&self->vm);
}

/* The call fails, changes nothing, and would succeed otherwise. */
static int run_spoilt(FIXTURE_DATA(errors) *self)
{
	struct proc_state before, after;
	struct convert_call right;
	int ret;

	proc_state_get(&before);
	ret = convert_call_run(&self->call, self->vm.attach_fd);
	proc_state_get(&after);
	TEST_REQUIRE(ret >= 0 || proc_state_equal(&before, &after), "something has changed");
	convert_call_init(&right, &self->vm);
	TEST_REQUIRE(!convert_call_run(&right, self->vm.attach_fd), "the right call failed: %s",
		     right.message);
	TEST_REQUIRE(ret < 0 || right.args.nr_pages == 0, "it was not done");
	TEST_REQUIRE(self->hva[0] == 1, "contents are lost");
	return ret;
}

TEST_F(errors, unknown_flags)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		convert_call_init(&self->call, &self->vm);
		self->call.args.flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, convert_call_run(&self->call, self->vm.attach_fd))
			TH_LOG("bit %u", bit);
	}
	EXPECT_EQ(1, count_mappings(self->hva, SIZE));
}

TEST_F(errors, unknown_flags_of_a_freeze)
{
	struct fork_call call;

	for (unsigned int bit = 1; bit < 64; bit++) {
		fork_call_init(&call, &self->vm);
		call.args.freeze.flags = 1ULL << bit | KVMFORK_FREEZE_CONVERT;
		EXPECT_EQ(-EINVAL, fork_call_freeze(&call, self->vm.attach_fd))
			TH_LOG("bit %u", bit);
	}
}

TEST_F(errors, reserved_fields)
{
	self->call.args.reserved32 = 1;
	EXPECT_EQ(-EINVAL, run_spoilt(self));
	for (unsigned int i = 0; i < ARRAY_LENGTH(self->call.args.reserved); i++) {
		convert_call_init(&self->call, &self->vm);
		self->call.args.reserved[i] = 1ULL << (7 * i);
		EXPECT_EQ(-EINVAL, run_spoilt(self));
	}
}

TEST_F(errors, room_for_mappings)
{
	self->call.args.nr_mappings = 1;
	EXPECT_EQ(-E2BIG, run_spoilt(self));
	EXPECT_EQ(2, self->call.args.nr_mappings);
}

TEST_F(errors, exact_room_for_mappings)
{
	self->call.args.nr_mappings = 2;
	ASSERT_EQ(0, convert_call_run(&self->call, self->vm.attach_fd));
	EXPECT_EQ(2, self->call.args.nr_mappings);
}

/* The memory is converted by then; only the telling fails. */
TEST_F(errors, bad_mappings_pointer)
{
	struct proc_state before, after;

	proc_state_get(&before);
	self->call.args.mappings = 8;
	EXPECT_EQ(-EFAULT, convert_call_run(&self->call, self->vm.attach_fd));
	proc_state_get(&after);
	EXPECT_EQ(before.fds, after.fds);
	EXPECT_EQ(0, vm_convert(&self->vm));
	EXPECT_EQ(1, self->hva[0]);
}

TEST_F(errors, bad_message_pointer)
{
	self->call.args.nr_vcpus = 0;
	self->call.args.message = 8;
	EXPECT_EQ(-ENXIO, run_spoilt(self));
}

TEST_F(errors, vcpus)
{
	self->call.args.nr_vcpus = 1;
	EXPECT_EQ(-ENXIO, run_spoilt(self));
	convert_call_init(&self->call, &self->vm);
	self->call.vcpu_fds[1] = self->call.vcpu_fds[0];
	EXPECT_EQ(-ENXIO, run_spoilt(self));
	convert_call_init(&self->call, &self->vm);
	self->call.vcpu_fds[1] = -1;
	EXPECT_EQ(-EBADF, run_spoilt(self));
	convert_call_init(&self->call, &self->vm);
	self->call.vcpu_fds[1] = self->vm.vm_fd;
	EXPECT_EQ(-EBADF, run_spoilt(self));
	convert_call_init(&self->call, &self->vm);
	self->call.args.vcpu_fds = 8;
	EXPECT_EQ(-EFAULT, run_spoilt(self));
}

static int convert_inherited(void *arg)
{
	FIXTURE_DATA(errors) *self = arg;

	return convert_call_run(&self->call, self->vm.attach_fd) == -EXDEV ? 0 : 1;
}

TEST_F(errors, by_another_process)
{
	EXPECT_TRUE(process_exited(process_run(convert_inherited, self), 0));
}

TEST_F(errors, no_fds_left)
{
	struct rlimit limit, none = { 0 };

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none.rlim_max = limit.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, convert_call_run(&self->call, self->vm.attach_fd));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(0, vm_convert(&self->vm));
	EXPECT_EQ(1, self->hva[0]);
}

/*
 * What is refused is refused by name, and before anything is changed: also of
 * the good slot before it.
 */
static void expect_refusal(struct __test_metadata *_metadata, FIXTURE_DATA(errors) *self,
			   int error, const char *why, void *hva, uint64_t size)
{
	struct proc_state before, after;

	ASSERT_EQ(0, __vm_slot_set(&self->vm, 7, 0, 4 * GPA, size, hva));
	convert_call_init(&self->call, &self->vm);
	proc_state_get(&before);
	EXPECT_EQ(error, convert_call_run(&self->call, self->vm.attach_fd));
	proc_state_get(&after);
	EXPECT_TRUE(proc_state_equal(&before, &after));
	EXPECT_NE(NULL, strstr(self->call.message, why))
		TH_LOG("no '%s' in '%s'", why, self->call.message);
	EXPECT_NE(NULL, strstr(self->call.message, "slot 7"))
		TH_LOG("'%s'", self->call.message);
	ASSERT_EQ(0, __vm_slot_set(&self->vm, 7, 0, 0, 0, NULL));
	EXPECT_EQ(1, vm_convert(&self->vm));
	EXPECT_EQ(1, self->hva[0]);
}

TEST_F(errors, unmapped)
{
	char *hva = memory_anonymous(SIZE);

	munmap(hva + MIB, PAGE_SIZE);
	expect_refusal(_metadata, self, -EMEDIUMTYPE, "nothing is mapped", hva, SIZE);
}

TEST_F(errors, hugetlb)
{
	char *hva;

	if (!file_write("/proc/sys/vm/nr_hugepages", "4"))
		SKIP(return, "no hugetlbfs");
	hva = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (hva == MAP_FAILED)
		SKIP(return, "no huge pages");
	expect_refusal(_metadata, self, -EOPNOTSUPP, "hugetlbfs", hva, 2 * MIB);
	munmap(hva, 2 * MIB);
	file_write("/proc/sys/vm/nr_hugepages", "0");
}

/* KVM's own pages of a vCPU will do for what a driver maps. */
TEST_F(errors, device)
{
	expect_refusal(_metadata, self, -EOPNOTSUPP, "a device's", self->vm.vcpus[0].run,
		       PAGE_SIZE);
}

TEST_F(errors, pfnmap)
{
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);
	char *hva;

	if (fd < 0)
		SKIP(return, "no /dev/mem");
	/* The BIOS, which is not RAM of the system. */
	hva = mmap(NULL, 16 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0xf0000);
	close(fd);
	if (hva == MAP_FAILED)
		SKIP(return, "/dev/mem cannot be mapped");
	expect_refusal(_metadata, self, -EOPNOTSUPP, "a device's", hva, 16 * PAGE_SIZE);
	munmap(hva, 16 * PAGE_SIZE);
}

TEST_F(errors, userfaultfd)
{
	struct uffdio_api api = { .api = UFFD_API };
	char *hva = memory_anonymous(SIZE);
	struct uffdio_register range = {
		.range = { .start = (unsigned long)hva, .len = SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &range));
	expect_refusal(_metadata, self, -EOPNOTSUPP, "userfaultfd", hva, SIZE);
	close(fd);
}

TEST_F(errors, not_readable)
{
	char *hva = memory_anonymous(SIZE);

	ASSERT_EQ(0, mprotect(hva + MIB, PAGE_SIZE, PROT_NONE));
	expect_refusal(_metadata, self, -EOPNOTSUPP, "not readable", hva, SIZE);
}

TEST_F(errors, executable)
{
	char *hva = memory_anonymous(SIZE);

	ASSERT_EQ(0, mprotect(hva, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC));
	expect_refusal(_metadata, self, -EOPNOTSUPP, "executable", hva, SIZE);
}

TEST_F(errors, wiped_on_fork)
{
	char *hva = memory_anonymous(SIZE);

	ASSERT_EQ(0, madvise(hva, SIZE, MADV_WIPEONFORK));
	expect_refusal(_metadata, self, -EOPNOTSUPP, "MADV_WIPEONFORK", hva, SIZE);
}

TEST_F(errors, numa_policy)
{
	char *hva = memory_anonymous(SIZE);
	unsigned long nodes = 1;

	/* MPOL_BIND */
	if (syscall(SYS_mbind, hva, SIZE, 2, &nodes, 8 * sizeof(nodes), 0))
		SKIP(return, "no NUMA");
	expect_refusal(_metadata, self, -EOPNOTSUPP, "NUMA", hva, SIZE);
}

TEST_F(errors, sealed)
{
	char *hva = memory_anonymous(SIZE);

#ifndef SYS_mseal
#define SYS_mseal	462
#endif
	if (syscall(SYS_mseal, hva, SIZE, 0))
		SKIP(return, "no mseal()");
	expect_refusal(_metadata, self, -EOPNOTSUPP, "sealed", hva, SIZE);
}

TEST_F(errors, guard_pages)
{
	char *hva = memory_anonymous(SIZE);

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif
	if (madvise(hva + MIB, PAGE_SIZE, MADV_GUARD_INSTALL))
		SKIP(return, "no guard pages");
	expect_refusal(_metadata, self, -EOPNOTSUPP, "guard pages", hva, SIZE);
}

TEST_F(errors, protection_key)
{
	char *hva = memory_anonymous(SIZE);
	int key = syscall(SYS_pkey_alloc, 0, 0);

	if (key < 0)
		SKIP(return, "no protection keys");
	ASSERT_EQ(0, syscall(SYS_pkey_mprotect, hva, SIZE, PROT_READ | PROT_WRITE, key));
	expect_refusal(_metadata, self, -EOPNOTSUPP, "protection key", hva, SIZE);
}

TEST_F(errors, shared_mapping_of_a_file)
{
	int fd = file_create(SIZE);
	char *hva = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);

	ASSERT_NE(MAP_FAILED, hva);
	expect_refusal(_metadata, self, -EOPNOTSUPP, "shared mapping of a file", hva, SIZE);
	munmap(hva, SIZE);
	close(fd);
}

TEST_F(errors, mapped_twice)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char *hva, *other;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	other = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, MIB);
	ASSERT_NE(MAP_FAILED, hva);
	ASSERT_NE(MAP_FAILED, other);
	expect_refusal(_metadata, self, -EOPNOTSUPP, "mapped twice", hva, SIZE);
	munmap(hva, SIZE);
	munmap(other, PAGE_SIZE);
	close(fd);
}

static int wait_to_be_killed(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

TEST_F(errors, mapped_by_another_process)
{
	char *hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	ASSERT_NE(MAP_FAILED, hva);
	pid = process_start(wait_to_be_killed, NULL);
	expect_refusal(_metadata, self, -EOPNOTSUPP, "another process", hva, SIZE);
	kill(pid, SIGKILL);
	process_wait(pid);
	munmap(hva, SIZE);
}

/* Of a memory file that somebody has laid out it is not known what goes where. */
TEST_F(errors, partly_a_memory_file)
{
	int fd = memory_create(SIZE);
	char *hva = memory_anonymous(SIZE);

	ASSERT_EQ(hva + MIB, mmap(hva + MIB, MIB, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, MIB));
	expect_refusal(_metadata, self, -EMEDIUMTYPE, "only a part", hva, SIZE);
	close(fd);
}

TEST_F(errors, mlockall)
{
	ASSERT_EQ(0, mlockall(MCL_FUTURE));
	EXPECT_EQ(-EOPNOTSUPP, convert_call_run(&self->call, self->vm.attach_fd));
	EXPECT_NE(NULL, strstr(self->call.message, "mlockall"));
	ASSERT_EQ(0, munlockall());
	EXPECT_EQ(1, vm_convert(&self->vm));
}

TEST_HARNESS_MAIN
