// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"
#include "log.h"
#include "passing.h"
#include "vm.h"

#define OFFERS_MAX	64

struct offer {
	int (*open)(void *arg);
	void *arg;
};

static struct offer offers[OFFERS_MAX];
static unsigned int nr_offers;
static int helper_socket = -1;

/* One number and, unless @fd is negative, a descriptor. */
static bool helper_send(int socket, int number, int fd)
{
	struct iovec iov = { &number, sizeof(number) };

	/* Who does not take his answer must not keep others waiting for theirs. */
	return pass_send(socket, &iov, 1, fd, MSG_DONTWAIT) == sizeof(number);
}

/* Nothing comes any more: a message may have no bytes, too. */
static bool helper_is_alone(int socket)
{
	struct pollfd pollfd = { .fd = socket };

	return poll(&pollfd, 1, 0) < 0 || pollfd.revents & POLLHUP;
}

/*
 * @fd: -1 when there came none. False at the end. What is no message of ours comes
 * without a descriptor.
 */
static bool helper_receive(int socket, int *number, int *fd)
{
	struct iovec iov = { number, sizeof(*number) };
	ssize_t size = pass_receive(socket, &iov, 1, fd);

	if ((size < 0 && errno != EMSGSIZE) || (!size && helper_is_alone(socket)))
		return false;
	if (size == sizeof(*number))
		return true;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return true;
}

/* Each asks with a socket for the answer, so that nobody takes another's. */
static void helper_run(int socket)
{
	const struct offer *offer;
	int number, answer, fd;

	while (helper_receive(socket, &number, &answer)) {
		if (answer < 0)
			continue;
		fd = -EINVAL;
		if (number >= 0 && (unsigned int)number < nr_offers) {
			offer = &offers[number];
			fd = offer->open(offer->arg);
		}
		helper_send(answer, fd < 0 ? fd : 0, fd);
		if (fd >= 0)
			close(fd);
		close(answer);
	}
}

unsigned int helper_offer(int (*open)(void *arg), void *arg)
{
	if (nr_offers == OFFERS_MAX)
		die("more than %d networks and ports that children open anew", OFFERS_MAX);
	offers[nr_offers] = (struct offer){ open, arg };
	return nr_offers++;
}

void helper_start(struct vm *vm)
{
	int sockets[2];
	pid_t pid;

	if (!nr_offers || !vm->config.sandbox)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		die_errno("sandbox: helper process");
	pid = fork();
	if (pid < 0)
		die_errno("sandbox: helper process");
	if (pid) {
		close(sockets[1]);
		helper_socket = sockets[0];
		return;
	}
	prctl(PR_SET_NAME, "ukrun:helper");
	/* Nothing of the VM's; its signals stay blocked: it outlives the first VM. */
	close_range(0, sockets[1] - 1, 0);
	close_range(sockets[1] + 1, UINT_MAX, 0);
	helper_run(sockets[1]);
	_exit(0);
}

int helper_open(unsigned int number)
{
	int sockets[2], ret, fd = -1;

	if (helper_socket < 0)
		return offers[number].open(offers[number].arg);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	ret = -EIO;
	if (helper_send(helper_socket, number, sockets[1])) {
		close(sockets[1]);
		if (!helper_receive(sockets[0], &ret, &fd))
			ret = -EIO;
	} else {
		close(sockets[1]);
	}
	close(sockets[0]);
	return fd >= 0 ? fd : ret ?: -EIO;
}
