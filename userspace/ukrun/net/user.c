// SPDX-License-Identifier: GPL-2.0-only
/*
 * -netdev user: a network that libslirp makes of the host's sockets, without
 * privileges. The guest is 10.0.2.15, the host 10.0.2.2, names 10.0.2.3.
 *
 * A child has a network of its own: its parent's connections are its parent's. A
 * port that is forwarded is every VM's of the family, each listens to it, and
 * the host's kernel chooses one for each connection (SO_REUSEPORT).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "helper.h"
#include "log.h"
#include "net/netdev.h"
#include "net/slirp.h"
#include "props.h"
#include "sandbox.h"
#include "worker.h"

#define BACKLOG		1024
/* Frames which wait for the guest to have room; more are lost. */
#define WAITING_MAX	256
#define FORWARDS_MAX	32
#define HEADER_MAX	16

struct forward {
	struct sockaddr_in host;
	struct in_addr guest;
	uint16_t guest_port;
	char text[64];
	/* A port that takes a right: children have it opened by the helper. */
	bool privileged;
	unsigned int offer;
};

struct frame {
	struct frame *next;
	size_t size;
	uint8_t data[];
};

struct timer {
	SlirpTimerCb handle;
	void *arg;
	int64_t expires;	/* ms; -1: not at all */
	struct timer *next;
};

struct user {
	struct netdev *netdev;
	const struct slirp_calls *lib;
	Slirp *slirp;
	bool restricted, own_clone;
	const char *hostname;
	struct forward forwards[FORWARDS_MAX];
	unsigned int nr_forwards;
	struct timer *timers;
	struct frame *waiting, **waiting_end;
	unsigned int nr_waiting;
	const struct poll_set *polled;
	uint8_t buffer[NET_FRAME_MAX];
};

static int64_t user_clock_ns(void *opaque)
{
	(void)opaque;
	return clock_ns(CLOCK_MONOTONIC);
}

static void user_drop_waiting(struct user *user)
{
	struct frame *frame;

	while ((frame = user->waiting)) {
		user->waiting = frame->next;
		free(frame);
	}
	user->waiting_end = &user->waiting;
	user->nr_waiting = 0;
}

static void user_deliver(struct user *user)
{
	struct netdev *netdev = user->netdev;
	struct frame *frame;

	while ((frame = user->waiting) && netdev->can_receive(netdev->card)) {
		netdev->receive(netdev->card, frame->data, frame->size);
		user->waiting = frame->next;
		user->nr_waiting--;
		free(frame);
	}
	if (!user->waiting)
		user->waiting_end = &user->waiting;
}

static ssize_t user_receive(const void *data, size_t size, void *opaque)
{
	struct user *user = opaque;
	struct frame *frame;

	if (user->nr_waiting == WAITING_MAX)
		return size;
	frame = calloc(1, sizeof(*frame) + HEADER_MAX + size);
	if (!frame)
		return size;
	/* Nothing to say in the header: sums are right, frames short. */
	frame->size = user->netdev->header + size;
	memcpy(frame->data + user->netdev->header, data, size);
	*user->waiting_end = frame;
	user->waiting_end = &frame->next;
	user->nr_waiting++;
	user_deliver(user);
	return size;
}

static void user_guest_error(const char *message, void *opaque)
{
	const struct user *user = opaque;

	vm_log(user->netdev->vm, "%s: %s", user->netdev->id, message);
}

static void *user_timer_new(SlirpTimerCb handle, void *arg, void *opaque)
{
	struct user *user = opaque;
	struct timer *timer = xcalloc(1, sizeof(*timer));

	timer->handle = handle;
	timer->arg = arg;
	timer->expires = -1;
	timer->next = user->timers;
	user->timers = timer;
	return timer;
}

static void user_timer_free(void *which, void *opaque)
{
	struct user *user = opaque;
	struct timer **at = &user->timers;

	while (*at && *at != which)
		at = &(*at)->next;
	if (*at)
		*at = (*at)->next;
	free(which);
}

static void user_timer_mod(void *which, int64_t expires, void *opaque)
{
	struct timer *timer = which;

	(void)opaque;
	timer->expires = expires;
}

/* All of ours are asked for each time. */
static void user_no_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

/* Only the thread that polls calls libslirp. */
static void user_no_notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb user_callbacks = {
	.send_packet = user_receive,
	.guest_error = user_guest_error,
	.clock_get_ns = user_clock_ns,
	.timer_new = user_timer_new,
	.timer_free = user_timer_free,
	.timer_mod = user_timer_mod,
	.register_poll_fd = user_no_fd,
	.unregister_poll_fd = user_no_fd,
	.notify = user_no_notify,
};

