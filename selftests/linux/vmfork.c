// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmfork: forks the virtual machine it runs in, from a process of Linux,
 * through the port of ukrun; and the helpers of the test around it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <kvmfork/guest.h>

#define NSEC_PER_SEC	1000000000LL
#define WORK_BYTES	(256 * 1024)

static const char usage[] =
	"usage: vmfork [-q]          fork this VM; -q prints the child's id, or 0 in it\n"
	"       vmfork --wait        fork, and wait for the child in the parent\n"
	"       vmfork id|parent     print this VM's id, its parent's\n"
	"       vmfork wait ID       wait for a child, print its status\n"
	"       vmfork kill ID       end a VM of the family\n"
	"       vmfork exit STATUS   end this VM at once\n"
	"       vmfork work FILE     count in FILE and check memory, for ever\n"
	"       vmfork clock FILE    watch the clocks, say in FILE what they do\n";

/* The wait of guest.h, by the port; it gives a status as well. */
static long port_wait(long id, long flags, long *status)
{
	long ret = (long)KVMFORK_CALL_MAGIC;
	long call = KVMFORK_CALL_WAIT;

	__asm__ volatile("outl %%eax, %%dx"
			 : "+a"(ret), "+S"(id)
			 : "D"(call), "c"(flags), "d"(KVMFORK_PORT)
			 : "memory");
	*status = id;
	return ret;
}

static long call(long number, long arg)
{
	long ret = kvmfork_port_call(number, arg, 0);

	if (ret == (long)KVMFORK_CALL_MAGIC)
		errx(1, "nobody answers: this is no VM of ukrun, or --fork-on is not port");
	if (ret < 0) {
		errno = (int)-ret;
		err(1, "call %ld", number);
	}
	return ret;
}

/*
 * A blocking call would stop the vCPU, and with it all that this Linux wants
 * to run there: ask again and again instead.
 */
static void wait_for(long id)
{
	long ret, status;

	while (!(ret = port_wait(id, KVMFORK_WAIT_NOHANG, &status)))
		usleep(50000);
	if (ret < 0) {
		errno = (int)-ret;
		err(1, "wait for VM %ld", id);
	}
	printf("%ld\n", status);
}

static void fork_vm(bool quiet, bool wait)
{
	long me = call(KVMFORK_CALL_GETID, 0);
	long id = call(KVMFORK_CALL_FORK, 0);

	if (quiet)
		printf("%ld\n", id);
	else if (id)
		printf("vmfork: this is VM %ld, the parent of VM %ld\n", me, id);
	else
		printf("vmfork: this is VM %ld, the child of VM %ld\n",
		       call(KVMFORK_CALL_GETID, 0), me);
	fflush(stdout);
	if (id && wait)
		wait_for(id);
}

static int open_report(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

/* Of a fixed length and in one write, for readers at any time. */
static void report(int fd, const char *path, const char *text)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%-100s\n", text);

	if (pwrite(fd, line, (size_t)n, 0) != n)
		err(1, "%s", path);
}

/* All of the buffer is verified and rewritten in each round. */
static void work(const char *path)
{
	uint64_t *words = malloc(WORK_BYTES), round = 0;
	size_t n = WORK_BYTES / sizeof(*words), i;
	int fd = open_report(path);
	char text[100];

	if (!words)
		err(1, "memory");
	for (i = 0; i < n; i++)
		words[i] = i;
	for (;;) {
		for (i = 0; i < n; i++) {
			if (words[i] != i + round * 0x9e3779b97f4a7c15)
				break;
			words[i] = i + (round + 1) * 0x9e3779b97f4a7c15;
		}
		if (i < n) {
			snprintf(text, sizeof(text), "corrupt at %zu in round %llu", i,
				 (unsigned long long)round);
			report(fd, path, text);
			exit(1);
		}
		snprintf(text, sizeof(text), "%llu", (unsigned long long)++round);
		report(fd, path, text);
		usleep(2000);
	}
}

static int64_t now(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		err(1, "clock");
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/*
 * TICKS MONOTONIC REALTIME BACKWARDS GAP DRIFT, in milliseconds: how often a
 * clock went back, the longest step of the monotonic one, and how far the two
 * have moved apart since the start.
 */
static void watch_clocks(const char *path)
{
	int64_t start[2] = { now(CLOCK_MONOTONIC), now(CLOCK_REALTIME) };
	int64_t last[2] = { start[0], start[1] };
	int64_t t[2], gap = 0, drift;
	unsigned long ticks = 0, backwards = 0;
	int fd = open_report(path);
	char text[100];

	for (;;) {
		ticks++;
		t[0] = now(CLOCK_MONOTONIC);
		t[1] = now(CLOCK_REALTIME);
		backwards += (t[0] < last[0]) + (t[1] < last[1]);
		if (t[0] - last[0] > gap)
			gap = t[0] - last[0];
		drift = (t[1] - start[1]) - (t[0] - start[0]);
		snprintf(text, sizeof(text), "%lu %lld %lld %lu %lld %lld", ticks,
			 (long long)(t[0] / 1000000), (long long)(t[1] / 1000000),
			 backwards, (long long)(gap / 1000000),
			 (long long)(drift / 1000000));
		report(fd, path, text);
		last[0] = t[0];
		last[1] = t[1];
		usleep(20000);
	}
}

/*
 * QEMU's emulated CPU consults the permission bitmap of a TSS only when that is
 * marked "available", and forgets to in a VM whose registers were set from
 * outside, where it is "busy" as on real CPUs. So no call can be made from the
 * child there.
 */
static void refused(int signo)
{
	static const char text[] = "vmfork: the CPU refuses access to the port\n";

	(void)signo;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(4);
	_exit(3);
}

static long number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (!*text || *end)
		errx(2, "%s: not a number", text);
	return n;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "fork";
	const char *arg = argc > 2 ? argv[2] : NULL;

	if (arg && !strcmp(what, "work"))
		work(arg);
	if (arg && !strcmp(what, "clock"))
		watch_clocks(arg);
	signal(SIGSEGV, refused);
	if (ioperm(KVMFORK_PORT, 4, 1))
		err(1, "access to port 0x%x (root only)", KVMFORK_PORT);
	if (!strcmp(what, "fork"))
		fork_vm(false, false);
	else if (!strcmp(what, "-q"))
		fork_vm(true, false);
	else if (!strcmp(what, "--wait"))
		fork_vm(false, true);
	else if (!strcmp(what, "id"))
		printf("%ld\n", call(KVMFORK_CALL_GETID, 0));
	else if (!strcmp(what, "parent"))
		printf("%ld\n", call(KVMFORK_CALL_GETPARENT, 0));
	else if (arg && !strcmp(what, "wait"))
		wait_for(number(arg));
	else if (arg && !strcmp(what, "kill"))
		call(KVMFORK_CALL_KILL, number(arg));
	else if (arg && !strcmp(what, "exit"))
		call(KVMFORK_CALL_EXIT, number(arg));
	else
		errx(2, "%s", usage);
	return 0;
}
