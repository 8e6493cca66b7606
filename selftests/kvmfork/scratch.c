// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mapping by which the module hands arguments to KVM: one per process, there
 * while it has attached VMs.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fork.h"
#include "harness.h"

struct place {
	unsigned int nr;	/* how many there are; the first one is: */
	char *start;
	unsigned long size;
};

static struct place scratch_find(void)
{
	struct place place = {};
	unsigned long start, end;
	char line[512];
	FILE *file = fopen("/proc/self/maps", "r");

	TEST_REQUIRE(file, "/proc/self/maps: %m");
	while (fgets(line, sizeof(line), file)) {
		if (!strstr(line, "[kvmfork-scratch]") || place.nr++)
			continue;
		TEST_REQUIRE(sscanf(line, "%lx-%lx", &start, &end) == 2, "strange line");
		place.start = (char *)start;
		place.size = end - start;
	}
	fclose(file);
	return place;
}

FIXTURE(scratch) {
	struct vm vm;
	struct place place;
};

FIXTURE_SETUP(scratch)
{
	ASSERT_EQ(0, scratch_find().nr);
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	self->place = scratch_find();
}

FIXTURE_TEARDOWN(scratch)
{
	vm_close(&self->vm);
	EXPECT_EQ(0, scratch_find().nr);
}

TEST_F(scratch, one_for_all_vms)
{
	struct vm child;

	EXPECT_EQ(1, self->place.nr);
	vm_fork(&self->vm, &child);
	EXPECT_EQ(1, scratch_find().nr);
	vm_close(&child);
	EXPECT_EQ(1, scratch_find().nr);
}

TEST_F(scratch, unmapped_by_the_process)
{
	ASSERT_EQ(0, munmap(self->place.start, self->place.size));
	ASSERT_EQ(0, scratch_find().nr);
	close(vm_freeze(&self->vm));
	EXPECT_EQ(1, scratch_find().nr);
}

TEST_F(scratch, only_as_a_whole)
{
	char *place = self->place.start;

	EXPECT_EQ(-1, munmap(place, PAGE_SIZE));
	EXPECT_EQ(-1, munmap(place + PAGE_SIZE, PAGE_SIZE));
	EXPECT_EQ(MAP_FAILED, mremap(place, self->place.size, 2 * self->place.size,
				     MREMAP_MAYMOVE));
	EXPECT_EQ(MAP_FAILED, mremap(place, self->place.size, self->place.size,
				     MREMAP_MAYMOVE | MREMAP_FIXED, place - (16UL << 20)));
	/* The same address, and other pages. */
	EXPECT_EQ(-1, remap_file_pages(place, self->place.size, 0, 1, 0));
	close(vm_freeze(&self->vm));
	EXPECT_EQ(place, scratch_find().start);
	EXPECT_EQ(1, scratch_find().nr);
}

/* The call fails and says so, and the process can help itself. */
TEST_F(scratch, made_unwritable_by_the_process)
{
	ASSERT_EQ(0, mprotect(self->place.start, self->place.size, PROT_NONE));
	EXPECT_EQ(-EFAULT, __vm_freeze(&self->vm));
	ASSERT_EQ(0, munmap(self->place.start, self->place.size));
	close(vm_freeze(&self->vm));
}

static int count_in_process(void *arg)
{
	(void)arg;
	return scratch_find().nr;
}

TEST_F(scratch, not_inherited)
{
	EXPECT_TRUE(process_exited(process_run(count_in_process, NULL), 0));
	EXPECT_EQ(1, scratch_find().nr);
}

struct far {
	int sock;
	struct place place;
};

/* A VM with its memory where the other process has its scratch memory. */
static int freeze_there(void *arg)
{
	struct far *far = arg;
	struct vm vm;
	char *hva;
	int fd;

	vm_create(&vm, VM_IRQCHIP_NONE);
	fd = memory_create(far->place.size);
	hva = mmap(far->place.start, far->place.size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	TEST_REQUIRE(hva == far->place.start, "mmap: %m");
	strcpy(hva, "from there");
	vm_slot_add(&vm, 0, 0, far->place.size, hva, fd, 0);
	vm.attach_fd = vm_attach(vm.vm_fd);
	fd_send(far->sock, vm_freeze(&vm));
	return 0;
}

TEST_F(scratch, makes_room_for_a_fixed_spawn)
{
	struct far far = { .place = self->place };
	struct fork_call call;
	int socks[2], fd;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	far.sock = socks[0];
	ASSERT_TRUE(process_exited(process_run(freeze_there, &far), 0));
	fd = fd_receive(socks[1]);

	spawn_call_init(&call);
	call.args.spawn.flags = KVMFORK_SPAWN_FIXED;
	ASSERT_EQ(0, fork_call_spawn(&call, fd));
	EXPECT_EQ((unsigned long)self->place.start, call.mappings[0].address);
	EXPECT_STREQ("from there", self->place.start);
	EXPECT_EQ(1, scratch_find().nr);
	EXPECT_NE(self->place.start, scratch_find().start);
	close(vm_freeze(&self->vm));

	munmap(self->place.start, self->place.size);
	close(call.args.spawn.vm_fd);
	close(call.args.spawn.attach_fd);
	close(call.mappings[0].memory_fd);
	close(fd);
	close(socks[0]);
	close(socks[1]);
}

#define THREADS	4

struct freezer {
	pthread_t thread;
	struct vm vm;
};

/*
 * With the scratch memory unmapped in the middle of it, and another thread's in
 * its place, a freeze may do anything to what it makes, and nothing else.
 */
static void *freeze_often(void *arg)
{
	struct freezer *freezer = arg;

	for (unsigned long i = 0; i < test_scaled(200); i++) {
		struct fork_call call;
		int fd;

		fork_call_init(&call, &freezer->vm);
		fd = fork_call_freeze(&call, freezer->vm.attach_fd);
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

/* Whoever finds it in use by another thread gets one of his own for the time. */
TEST_F(scratch, used_by_threads_at_once)
{
	struct freezer freezers[THREADS] = {};

	for (int i = 0; i < THREADS; i++) {
		vm_create_default(&freezers[i].vm, VM_IRQCHIP_NONE, 2);
		ASSERT_EQ(0, pthread_create(&freezers[i].thread, NULL, freeze_often,
					    &freezers[i]));
	}
	for (unsigned long i = 0; i < test_scaled(200); i++) {
		munmap(self->place.start, self->place.size);
		usleep(100);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(freezers[i].thread, NULL);
		close(vm_freeze(&freezers[i].vm));
		vm_close(&freezers[i].vm);
	}
	EXPECT_EQ(1, scratch_find().nr);
}

TEST_HARNESS_MAIN
