// SPDX-License-Identifier: GPL-2.0-only
/* KVMFORK_OPEN_MEMORY: a template's memory as a file. */
#include <fcntl.h>

#include "fork.h"
#include "harness.h"

#define RAM_GPA		(16UL << 20)
#define PAGES		64
#define SIZE		(PAGES * PAGE_SIZE)

/* Data in the even pages, holes in the others. */
FIXTURE(open_memory) {
	struct vm vm;
	int template, fd;
};

FIXTURE_SETUP(open_memory)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	vm_memory_add(&self->vm, 0, RAM_GPA, SIZE);
	for (unsigned int page = 0; page < PAGES; page += 2)
		*(char *)vm_hva(&self->vm, RAM_GPA + page * PAGE_SIZE) = 't';
	self->template = vm_freeze(&self->vm);
	self->fd = template_open_memory_of(self->template, SIZE);
}

FIXTURE_TEARDOWN(open_memory)
{
	close(self->fd);
	close(self->template);
	vm_close(&self->vm);
}

static bool holds_the_template(int fd)
{
	char page[PAGE_SIZE];

	for (unsigned int nr = 0; nr < PAGES; nr++)
		if (pread(fd, page, PAGE_SIZE, nr * PAGE_SIZE) != PAGE_SIZE ||
		    page[0] != (nr % 2 ? 0 : 't') || page[PAGE_SIZE - 1])
			return false;
	return true;
}

TEST_F(open_memory, contents)
{
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->fd, F_GETFD));
	EXPECT_TRUE(holds_the_template(self->fd));
	EXPECT_EQ((long long)SIZE, fdinfo_value(self->fd, "kvmfork-size"));
	EXPECT_EQ((long long)SIZE / 2, fdinfo_value(self->fd, "kvmfork-shared"));
	EXPECT_EQ(0, fdinfo_value(self->fd, "kvmfork-private"));
	EXPECT_EQ((off_t)PAGE_SIZE, lseek(self->fd, 0, SEEK_HOLE));
	/* Of the template, and not of what the VM has done since. */
	memset(vm_hva(&self->vm, RAM_GPA), 'v', SIZE);
	EXPECT_TRUE(holds_the_template(self->fd));
}

/* A memory file as others are: to be written, and a copy of its own. */
TEST_F(open_memory, is_a_copy)
{
	int other = template_open_memory_of(self->template, SIZE);
	char *map = memory_map(other, SIZE);
	struct vm child;

	memset(map, 'o', SIZE);
	EXPECT_EQ((long long)SIZE, fdinfo_value(other, "kvmfork-private"));
	EXPECT_TRUE(holds_the_template(self->fd));
	vm_spawn(self->template, &self->vm, &child);
	EXPECT_TRUE(holds_the_template(child.slots[1].memory_fd));
	EXPECT_TRUE(holds_the_template(self->vm.slots[1].memory_fd));
	vm_close(&child);
	munmap(map, SIZE);
	close(other);
}

TEST_F(open_memory, outlives_the_template)
{
	close(self->template);
	vm_close(&self->vm);
	EXPECT_TRUE(holds_the_template(self->fd));
	EXPECT_EQ((long long)SIZE / 2, fdinfo_value(self->fd, "kvmfork-private"));
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	self->template = vm_freeze(&self->vm);
}

static int open_in_a_process(void *arg)
{
	return holds_the_template(template_open_memory_of(*(int *)arg, SIZE)) ? 0 : 1;
}

TEST_F(open_memory, in_another_process)
{
	EXPECT_TRUE(process_exited(process_run(open_in_a_process, &self->template), 0));
}

/* In the order in which the mappings of a child name the files first. */
TEST_F(open_memory, order)
{
	struct fork_call call;
	struct vm child;

	spawn_call_init(&call);
	ASSERT_EQ(0, fork_call_spawn(&call, self->template));
	ASSERT_EQ(2, call.args.spawn.nr_mappings);
	for (unsigned int i = 0; i < 2; i++) {
		int fd = template_open_memory(self->template, i);

		EXPECT_EQ(fdinfo_value(call.mappings[i].memory_fd, "kvmfork-size"),
			  fdinfo_value(fd, "kvmfork-size"));
		close(fd);
	}
	fork_call_child(&call, &self->vm, &child);
	vm_close(&child);
}

TEST_F(open_memory, errors)
{
	static const uint32_t indices[] = { 2, 3, 1000, 0x7fffffff, 0xffffffff };

	for (size_t i = 0; i < ARRAY_LENGTH(indices); i++) {
		EXPECT_EQ(-ENXIO, __template_open_memory(self->template, indices[i], 0))
			TH_LOG("index %u", indices[i]);
	}
	for (unsigned int bit = 0; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, __template_open_memory(self->template, 0, 1U << bit))
			TH_LOG("flag bit %u", bit);
	}
}

/* A VM without memory has none to be opened. */
TEST(without_memory)
{
	struct vm vm;
	int fd;

	vm_create(&vm, VM_IRQCHIP_NONE);
	vm.attach_fd = vm_attach(vm.vm_fd);
	fd = vm_freeze(&vm);
	EXPECT_EQ(-ENXIO, __template_open_memory(fd, 0, 0));
	close(fd);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
