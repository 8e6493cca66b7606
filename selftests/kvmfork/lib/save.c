// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save.h"

int __template_export(int template_fd, void *state, uint64_t *size)
{
	struct kvmfork_export args = { .state = (unsigned long)state, .size = *size };
	int ret = xioctl(template_fd, KVMFORK_EXPORT, &args);

	*size = args.size;
	return ret;
}

void template_export(int template_fd, struct blob *blob)
{
	blob->size = 0;
	TEST_REQUIRE(__template_export(template_fd, NULL, &blob->size) == -E2BIG,
		     "KVMFORK_EXPORT without room");
	blob->bytes = malloc(blob->size);
	TEST_REQUIRE(blob->bytes, "%lu bytes of state", (unsigned long)blob->size);
	TEST_REQUIRE(!__template_export(template_fd, blob->bytes, &blob->size),
		     "KVMFORK_EXPORT: %m");
}

static void load_call_prepare(struct load_call *call, const struct blob *blob)
{
	memset(call, 0, sizeof(*call));
	call->args = (struct kvmfork_load) {
		.state = (unsigned long)blob->bytes,
		.size = blob->size,
		.memory_fds = (unsigned long)call->memory_fds,
		.message = (unsigned long)call->message,
		.message_size = sizeof(call->message),
	};
}

void load_call_init(struct load_call *call, const struct blob *blob, int template_fd)
{
	load_call_prepare(call, blob);
	for (;;) {
		int fd = __template_open_memory(template_fd, call->args.nr_memories, 0);

		if (fd == -ENXIO)
			break;
		TEST_REQUIRE(fd >= 0, "KVMFORK_OPEN_MEMORY: %m");
		TEST_REQUIRE(call->args.nr_memories < SAVE_MAX_MEMORIES, "too many memories");
		call->memory_fds[call->args.nr_memories++] = fd;
	}
}

void load_call_close(struct load_call *call)
{
	for (unsigned int i = 0; i < call->args.nr_memories; i++)
		close(call->memory_fds[i]);
}

int load_call_run(struct load_call *call)
{
	return xioctl(kvmfork_device(), KVMFORK_LOAD, &call->args);
}

void *blob_payload(struct kvmfork_state_record *record)
{
	return record + 1;
}

uint64_t blob_record_size(const struct kvmfork_state_record *record)
{
	uint64_t size = record->size;

	return sizeof(*record) + ((size + KVMFORK_STATE_ALIGN - 1) & -KVMFORK_STATE_ALIGN);
}

struct kvmfork_state_record *blob_next(const struct blob *blob,
				       const struct kvmfork_state_record *record)
{
	uint8_t *next = blob->bytes + sizeof(struct kvmfork_state_header);

	if (record)
		next = (uint8_t *)record + blob_record_size(record);
	return next < blob->bytes + blob->size ? (void *)next : NULL;
}

struct kvmfork_state_record *blob_find(const struct blob *blob, uint32_t type, uint32_t vcpu)
{
	struct kvmfork_state_record *record = NULL;

	do {
		record = blob_next(blob, record);
	} while (record && (record->type != type || record->vcpu != vcpu));
	return record;
}

/* Files of a saved template: "state", and "memory0" and so on. */
static int save_open(const char *path, const char *name, unsigned int index, int flags)
{
	char file[SAVE_PATH_SIZE + 32];

	snprintf(file, sizeof(file), "%s/%s%u", path, name, index);
	return open(file, flags | O_CLOEXEC, 0600);
}

static void copy_data(int to, int from, off_t at, off_t end)
{
	static char buffer[1 << 16];

	while (at < end) {
		size_t want = end - at;
		ssize_t got = pread(from, buffer, want < sizeof(buffer) ? want : sizeof(buffer),
				    at);

		TEST_REQUIRE(got > 0, "reading saved memory: %m");
		TEST_REQUIRE(pwrite(to, buffer, got, at) == got, "writing saved memory: %m");
		at += got;
	}
}

/* What is not a hole, to the same place. */
static void copy_memory(int to, int from)
{
	off_t at = 0, end;

	for (;;) {
		at = lseek(from, at, SEEK_DATA);
		if (at < 0)
			break;
		end = lseek(from, at, SEEK_HOLE);
		copy_data(to, from, at, end);
		at = end;
	}
	TEST_REQUIRE(errno == ENXIO, "SEEK_DATA: %m");
}

static void save_memory(const char *path, unsigned int index, int memory)
{
	int fd = save_open(path, "memory", index, O_RDWR | O_CREAT | O_EXCL);

	TEST_REQUIRE(fd >= 0, "a file for memory %u: %m", index);
	TEST_REQUIRE(!ftruncate(fd, fdinfo_value(memory, "kvmfork-size")), "ftruncate: %m");
	copy_memory(fd, memory);
	close(fd);
}

void template_save(int template_fd, char *path)
{
	struct load_call call;
	struct blob blob;
	int fd;

	strcpy(path, "/tmp/kvmfork-test-XXXXXX");
	TEST_REQUIRE(mkdtemp(path), "a directory in /tmp: %m");
	template_export(template_fd, &blob);
	fd = save_open(path, "state", 0, O_RDWR | O_CREAT | O_EXCL);
	TEST_REQUIRE(fd >= 0 && write(fd, blob.bytes, blob.size) == (ssize_t)blob.size,
		     "saving the state: %m");
	close(fd);
	load_call_init(&call, &blob, template_fd);
	for (unsigned int i = 0; i < call.args.nr_memories; i++)
		save_memory(path, i, call.memory_fds[i]);
	load_call_close(&call);
	free(blob.bytes);
}

static void read_state(const char *path, struct blob *blob)
{
	int fd = save_open(path, "state", 0, O_RDONLY);
	struct stat stat;

	TEST_REQUIRE(fd >= 0 && !fstat(fd, &stat), "the saved state: %m");
	blob->size = stat.st_size;
	blob->bytes = malloc(blob->size);
	TEST_REQUIRE(blob->bytes && read(fd, blob->bytes, blob->size) == stat.st_size,
		     "reading the saved state: %m");
	close(fd);
}

static int restore_memory(int fd)
{
	struct stat stat;
	int memory;

	TEST_REQUIRE(!fstat(fd, &stat), "fstat: %m");
	memory = memory_create(stat.st_size);
	copy_memory(memory, fd);
	return memory;
}

int template_restore(const char *path)
{
	struct load_call call;
	struct blob blob;
	int ret;

	read_state(path, &blob);
	load_call_prepare(&call, &blob);
	for (;;) {
		int fd = save_open(path, "memory", call.args.nr_memories, O_RDONLY);

		if (fd < 0)
			break;
		TEST_REQUIRE(call.args.nr_memories < SAVE_MAX_MEMORIES, "too many memories");
		call.memory_fds[call.args.nr_memories++] = restore_memory(fd);
		close(fd);
	}
	ret = load_call_run(&call);
	TEST_REQUIRE(ret >= 0, "KVMFORK_LOAD: %s: %s", strerror(-ret), call.message);
	load_call_close(&call);
	free(blob.bytes);
	return ret;
}

void template_saved_remove(const char *path)
{
	char file[SAVE_PATH_SIZE + 32];

	snprintf(file, sizeof(file), "%s/state0", path);
	unlink(file);
	for (unsigned int i = 0; i < SAVE_MAX_MEMORIES; i++) {
		snprintf(file, sizeof(file), "%s/memory%u", path, i);
		unlink(file);
	}
	rmdir(path);
}