static int user_add_poll(int fd, int events, void *opaque)
{
	short wanted = (events & SLIRP_POLL_IN ? POLLIN : 0) |
		       (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
		       (events & SLIRP_POLL_PRI ? POLLPRI : 0);

	return poll_set_add(opaque, fd, wanted);
}

static int user_get_revents(int index, void *opaque)
{
	const struct user *user = opaque;
	short seen = user->polled->fds[index].revents;

	return (seen & POLLIN ? SLIRP_POLL_IN : 0) | (seen & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (seen & POLLPRI ? SLIRP_POLL_PRI : 0) | (seen & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (seen & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void user_poll(struct netdev *netdev, struct poll_set *set)
{
	struct user *user = netdev->backend;
	uint32_t timeout = UINT32_MAX;
	struct timer *timer;
	int64_t left;

	user_deliver(user);
	user->lib->pollfds_fill(user->slirp, &timeout, user_add_poll, set);
	if (timeout != UINT32_MAX)
		poll_set_limit(set, timeout > 60000 ? 60000 : timeout);
	for (timer = user->timers; timer; timer = timer->next) {
		if (timer->expires < 0)
			continue;
		left = timer->expires - user_clock_ns(NULL) / 1000000;
		poll_set_limit(set, left < 0 ? 0 : left > 60000 ? 60000 : left);
	}
}

static void user_run_timers(struct user *user)
{
	int64_t now = user_clock_ns(NULL) / 1000000;
	struct timer *timer, *next;

	for (timer = user->timers; timer; timer = next) {
		next = timer->next;
		if (timer->expires < 0 || timer->expires > now)
			continue;
		timer->expires = -1;
		timer->handle(timer->arg);
	}
}

static void user_polled(struct netdev *netdev, const struct poll_set *set)
{
	struct user *user = netdev->backend;

	user->polled = set;
	user->lib->pollfds_poll(user->slirp, 0, user_get_revents, user);
	user_run_timers(user);
	user_deliver(user);
}

static void user_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	struct user *user = netdev->backend;
	size_t size = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (iov[i].iov_len > sizeof(user->buffer) - size)
			return;
		memcpy(user->buffer + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	/* An Ethernet header at least. */
	if (size >= netdev->header + 14)
		user->lib->input(user->slirp, user->buffer + netdev->header, size - netdev->header);
}

/* A listening socket that others of our family may have as well. */
static int user_listen(const struct forward *forward)
{
	const struct sockaddr *address = (const void *)&forward->host;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, error;

	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
	    !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) &&
	    !bind(fd, address, sizeof(forward->host)) && !listen(fd, BACKLOG))
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
	return -error;
}

static int user_open_offer(void *forward, uint64_t id)
{
	(void)id;
	return user_listen(forward);
}

static bool user_is_listening(int fd, const struct sockaddr_in *at)
{
	struct sockaddr_in address = {};
	socklen_t size = sizeof(address);
	int listens = 0;
	socklen_t listens_size = sizeof(listens);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) && listens &&
	       !getsockname(fd, (struct sockaddr *)&address, &size) &&
	       address.sin_addr.s_addr == at->sin_addr.s_addr;
}

/*
 * libslirp makes its listening sockets itself, with a backlog of one and not to
 * be shared. So it is told to listen at an address that means nobody, and
 * then the socket behind its descriptor becomes another.
 */
static int user_add_forward(struct user *user, const struct forward *forward)
{
	struct sockaddr_in nobody = { .sin_family = AF_INET };
	struct poll_set set = {};
	uint32_t timeout = UINT32_MAX;
	unsigned int i;
	int fd, ret = -ENOENT;

	nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0xfe0000);
	if (user->lib->add_hostfwd(user->slirp, 0, nobody.sin_addr, 0, forward->guest,
			      forward->guest_port))
		return -EADDRNOTAVAIL;
	if (forward->privileged)
		fd = helper_open(user->netdev->vm, forward->offer);
	else
		fd = user_listen(forward);
	if (fd < 0)
		return fd;
	user->lib->pollfds_fill(user->slirp, &timeout, user_add_poll, &set);
	for (i = 0; i < set.used && ret; i++)
		if (user_is_listening(set.fds[i].fd, &nobody))
			ret = dup3(fd, set.fds[i].fd, O_CLOEXEC) < 0 ? -errno : 0;
	free(set.fds);
	close(fd);
	return ret;
}

static int user_start_slirp(struct user *user)
{
	SlirpConfig config = {
		.version = 1,
		.restricted = user->restricted,
		.in_enabled = true,
		.vhostname = user->hostname,
	};
	unsigned int i;
	int ret = 0;

	config.vnetwork.s_addr = htonl(0x0a000200);
	config.vnetmask.s_addr = htonl(0xffffff00);
	config.vhost.s_addr = htonl(0x0a000202);
	config.vnameserver.s_addr = htonl(0x0a000203);
	config.vdhcp_start.s_addr = htonl(0x0a00020f);
	user_drop_waiting(user);
	user->slirp = user->lib->new(&config, &user_callbacks, user);
	if (!user->slirp)
		return -ENOMEM;
	for (i = 0; i < user->nr_forwards && !ret; i++) {
		ret = user_add_forward(user, &user->forwards[i]);
		if (ret)
			vm_warn(user->netdev->vm, "-netdev user,id=%s: hostfwd=%s: %s",
				user->netdev->id, user->forwards[i].text, strerror(-ret));
	}
	return ret;
}

static int user_forked(struct netdev *netdev)
{
	struct user *user = netdev->backend;

	/* Closes our copies of sockets; the parent's connections do not notice. */
	user->lib->cleanup(user->slirp);
	user->slirp = NULL;
	if (!user->own_clone) {
		user_drop_waiting(user);
		user->nr_forwards = 0;
	}
	return user_start_slirp(user) ?: user->own_clone;
}

static uint16_t user_port(const char *text, const char *whole)
{
	unsigned long port;
	char *end;

	port = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || !port || port > 65535)
		die("-netdev user: hostfwd=%s: %s is no port", whole, text);
	return port;
}

