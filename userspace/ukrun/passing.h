/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages between the processes of a family, with a descriptor (unix(7), SCM_RIGHTS). */
#ifndef UKRUN_PASSING_H
#define UKRUN_PASSING_H

#include <sys/types.h>
#include <sys/uio.h>

/* As sendmsg(2), and without SIGPIPE. @fd: negative for none; it stays the caller's, too. */
ssize_t pass_send(int socket, struct iovec *iov, unsigned int n, int fd, int flags);
/*
 * As recvmsg(2), beginning anew after a signal. *@fd: the caller's, or -1 when none
 * came. A message that is longer than there is room for is -1, with EMSGSIZE.
 */
ssize_t pass_receive(int socket, struct iovec *iov, unsigned int n, int *fd);

#endif
