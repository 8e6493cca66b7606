// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading and unloading: refused as long as anything of the module is in use,
 * and nothing is left of it afterwards. The module is taken from
 * KVMFORK_MODULE (default: kvmfork.ko above the program's directory); it is
 * loaded at the end when it was loaded at the start.
 */
#include <fcntl.h>
#include <libgen.h>
#include <sys/syscall.h>

#include "fork.h"
#include "harness.h"
#include "save.h"

#define GPA	(16UL << 20)
#define MIB	(1LL << 20)

static bool was_loaded;

static bool loaded(void)
{
	return !access("/sys/module/kvmfork", F_OK);
}

static int module_open(void)
{
	const char *path = getenv("KVMFORK_MODULE");
	char program[4096] = "", beside[4200];

	if (!path) {
		TEST_REQUIRE(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0,
			     "/proc/self/exe: %m");
		snprintf(beside, sizeof(beside), "%s/../kvmfork.ko", dirname(program));
		path = beside;
	}
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int load(void)
{
	int fd = module_open();
	int ret = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;

	close(fd);
	return ret;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "kvmfork", O_NONBLOCK) ? -errno : 0;
}

/* Files are let go of a little after they are closed. */
static int unload_patiently(void)
{
	int ret = -EAGAIN;

	for (int try = 0; try < 200 && (ret == -EAGAIN || ret == -EBUSY); try++) {
		ret = unload();
		if (ret)
			usleep(10000);
	}
	return ret;
}

static bool kallsyms_has_it(void)
{
	char line[512];
	bool found = false;
	FILE *file = fopen("/proc/kallsyms", "r");

	TEST_REQUIRE(file, "/proc/kallsyms: %m");
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, "[kvmfork]");
	fclose(file);
	return found;
}

FIXTURE(module) {
	int unused;
};

FIXTURE_SETUP(module)
{
	int fd = module_open();

	if (fd < 0)
		SKIP(return, "no kvmfork.ko (KVMFORK_MODULE names it)");
	close(fd);
	if (access("/dev/kvm", R_OK | W_OK))
		SKIP(return, "no /dev/kvm");
	was_loaded = loaded();
	if (!was_loaded)
		TEST_REQUIRE(!load(), "loading: %m");
}

FIXTURE_TEARDOWN(module)
{
	if (was_loaded && !loaded())
		load();
	else if (!was_loaded && loaded())
		unload_patiently();
}

/* A device node made anew has a new number, perhaps. */
static int device_open(void)
{
	for (int try = 0; try < 100; try++) {
		int fd = open("/dev/kvmfork", O_RDWR | O_CLOEXEC);

		if (fd >= 0)
			return fd;
		usleep(10000);
	}
	test_fail(__FILE__, __LINE__, "/dev/kvmfork does not appear: %m");
}

static int memory_of(int device, uint64_t size)
{
	struct kvmfork_create_memory args = { .size = size };
	int fd = xioctl(device, KVMFORK_CREATE_MEMORY, &args);

	TEST_REQUIRE(fd >= 0, "KVMFORK_CREATE_MEMORY: %m");
	return fd;
}

/* A VM with memory and a vCPU, made by nothing that keeps the device open. */
static void make_vm(struct vm *vm)
{
	struct kvmfork_attach args = {};
	int device = device_open(), fd = memory_of(device, GUEST_MEMORY);

	vm_create(vm, VM_IRQCHIP_KERNEL);
	vm_slot_add(vm, 0, 0, GUEST_MEMORY, memory_map(fd, GUEST_MEMORY), fd, 0);
	vm_load_guest(vm);
	vcpu_add(vm, 0);
	vcpu_start(&vm->vcpus[0], 0, guest_count, 0);
	args.vm_fd = vm->vm_fd;
	vm->attach_fd = xioctl(device, KVMFORK_ATTACH, &args);
	TEST_REQUIRE(vm->attach_fd >= 0, "KVMFORK_ATTACH: %m");
	close(device);
}

