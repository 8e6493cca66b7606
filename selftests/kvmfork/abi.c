// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all calls have in common: versions by size, unknown commands, commands
 * of other kinds of file, bad pointers; and KVMFORK_GET_INFO.
 */
#include <fcntl.h>

#include "convert.h"
#include "fork.h"
#include "harness.h"
#include "save.h"

enum file_kind { FILE_DEVICE, FILE_MEMORY, FILE_ATTACH, FILE_TEMPLATE, FILE_KINDS };

static const struct {
	const char *name;
	enum file_kind kind;
	unsigned int cmd;
} commands[] = {
	{ "GET_INFO", FILE_DEVICE, KVMFORK_GET_INFO },
	{ "CREATE_MEMORY", FILE_DEVICE, KVMFORK_CREATE_MEMORY },
	{ "ATTACH", FILE_DEVICE, KVMFORK_ATTACH },
	{ "LOAD", FILE_DEVICE, KVMFORK_LOAD },
	{ "TRAP", FILE_ATTACH, KVMFORK_TRAP },
	{ "FREEZE", FILE_ATTACH, KVMFORK_FREEZE },
	{ "FORK", FILE_ATTACH, KVMFORK_FORK },
	{ "RESET", FILE_ATTACH, KVMFORK_RESET },
	{ "CONVERT", FILE_ATTACH, KVMFORK_CONVERT },
	{ "SPAWN", FILE_TEMPLATE, KVMFORK_SPAWN },
	{ "SPAWN_MANY", FILE_TEMPLATE, KVMFORK_SPAWN_MANY },
	{ "OPEN_MEMORY", FILE_TEMPLATE, KVMFORK_OPEN_MEMORY },
	{ "EXPORT", FILE_TEMPLATE, KVMFORK_EXPORT },
	{ "DIFF", FILE_MEMORY, KVMFORK_DIFF },
};

FIXTURE(abi) {
	struct vm vm;
	int files[FILE_KINDS];
	struct fork_call call;
	struct reset_call reset;
	struct convert_call convert;
	struct kvmfork_create_memory memory;
	struct kvmfork_attach attach;
	struct kvmfork_trap trap;
	struct kvmfork_info info;
	struct kvmfork_spawn_many many;
	struct kvmfork_open_memory open;
	struct kvmfork_export export;
	struct load_call load;
	struct blob blob;
	struct kvmfork_diff diff;
	int32_t result;
	uint64_t bitmap[GUEST_MEMORY / PAGE_SIZE / 64];
};

FIXTURE_SETUP(abi)
{
	vm_create_default(&self->vm, VM_IRQCHIP_NONE, 1);
	self->files[FILE_DEVICE] = kvmfork_device();
	self->files[FILE_MEMORY] = self->vm.slots[0].memory_fd;
	self->files[FILE_ATTACH] = self->vm.attach_fd;
	self->files[FILE_TEMPLATE] = vm_freeze(&self->vm);
	self->memory.size = PAGE_SIZE;
	self->attach.vm_fd = -1;
	template_export(self->files[FILE_TEMPLATE], &self->blob);
	load_call_init(&self->load, &self->blob, self->files[FILE_TEMPLATE]);
}

FIXTURE_TEARDOWN(abi)
{
	load_call_close(&self->load);
	free(self->blob.bytes);
	close(self->files[FILE_TEMPLATE]);
	vm_close(&self->vm);
}

/* A right argument for @cmd. */
static void *abi_argument(FIXTURE_DATA(abi) *self, unsigned int cmd)
{
	fork_call_init(&self->call, &self->vm);
	reset_call_init(&self->reset, &self->vm, self->files[FILE_TEMPLATE]);
	convert_call_init(&self->convert, &self->vm);
	switch (cmd) {
	case KVMFORK_GET_INFO:
		return &self->info;
	case KVMFORK_CREATE_MEMORY:
		return &self->memory;
	case KVMFORK_ATTACH:
		/* As the fixture's VM is attached, this one must not be right. */
		return &self->attach;
	case KVMFORK_TRAP:
		return &self->trap;
	case KVMFORK_FREEZE:
		return &self->call.args.freeze;
	case KVMFORK_FORK:
		return &self->call.args;
	case KVMFORK_RESET:
		return &self->reset.args;
	case KVMFORK_CONVERT:
		return &self->convert.args;
	case KVMFORK_SPAWN_MANY:
		self->many = (struct kvmfork_spawn_many) {
			.spawns = (unsigned long)&self->call.args.spawn,
			.results = (unsigned long)&self->result,
			.count = 1,
		};
		return &self->many;
	case KVMFORK_OPEN_MEMORY:
		return &self->open;
	case KVMFORK_EXPORT:
		self->export = (struct kvmfork_export) {
			.state = (unsigned long)self->blob.bytes,
			.size = self->blob.size,
		};
		return &self->export;
	case KVMFORK_LOAD:
		return &self->load.args;
	case KVMFORK_DIFF:
		self->diff = (struct kvmfork_diff) {
			.size = GUEST_MEMORY,
			.bitmap = (unsigned long)self->bitmap,
			.other_fd = self->files[FILE_MEMORY],
		};
		return &self->diff;
	default:
		return &self->call.args.spawn;
	}
}

