// SPDX-License-Identifier: GPL-2.0-only
/*
 * usage: fetch PORT PATH
 *
 * Print what a web server at 127.0.0.1 has there. (L1's busybox is static, and
 * its wget does not get along with the C library that other programs bring.)
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct timeval limit = { .tv_sec = 10 };
	char text[65536], *body;
	size_t size = 0;
	ssize_t n;
	int fd;

	if (argc != 3)
		errx(2, "usage: fetch PORT PATH");
	address.sin_port = htons(atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, (const void *)&address, sizeof(address)))
		err(1, "port %s", argv[1]);
	dprintf(fd, "GET /%s HTTP/1.0\r\n\r\n", argv[2]);
	while (size < sizeof(text) - 1) {
		n = read(fd, text + size, sizeof(text) - 1 - size);
		if (n < 0)
			err(1, "port %s", argv[1]);
		if (!n)
			break;
		size += n;
	}
	text[size] = '\0';
	body = strstr(text, "\r\n\r\n");
	if (strncmp(text, "HTTP/", 5) || !strstr(text, " 200 ") || !body)
		errx(1, "no page: %.60s", text);
	fputs(body + 4, stdout);
	return 0;
}