static bool refused(void)
{
	int ret = unload();

	return ret == -EAGAIN || ret == -EBUSY;
}

TEST_F(module, unloads_when_unused)
{
	ASSERT_EQ(0, unload_patiently());
	EXPECT_FALSE(loaded());
	EXPECT_FALSE(kallsyms_has_it());
	EXPECT_NE(0, access("/dev/kvmfork", F_OK));
	ASSERT_EQ(0, load());
	close(device_open());
	EXPECT_EQ(-EEXIST, load());
}

TEST_F(module, refused_while_the_device_is_open)
{
	int fd = device_open();

	EXPECT_TRUE(refused());
	close(fd);
	EXPECT_EQ(0, unload_patiently());
}

TEST_F(module, refused_for_memory)
{
	int device = device_open(), fd = memory_of(device, PAGE_SIZE);
	char *map = memory_map(fd, PAGE_SIZE);

	close(device);
	EXPECT_TRUE(refused());
	close(fd);
	/* The mapping alone. */
	EXPECT_TRUE(refused());
	map[0] = 1;
	munmap(map, PAGE_SIZE);
	EXPECT_EQ(0, unload_patiently());
}

TEST_F(module, refused_for_an_attached_vm)
{
	struct kvmfork_attach args = {};
	int device = device_open(), fd;
	struct vm vm;

	vm_create(&vm, VM_IRQCHIP_NONE);
	args.vm_fd = vm.vm_fd;
	fd = xioctl(device, KVMFORK_ATTACH, &args);
	ASSERT_LE(0, fd);
	close(device);
	EXPECT_TRUE(refused());
	/* The VM's own fd is no longer needed to keep it. */
	vm_close(&vm);
	EXPECT_TRUE(refused());
	close(fd);
	EXPECT_EQ(0, unload_patiently());
}

TEST_F(module, refused_for_a_template)
{
	struct vm vm;
	int fd;

	make_vm(&vm);
	fd = vm_freeze(&vm);
	vm_close(&vm);
	EXPECT_TRUE(refused());
	close(fd);
	EXPECT_EQ(0, unload_patiently());
}

TEST_F(module, refused_for_a_child)
{
	struct vm vm, child;

	make_vm(&vm);
	vm_fork(&vm, &child);
	vm_close(&vm);
	EXPECT_TRUE(refused());
	EXPECT_EQ(1, vcpu_run_to_port(&child.vcpus[0], PORT_SYNC));
	vm_close(&child);
	EXPECT_EQ(0, unload_patiently());
}

/* A VM whose memory is the module's, though it was never attached. */
TEST_F(module, refused_for_a_slot)
{
	struct vm vm;

	make_vm(&vm);
	close(vm.attach_fd);
	vm.attach_fd = -1;
	EXPECT_TRUE(refused());
	EXPECT_EQ(1, vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC));
	vm_close(&vm);
	EXPECT_EQ(0, unload_patiently());
}

/* VMs which have nothing to do with it neither hold it nor notice. */
TEST_F(module, other_vms_go_on)
{
	struct vm vm;
	void *hva = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);

	vm_create(&vm, VM_IRQCHIP_KERNEL);
	vm_slot_add(&vm, 0, 0, GUEST_MEMORY, hva, -1, 0);
	vm_load_guest(&vm);
	vcpu_add(&vm, 0);
	vcpu_start(&vm.vcpus[0], 0, guest_count, 0);
	EXPECT_EQ(1, vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC));
	EXPECT_EQ(0, unload_patiently());
	EXPECT_EQ(2, vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC));
	EXPECT_EQ(0, load());
	EXPECT_EQ(3, vcpu_run_to_port(&vm.vcpus[0], PORT_SYNC));
	vm_close(&vm);
}

/* Shared between the processes. */
struct kept {
	char path[SAVE_PATH_SIZE];
	struct vm shape;
};

static int save_and_die(void *arg)
{
	struct kept *kept = arg;

	make_vm(&kept->shape);
	TEST_REQUIRE(vcpu_run_to_port(&kept->shape.vcpus[0], PORT_SYNC) == 1, "a wrong guest");
	template_save(vm_freeze(&kept->shape), kept->path);
	return 0;
}