static int abi_expected(unsigned int cmd)
{
	return cmd == KVMFORK_ATTACH ? -EBADF : 0;
}

static unsigned int abi_resized(unsigned int cmd, int by)
{
	return _IOC(_IOC_DIR(cmd), _IOC_TYPE(cmd), _IOC_NR(cmd), _IOC_SIZE(cmd) + by);
}

static void abi_close_results(FIXTURE_DATA(abi) *self, unsigned int cmd, int ret)
{
	struct vm child;

	if (ret < 0)
		return;
	switch (cmd) {
	case KVMFORK_CREATE_MEMORY:
	case KVMFORK_FREEZE:
	case KVMFORK_OPEN_MEMORY:
	case KVMFORK_LOAD:
		close(ret);
		break;
	case KVMFORK_CONVERT:
		close(self->convert.mappings[0].memory_fd);
		break;
	case KVMFORK_FORK:
	case KVMFORK_SPAWN:
	case KVMFORK_SPAWN_MANY:
		fork_call_child(&self->call, &self->vm, &child);
		vm_close(&child);
		break;
	}
}

TEST_F(abi, get_info)
{
	memset(&self->info, 0xff, sizeof(self->info));
	ASSERT_EQ(0, xioctl(kvmfork_device(), KVMFORK_GET_INFO, &self->info));
	EXPECT_EQ(KVMFORK_API_VERSION, self->info.api_version);
	EXPECT_EQ(0, self->info.reserved);
	EXPECT_EQ(KVMFORK_MEMORY_SIZE_MAX, self->info.memory_size_max);
	EXPECT_EQ(KVMFORK_FEATURE_MEMORY | KVMFORK_FEATURE_FORK | KVMFORK_FEATURE_TEMPLATE |
		  KVMFORK_FEATURE_RESET | KVMFORK_FEATURE_SPAWN_MANY | KVMFORK_FEATURE_DIFF |
		  KVMFORK_FEATURE_EXPORT | KVMFORK_FEATURE_CONVERT | KVMFORK_FEATURE_HUGE |
		  KVMFORK_FEATURE_RESET_KEEP,
		  self->info.features & ~KVMFORK_FEATURE_TRAP_UD);
}

TEST_F(abi, unprivileged_get_info)
{
	int fd = open("/dev/kvmfork", O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, xioctl(fd, KVMFORK_GET_INFO, &self->info));
	close(fd);
}

TEST_F(abi, right_size)
{
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
		unsigned int cmd = commands[i].cmd;
		int ret = xioctl(self->files[commands[i].kind], cmd, abi_argument(self, cmd));

		EXPECT_EQ(abi_expected(cmd), ret < 0 ? ret : 0)
			TH_LOG("%s: %s", commands[i].name, self->call.message);
		abi_close_results(self, cmd, ret);
	}
}

TEST_F(abi, smaller_than_first_version)
{
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
		unsigned int cmd = commands[i].cmd;

		for (int by = 1; by <= (int)_IOC_SIZE(cmd); by++) {
			EXPECT_EQ(-EINVAL, xioctl(self->files[commands[i].kind],
						  abi_resized(cmd, -by),
						  abi_argument(self, cmd)))
				TH_LOG("%s, %d bytes less", commands[i].name, by);
		}
	}
}

/* What a later version might look like to this module. */
static int abi_call_larger(FIXTURE_DATA(abi) *self, size_t i, int by, int at, char tail)
{
	unsigned int cmd = commands[i].cmd;
	unsigned int size = _IOC_SIZE(cmd);
	void *arg = abi_argument(self, cmd);
	char buffer[8192] = {};
	int ret;

	memcpy(buffer, arg, size);
	buffer[size + at] = tail;
	ret = xioctl(self->files[commands[i].kind], abi_resized(cmd, by), buffer);
	memcpy(arg, buffer, size);
	abi_close_results(self, cmd, ret);
	return ret < 0 ? ret : 0;
}

TEST_F(abi, larger_with_zero_tail)
{
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
		EXPECT_EQ(abi_expected(commands[i].cmd), abi_call_larger(self, i, 8, 0, 0))
			TH_LOG("%s", commands[i].name);
		EXPECT_EQ(abi_expected(commands[i].cmd), abi_call_larger(self, i, 2048, 0, 0))
			TH_LOG("%s", commands[i].name);
	}
}

TEST_F(abi, larger_with_nonzero_tail)
{
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
		/* All of it is output. */
		if (commands[i].cmd == KVMFORK_GET_INFO)
			continue;
		EXPECT_EQ(-E2BIG, abi_call_larger(self, i, 8, 0, 1))
			TH_LOG("%s", commands[i].name);
		EXPECT_EQ(-E2BIG, abi_call_larger(self, i, 8, 7, 1))
			TH_LOG("%s", commands[i].name);
		EXPECT_EQ(-E2BIG, abi_call_larger(self, i, 2048, 2047, 1))
			TH_LOG("%s", commands[i].name);
	}
}

