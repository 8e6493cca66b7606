// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "# %s:%d: ", file, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	abort();
}

static unsigned long test_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);
	unsigned long value = text ? strtoul(text, NULL, 10) : 0;

	return value ? value : otherwise;
}

unsigned long test_slowness(void)
{
	return test_environment("KVMFORK_TEST_SLOWNESS", 1);
}

unsigned long test_scaled(unsigned long count)
{
	unsigned long scaled = count / test_environment("KVMFORK_TEST_SCALE", 1) /
			       test_slowness();

	return scaled ? scaled : 1;
}

unsigned int test_seconds(void)
{
	return test_environment("KVMFORK_TEST_SECONDS", 2);
}

uint64_t test_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static unsigned int proc_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	TEST_REQUIRE(dir, "/proc/self/fd: %m");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* FNV-1a over all but the heap, which belongs to libc and to us. */
static void proc_read_maps(struct proc_state *state)
{
	char line[512];
	FILE *file = fopen("/proc/self/maps", "r");

	TEST_REQUIRE(file, "/proc/self/maps: %m");
	state->maps = 0;
	state->hash = 0xcbf29ce484222325ULL;
	while (fgets(line, sizeof(line), file)) {
		if (strstr(line, "[heap]") || strstr(line, "[stack]"))
			continue;
		state->maps++;
		for (char *c = line; *c; c++)
			state->hash = (state->hash ^ (unsigned char)*c) * 0x100000001b3ULL;
	}
	fclose(file);
}

void proc_state_get(struct proc_state *state)
{
	state->fds = proc_count_fds();
	proc_read_maps(state);
}

bool proc_state_equal(const struct proc_state *a, const struct proc_state *b)
{
	return a->fds == b->fds && a->maps == b->maps && a->hash == b->hash;
}

long long proc_value(const char *path, const char *key)
{
	size_t length = strlen(key);
	long long value = -1;
	char line[256];
	FILE *file = fopen(path, "r");

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, length) || line[length] != ':')
			continue;
		value = strtoll(line + length + 1, NULL, 0);
		if (strstr(line, " kB"))
			value *= 1024;
		break;
	}
	fclose(file);
	return value;
}

/* Shrinking a cache empties its part of KASAN's quarantine; most bytes are in these. */
static void caches_shrink(void)
{
	static const char *const caches[] = {
		"kvmfork_node", "kvm_vcpu", "kmalloc-4k", "kmalloc-8k", "kmalloc-cg-4k",
		"kmalloc-cg-8k",
	};
	char path[64];

	for (size_t i = 0; i < ARRAY_LENGTH(caches); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", caches[i]);
		file_write(path, "1");
	}
}

long long mem_available(void)
{
	long long pages = 0, count;
	char line[256];
	FILE *file;

	caches_shrink();

	/* What each CPU has not yet added to the sums of all. */
	file_write("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/zoneinfo", "r");
	if (file) {
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, " count: %lld", &count) == 1)
				pages += count;
		fclose(file);
	}
	return proc_value("/proc/meminfo", "MemAvailable") + pages * (long long)PAGE_SIZE;
}

long long fdinfo_value(int fd, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return proc_value(path, key);
}

long long file_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long long value = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%lld", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

bool file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text));
	close(fd);
	return done == (ssize_t)strlen(text);
}

bool cpu_is_amd(void)
{
	return !access("/sys/module/kvm_amd", F_OK);
}

union fd_control {
	char data[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

void fd_send(int sock, int fd)
{
	union fd_control control = {};
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.data,
		.msg_controllen = sizeof(control.data),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	TEST_REQUIRE(sendmsg(sock, &msg, 0) == 1, "sendmsg: %m");
}

int fd_receive(int sock)
{
	union fd_control control = {};
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.data,
		.msg_controllen = sizeof(control.data),
	};
	struct cmsghdr *header;
	int fd;

	TEST_REQUIRE(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1, "recvmsg: %m");
	header = CMSG_FIRSTHDR(&msg);
	TEST_REQUIRE(header && header->cmsg_type == SCM_RIGHTS, "no fd in the message");
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

pid_t process_start(int (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	TEST_REQUIRE(pid >= 0, "fork: %m");
	if (!pid)
		_exit(fn(arg));
	return pid;
}

int process_wait(pid_t pid)
{
	int status;

	TEST_REQUIRE(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	return status;
}

int process_run(int (*fn)(void *arg), void *arg)
{
	return process_wait(process_start(fn, arg));
}

bool process_exited(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}