static int restore_and_run(void *arg)
{
	struct kept *kept = arg;
	struct vm child;

	vm_spawn(template_restore(kept->path), &kept->shape, &child);
	return vcpu_run_to_port(&child.vcpus[0], PORT_SYNC) == 2 ? 0 : 1;
}

/* By processes of their own, which keep nothing open here. */
TEST_F(module, loads_what_another_saved)
{
	struct kept *kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, kept);
	ASSERT_TRUE(process_exited(process_run(save_and_die, kept), 0));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, unload_patiently());
		ASSERT_EQ(0, load());
		close(device_open());
		EXPECT_TRUE(process_exited(process_run(restore_and_run, kept), 0));
	}
	template_saved_remove(kept->path);
	munmap(kept, sizeof(*kept));
}

/* Load, fork, run, unload. */
static void round_trip(void)
{
	struct vm vm, child;

	TEST_REQUIRE(!load(), "loading: %m");
	make_vm(&vm);
	vm_fork(&vm, &child);
	TEST_REQUIRE(vcpu_run_to_port(&child.vcpus[0], PORT_SYNC) == 1, "the child does not run");
	vm_close(&child);
	vm_close(&vm);
	TEST_REQUIRE(!unload_patiently(), "unloading: %m");
}

struct usage {
	long long available, slab, vmalloc;
};

static struct usage usage(void)
{
	struct usage now;

	/* Grace periods, and what waits for them. */
	sleep(1);
	file_write("/proc/sys/vm/drop_caches", "3");
	sleep(1);
	now.available = mem_available();
	now.slab = proc_value("/proc/meminfo", "SUnreclaim");
	now.vmalloc = proc_value("/proc/meminfo", "VmallocUsed");
	return now;
}

static bool kmemleak_is_silent(void)
{
	const char *path = "/sys/kernel/debug/kmemleak";
	char text[4096] = "";
	ssize_t size;
	int fd;

	if (access(path, W_OK))
		return true;
	file_write(path, "scan");
	sleep(6);
	file_write(path, "scan");
	fd = open(path, O_RDONLY);
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size > 0)
		fprintf(stderr, "# kmemleak: %s\n", text);
	return size <= 0;
}

/*
 * KVMFORK_TEST_ROUNDS (default 1000, scaled) of it. What is lost in each round
 * adds up; what the kernel keeps once does not.
 */
TEST_F_TIMEOUT(module, leaks_nothing, 7200)
{
	const char *text = getenv("KVMFORK_TEST_ROUNDS");
	unsigned long rounds = text ? strtoul(text, NULL, 10) : test_scaled(1000);
	struct usage before, after;

	ASSERT_EQ(0, unload_patiently());
	for (int i = 0; i < 10; i++)
		round_trip();
	before = usage();
	for (unsigned long i = 0; i < rounds; i++)
		round_trip();
	after = usage();
	TH_LOG("%lu rounds: available %+lld KiB, slab %+lld KiB, vmalloc %+lld KiB", rounds,
	       (after.available - before.available) / 1024, (after.slab - before.slab) / 1024,
	       (after.vmalloc - before.vmalloc) / 1024);
	/* 1,000 rounds at a KiB each would be found; noise is a few hundred KiB. */
	EXPECT_LT(before.available - after.available, 4 * MIB + (long long)rounds * 512);
	EXPECT_LT(after.slab - before.slab, MIB + (long long)rounds * 512);
	EXPECT_LT(after.vmalloc - before.vmalloc, MIB);
	EXPECT_FALSE(kallsyms_has_it());
	EXPECT_FALSE(loaded());
	EXPECT_TRUE(kmemleak_is_silent());
}

/* Its structures are looked into: it must not go, nor be another one. */
TEST(needs_kvm)
{
	EXPECT_EQ(0, access("/sys/module/kvm/holders/kvmfork", F_OK));
}

TEST_HARNESS_MAIN