TEST_F(abi, unknown_numbers)
{
	for (int kind = 0; kind < FILE_KINDS; kind++) {
		for (unsigned int nr = 0; nr < 256; nr++) {
			bool known = false;

			for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
				known |= _IOC_NR(commands[i].cmd) == nr;
			if (known)
				continue;
			EXPECT_EQ(-ENOTTY, xioctl(self->files[kind], _IO(KVMFORK_IOC, nr), NULL))
				TH_LOG("file kind %d, number 0x%x", kind, nr);
			EXPECT_EQ(-ENOTTY, xioctl(self->files[kind],
						  _IOWR(KVMFORK_IOC, nr, struct kvmfork_fork),
						  &self->call))
				TH_LOG("file kind %d, number 0x%x", kind, nr);
		}
	}
}

TEST_F(abi, commands_of_other_files)
{
	for (int kind = 0; kind < FILE_KINDS; kind++) {
		for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
			unsigned int cmd = commands[i].cmd;

			if ((int)commands[i].kind == kind)
				continue;
			EXPECT_EQ(-ENOTTY, xioctl(self->files[kind], cmd, abi_argument(self, cmd)))
				TH_LOG("%s on file kind %d", commands[i].name, kind);
		}
	}
}

TEST_F(abi, kvm_commands)
{
	for (int kind = 0; kind < FILE_KINDS; kind++) {
		EXPECT_EQ(-ENOTTY, xioctl(self->files[kind], KVM_GET_API_VERSION, NULL));
		EXPECT_EQ(-ENOTTY, xioctl(self->files[kind], KVM_RUN, NULL));
		EXPECT_EQ(-ENOTTY, xioctl(self->files[kind], KVM_CREATE_VCPU, NULL));
	}
}

/* Ours on KVM's: this module must not have got in the way there. */
TEST_F(abi, commands_on_kvm_files)
{
	const int fds[] = { kvm_device(), self->vm.vm_fd, self->vm.vcpus[0].fd };

	for (size_t f = 0; f < ARRAY_LENGTH(fds); f++) {
		for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
			unsigned int cmd = commands[i].cmd;
			int ret = xioctl(fds[f], cmd, abi_argument(self, cmd));

			EXPECT_TRUE(ret == -ENOTTY || ret == -EINVAL)
				TH_LOG("%s: %d", commands[i].name, ret);
		}
	}
}

TEST_F(abi, bad_pointers)
{
	void *hole = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *const pointers[] = {
		NULL, (void *)1UL, hole, (char *)hole + PAGE_SIZE - 1,
		(void *)0x7ffffffff000UL, (void *)0x8000000000000000UL,
		(void *)0xffffffff81000000UL, (void *)-1UL,
	};

	ASSERT_NE(MAP_FAILED, hole);
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
		for (size_t p = 0; p < ARRAY_LENGTH(pointers); p++) {
			EXPECT_EQ(-EFAULT, xioctl(self->files[commands[i].kind],
						  commands[i].cmd, pointers[p]))
				TH_LOG("%s at %p", commands[i].name, pointers[p]);
		}
	}
	munmap(hole, PAGE_SIZE);
}

/* Results that cannot be written leave no new fd and no mapping behind. */
TEST_F(abi, arguments_that_cannot_be_written)
{
	static const unsigned int writers[] = {
		KVMFORK_GET_INFO, KVMFORK_FORK, KVMFORK_SPAWN, KVMFORK_SPAWN_MANY, KVMFORK_DIFF,
		KVMFORK_EXPORT,
	};
	char *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct proc_state before, after;

	ASSERT_NE(MAP_FAILED, page);
	for (size_t w = 0; w < ARRAY_LENGTH(writers); w++) {
		size_t i = 0;

		while (commands[i].cmd != writers[w])
			i++;
		mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
		memcpy(page, abi_argument(self, writers[w]), _IOC_SIZE(writers[w]));
		mprotect(page, PAGE_SIZE, PROT_READ);
		proc_state_get(&before);
		EXPECT_EQ(-EFAULT, xioctl(self->files[commands[i].kind], writers[w], page))
			TH_LOG("%s", commands[i].name);
		proc_state_get(&after);
		EXPECT_TRUE(proc_state_equal(&before, &after))
			TH_LOG("%s left something behind", commands[i].name);
	}
	munmap(page, PAGE_SIZE);
}

TEST_F(abi, files_are_close_on_exec)
{
	for (int kind = FILE_MEMORY; kind < FILE_KINDS; kind++) {
		EXPECT_EQ(FD_CLOEXEC, fcntl(self->files[kind], F_GETFD))
			TH_LOG("file kind %d", kind);
	}
}

/* read, write, lseek, mmap of files that have none of it. */
TEST_F(abi, other_calls)
{
	static const enum file_kind kinds[] = { FILE_DEVICE, FILE_ATTACH, FILE_TEMPLATE };
	char byte = 0;

	for (size_t k = 0; k < ARRAY_LENGTH(kinds); k++) {
		int fd = self->files[kinds[k]];

		EXPECT_EQ(-1, read(fd, &byte, 1));
		EXPECT_EQ(-1, write(fd, &byte, 1));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0));
	}
}

TEST_HARNESS_MAIN
