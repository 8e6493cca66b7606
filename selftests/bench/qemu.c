// SPDX-License-Identifier: GPL-2.0-only
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "qemu.h"
#include "util.h"

#define CONTROL		"/tmp/bench.qmp"
#define GUEST		"/kvmfork/guests/tick.elf"
#define TIMEOUT_MS	600000
#define POLL_US		1000

bool qemu_is_there(void)
{
	return !access(QEMU_LEAN, X_OK);
}

void qemu_start(struct monitor *monitor, unsigned int mib, bool incoming)
{
	const char *words[MONITOR_WORDS] = {
		QEMU_WORDS(QEMU_LEAN), "-serial", "stdio",
		"-qmp", "unix:" CONTROL ",server=on,wait=off", "-kernel", GUEST, "-m",
	};
	unsigned int nr = 0;
	char size[16];

	while (words[nr])
		nr++;
	snprintf(size, sizeof(size), "%u", mib);
	words[nr++] = size;
	if (incoming) {
		words[nr++] = "-incoming";
		words[nr++] = "file:" QEMU_FILE;
	}
	monitor_start(monitor, words);
}

struct reply {
	size_t used;
	char text[4096];
};

/* Until the reply, or what comes before it, has @what. */
static void qemu_hear(int fd, const char *what, struct reply *reply)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	reply->used = 0;
	do {
		TEST_REQUIRE(poll(&pollfd, 1, TIMEOUT_MS) == 1, "QEMU does not say %s", what);
		n = read(fd, reply->text + reply->used, sizeof(reply->text) - 1 - reply->used);
		TEST_REQUIRE(n > 0, "QEMU has gone, or says too much");
		reply->used += n;
		reply->text[reply->used] = '\0';
		TEST_REQUIRE(!strstr(reply->text, "\"error\""), "QEMU: %s", reply->text);
	} while (!strstr(reply->text, what));
}

static void qemu_ask(int fd, const char *command, struct reply *reply)
{
	TEST_REQUIRE(write(fd, command, strlen(command)) == (ssize_t)strlen(command),
		     "telling QEMU something: %m");
	qemu_hear(fd, "\"return\"", reply);
}

void qemu_save(void)
{
	static const char unlimited[] =
		"{'execute': 'migrate-set-parameters', 'arguments': {'max-bandwidth': 0}}";
	static const char migrate[] =
		"{'execute': 'migrate', 'arguments': {'uri': 'file:" QEMU_FILE "'}}";
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = CONTROL };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct reply reply;

	TEST_REQUIRE(fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address)),
		     CONTROL ": %m");
	qemu_hear(fd, "QMP", &reply);
	qemu_ask(fd, "{'execute': 'qmp_capabilities'}", &reply);
	/* Or it would keep to 1 Gbit/s. */
	qemu_ask(fd, unlimited, &reply);
	qemu_ask(fd, migrate, &reply);
	do {
		usleep(POLL_US);
		qemu_ask(fd, "{'execute': 'query-migrate'}", &reply);
		TEST_REQUIRE(!strstr(reply.text, "\"failed\""), "QEMU: %s", reply.text);
	} while (!strstr(reply.text, "\"completed\""));
	close(fd);
}