/* ADDRESS may be left out. Cuts @text at the colon; returns the port. */
static uint16_t user_address(char *text, struct in_addr *address, const char *whole)
{
	char *colon = strchr(text, ':');

	if (!colon)
		die("-netdev user: hostfwd=%s: tcp:[ADDRESS]:PORT-[ADDRESS]:PORT", whole);
	*colon = '\0';
	if (*text && inet_pton(AF_INET, text, address) != 1)
		die("-netdev user: hostfwd=%s: %s is no IPv4 address", whole, text);
	return user_port(colon + 1, whole);
}

static void user_parse_forward(struct user *user, const char *whole)
{
	struct forward *forward = &user->forwards[user->nr_forwards];
	char text[sizeof(forward->text)], *guest;

	if (user->nr_forwards == FORWARDS_MAX)
		die("-netdev user: more than %d hostfwd=", FORWARDS_MAX);
	if (snprintf(text, sizeof(text), "%s", whole) >= (int)sizeof(text) ||
	    strncmp(text, "tcp:", 4))
		die("-netdev user: hostfwd=%s: only tcp:[ADDRESS]:PORT-[ADDRESS]:PORT", whole);
	guest = strchr(text, '-');
	if (!guest)
		die("-netdev user: hostfwd=%s: tcp:[ADDRESS]:PORT-[ADDRESS]:PORT", whole);
	*guest++ = '\0';
	snprintf(forward->text, sizeof(forward->text), "%s", whole);
	forward->host.sin_family = AF_INET;
	forward->host.sin_port = htons(user_address(text + 4, &forward->host.sin_addr, whole));
	forward->guest_port = user_address(guest, &forward->guest, whole);
	user->nr_forwards++;
}

/* A port that somebody else listens to would be shared with him otherwise. */
static void user_check_forward(const struct forward *forward)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (const void *)&forward->host, sizeof(forward->host)) || listen(fd, 1))
		die_errno("-netdev user: hostfwd=%s", forward->text);
	close(fd);
}

static void user_offer_forward(struct forward *forward)
{
	forward->privileged = ntohs(forward->host.sin_port) < IPPORT_RESERVED;
	if (forward->privileged)
		forward->offer = helper_offer(user_open_offer, forward);
}

/* What libslirp needs for sockets. */
static void user_allow(void)
{
	static const int calls[] = {
		SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(bind), SCMP_SYS(connect),
		SCMP_SYS(getpeername), SCMP_SYS(getsockname), SCMP_SYS(getsockopt),
		SCMP_SYS(listen), SCMP_SYS(setsockopt), SCMP_SYS(shutdown),
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		sandbox_allow(calls[i]);
	sandbox_allow_if(SCMP_SYS(socket), 0, ~0ULL, AF_INET);
	sandbox_allow_if(SCMP_SYS(socket), 0, ~0ULL, AF_INET6);
	sandbox_allow_ioctl(SIOCATMARK);
}

static void user_create(struct netdev *netdev, struct props *props)
{
	struct user *user = xcalloc(1, sizeof(*user));
	const char *forward;
	unsigned int i;

	user->netdev = netdev;
	user->lib = slirp_load();
	netdev->backend = user;
	user->restricted = props_bool(props, "restrict", false);
	user->hostname = props_get(props, "hostname") ?: "ukrun";
	user->own_clone = strcmp(props_word(props, "clone", "user none", "user"), "none");
	while ((forward = props_take(props, "hostfwd")))
		user_parse_forward(user, forward);
	for (i = 0; i < user->nr_forwards; i++)
		user_check_forward(&user->forwards[i]);
	for (i = 0; i < user->nr_forwards && user->own_clone; i++)
		user_offer_forward(&user->forwards[i]);
	user_allow();
	/* Names what failed. */
	if (user_start_slirp(user))
		die("-netdev user,id=%s: cannot be made", netdev->id);
}

DECLARE_NETDEV(user, {
	.name = "user",
	.create = user_create,
	.send = user_send,
	.poll = user_poll,
	.polled = user_polled,
	.forked = user_forked,
});
