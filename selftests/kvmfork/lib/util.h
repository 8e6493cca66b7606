/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests need that has nothing to do with KVM: failing, scaling, and
 * looking at /proc.
 */
#ifndef _KVMFORK_TEST_UTIL_H
#define _KVMFORK_TEST_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#define PAGE_SIZE	4096UL
#define ARRAY_LENGTH(a)	(sizeof(a) / sizeof((a)[0]))

/*
 * The library asserts with TEST_REQUIRE(): what fails here is not what the
 * test is about. It aborts, because the harness looks at signals and not at
 * the exit code of a test's process.
 */
void __attribute__((noreturn, format(printf, 3, 4)))
test_fail(const char *file, int line, const char *fmt, ...);

#define TEST_REQUIRE(cond, fmt, ...) do {				\
	if (!(cond))							\
		test_fail(__FILE__, __LINE__, fmt, ##__VA_ARGS__);	\
} while (0)

/* The result, or -errno. */
static inline int xioctl(int fd, unsigned long cmd, const void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

/* By how much more time everything takes: KVMFORK_TEST_SLOWNESS, default 1. */
unsigned long test_slowness(void);

/*
 * Counts divided by KVMFORK_TEST_SCALE (default 1) and by the slowness, but at
 * least one.
 */
unsigned long test_scaled(unsigned long count);

/* How long a race goes on: KVMFORK_TEST_SECONDS, default 2. */
unsigned int test_seconds(void);

uint64_t test_now_ns(void);

/* What a call must not leave behind when it fails. */
struct proc_state {
	unsigned int fds;
	unsigned int maps;
	uint64_t hash;
};

/* Open fds and mappings of this process; the hash covers the mappings. */
void proc_state_get(struct proc_state *state);
bool proc_state_equal(const struct proc_state *a, const struct proc_state *b);

/* Number after "key:" in a file such as /proc/meminfo; -1: not there. */
long long proc_value(const char *path, const char *key);

/*
 * MemAvailable in bytes, and what the free lists of the CPUs hold, which it leaves
 * out: since Linux 6.7 those grow to an eighth of the memory. What KASAN keeps of
 * freed memory is given back before, as far as it matters.
 */
long long mem_available(void);

/* Same in /proc/self/fdinfo/fd; in bytes, also when the line says kB. */
long long fdinfo_value(int fd, const char *key);

bool file_write(const char *path, const char *text);
/* What a file with nothing but a number says; -1: not there. */
long long file_number(const char *path);
bool cpu_is_amd(void);

/* Pass an fd over a unix socket. */
void fd_send(int sock, int fd);
int fd_receive(int sock);

/*
 * Run fn(arg) in a process of its own and return its wait status. The process
 * exits with what fn returns.
 */
int process_run(int (*fn)(void *arg), void *arg);
pid_t process_start(int (*fn)(void *arg), void *arg);
int process_wait(pid_t pid);

/* A wait status of exit(code). */
bool process_exited(int status, int code);

#endif /* _KVMFORK_TEST_UTIL_H */
