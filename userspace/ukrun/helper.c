// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"
#include "log.h"
#include "passing.h"
#include "vm.h"

/* So many forks may have failed in between. */
#define IDS_AHEAD	4096

struct offer {
	int (*open)(void *arg, uint64_t id);
	void *arg;
	/* The helper's: which VMs have had it, a bit each. */
	uint8_t *served;
	uint64_t room;		/* bits */
};

/* Not of a fixed size: what lies with other variables is copied at each fork. */
static struct offer *offers;
static unsigned int nr_offers;
static int helper_socket = -1;

struct helper_message {
	int number;	/* of the offer; of the answer: the error */
	uint64_t id;	/* of the VM */
};

/* With a descriptor, unless @fd is negative. */
static bool helper_send(int socket, struct helper_message message, int fd)
{
	struct iovec iov = { &message, sizeof(message) };

	/* Who does not take his answer must not keep others waiting for theirs. */
	return pass_send(socket, &iov, 1, fd, MSG_DONTWAIT) == sizeof(message);
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
static bool helper_receive(int socket, struct helper_message *message, int *fd)
{
	struct iovec iov = { message, sizeof(*message) };
	ssize_t size = pass_receive(socket, &iov, 1, fd);

	if ((size < 0 && errno != EMSGSIZE) || (!size && helper_is_alone(socket)))
		return false;
	if (size == sizeof(*message))
		return true;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return true;
}

/*
 * A VM that somebody has taken over must not have the files of others made empty: each id
 * comes once, and is not far from those before.
 */
static bool helper_is_new(struct offer *offer, uint64_t id)
{
	uint8_t *served, bit = 1 << id % 8;

	if (id < 2 || id >= offer->room + IDS_AHEAD)
		return false;
	if (id >= offer->room) {
		served = realloc(offer->served, id / 8 + 1);
		if (!served)
			return false;
		memset(served + offer->room / 8, 0, id / 8 + 1 - offer->room / 8);
		offer->served = served;
		offer->room = (id / 8 + 1) * 8;
	}
	if (offer->served[id / 8] & bit)
		return false;
	offer->served[id / 8] |= bit;
	return true;
}

static int helper_answer(const struct helper_message *message)
{
	struct offer *offer;

	if (message->number < 0 || (unsigned int)message->number >= nr_offers)
		return -EINVAL;
	offer = &offers[message->number];
	return helper_is_new(offer, message->id) ? offer->open(offer->arg, message->id) : -EPERM;
}

/* Each asks with a socket for the answer, so that nobody takes another's. */
static void helper_run(int socket)
{
	struct helper_message message;
	int answer, fd;

	while (helper_receive(socket, &message, &answer)) {
		if (answer < 0)
			continue;
		fd = helper_answer(&message);
		message.number = fd < 0 ? fd : 0;
		helper_send(answer, message, fd);
		if (fd >= 0)
			close(fd);
		close(answer);
	}
}

unsigned int helper_offer(int (*open)(void *arg, uint64_t id), void *arg)
{
	offers = realloc(offers, (nr_offers + 1) * sizeof(*offers));
	if (!offers)
		die("out of memory on the host");
	offers[nr_offers] = (struct offer){ .open = open, .arg = arg };
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

int helper_open(const struct vm *vm, unsigned int number)
{
	struct helper_message message = { .number = number, .id = vm->id };
	int sockets[2], fd = -1;
	bool sent;

	if (helper_socket < 0)
		return offers[number].open(offers[number].arg, vm->id);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	sent = helper_send(helper_socket, message, sockets[1]);
	close(sockets[1]);
	message.number = -EIO;
	if (sent && !helper_receive(sockets[0], &message, &fd))
		message.number = -EIO;
	close(sockets[0]);
	if (fd >= 0)
		return fd;
	return message.number ?: -EIO;
}
