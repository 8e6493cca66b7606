// SPDX-License-Identifier: GPL-2.0-only
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux.h"
#include "qemu.h"
#include "util.h"

#define HERE		"/kvmfork/selftests/linux"
#define ROOT		"/tmp/bench.root"
#define DISK		"/tmp/bench.disk"
#define PORT		8088
#define PORT_TEXT	"8088"

static const char *const ukrun_words[] = { "/kvmfork/ukrun", "-M", "microvm", NULL };

/* Virtio 1, as ukrun has without being told. */
static const char *const lean_words[] = {
	QEMU_WORDS(QEMU_LEAN), "-global", "virtio-mmio.force-legacy=false", NULL
};

static const char *const full_words[] = {
	QEMU_WORDS(QEMU_FULL), "-global", "virtio-mmio.force-legacy=false", NULL
};

static const char *const words[] = {
	"-m", "160", "-kernel", HERE "/vmlinuz", "-initrd", HERE "/initrd-root",
	"-append", "console=ttyS0 loglevel=3 panic=-1 root=/dev/vda test.bench",
	"-drive", "file=" ROOT ",id=root,format=raw,if=none",
	"-device", "virtio-blk-device,drive=root",
	"-drive", "file=" DISK ",id=disk,format=raw,if=none",
	"-device", "virtio-blk-device,drive=disk", "-serial", "stdio", NULL
};

static const char *const network_words[] = {
	"-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:" PORT_TEXT "-:80",
	"-device", "virtio-net-device,netdev=net", NULL
};

bool linux_is_there(enum linux_host host)
{
	return !access(HERE "/vmlinuz", R_OK) && (host == LINUX_UKRUN || qemu_is_there());
}

void linux_prepare(void)
{
	TEST_REQUIRE(!system("gunzip -c " HERE "/root.gz >" ROOT), "gunzip");
	TEST_REQUIRE(!truncate(ROOT, 16 << 20), ROOT ": %m");
	close(open(DISK, O_CREAT | O_TRUNC | O_WRONLY, 0600));
	TEST_REQUIRE(!truncate(DISK, LINUX_DISK_MIB << 20), DISK ": %m");
}

static unsigned int linux_add_words(const char **all, unsigned int nr, const char *const *more)
{
	for (; *more; more++) {
		TEST_REQUIRE(nr + 1 < MONITOR_WORDS, "too many words");
		all[nr++] = *more;
	}
	return nr;
}

void linux_boot(struct monitor *monitor, enum linux_host host, bool network)
{
	const char *const *qemu_words = network ? full_words : lean_words;
	const char *all[MONITOR_WORDS] = {};
	unsigned int nr;

	nr = linux_add_words(all, 0, host == LINUX_QEMU ? qemu_words : ukrun_words);
	nr = linux_add_words(all, nr, words);
	if (network)
		linux_add_words(all, nr, network_words);
	monitor_start(monitor, all);
	linux_ask(monitor, '\0');
}

/* Its kernel may have words of its own. */
static void linux_hear(struct monitor *monitor, const char *want)
{
	char line[200];

	do {
		monitor_line(monitor, line, sizeof(line));
		line[strcspn(line, "\r")] = '\0';
		TEST_REQUIRE(!strstr(line, "FAIL"), "the guest says '%s'", line);
	} while (strcmp(line, want));
}

void linux_ask(struct monitor *monitor, char letter)
{
	char done[] = "bench: ?";

	if (letter)
		monitor_send(monitor, letter);
	done[sizeof(done) - 2] = letter ?: '0';
	linux_hear(monitor, done);
}

static int linux_connect(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct timeval limit = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	TEST_REQUIRE(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) &&
		     !connect(fd, (const void *)&address, sizeof(address)),
		     "port " PORT_TEXT ": %m");
	return fd;
}

uint64_t linux_fetch(const char *page)
{
	static char text[1 << 16];
	int fd = linux_connect();
	uint64_t size = 0;
	ssize_t n;

	dprintf(fd, "GET /%s HTTP/1.0\r\n\r\n", page);
	do {
		n = read(fd, text, sizeof(text));
		TEST_REQUIRE(n >= 0, "/%s: %m", page);
		TEST_REQUIRE(size || !strncmp(text + 8, " 200 ", 5), "/%s: %.40s", page, text);
		size += n;
	} while (n);
	close(fd);
	return size;
}
