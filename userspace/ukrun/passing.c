// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "passing.h"

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

ssize_t pass_send(int socket, struct iovec *iov, unsigned int n, int fd, int flags)
{
	union control control = {
		.header = {
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL | flags);
}

ssize_t pass_receive(int socket, struct iovec *iov, unsigned int n, int *fd)
{
	union control control;
	struct msghdr msg = {
		.msg_iov = iov,
		.msg_iovlen = n,
		.msg_control = &control,
		/* Not CMSG_SPACE(): there would be room for a second. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	const struct cmsghdr *header;
	ssize_t size;

	*fd = -1;
	do {
		size = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	if (size < 0)
		return size;
	header = CMSG_FIRSTHDR(&msg);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(header), sizeof(int));
	if (!(msg.msg_flags & MSG_TRUNC))
		return size;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = EMSGSIZE;
	return -1;
}
