// SPDX-License-Identifier: GPL-2.0-only
/*
 * vsock serve PORT FILE	each who connects gets the words that FILE has then, and
 *				what he sends back
 * vsock ask CID PORT		the words that are given there
 * vsock keep CID PORT		the same; then, for each line of stdin, sends it and says
 *				what comes back, or how the connection ended
 */
#include <err.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve_one(int fd, const char *path)
{
	char words[128];
	FILE *file = fopen(path, "r");
	ssize_t n;

	if (file && fgets(words, sizeof(words), file))
		send(fd, words, strlen(words), MSG_NOSIGNAL);
	if (file)
		fclose(file);
	while ((n = recv(fd, words, sizeof(words), 0)) > 0)
		if (send(fd, words, n, MSG_NOSIGNAL) != n)
			break;
	exit(0);
}

static void serve(struct sockaddr_vm *address, const char *path)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0), one;

	address->svm_cid = VMADDR_CID_ANY;
	if (fd < 0 || bind(fd, (void *)address, sizeof(*address)) || listen(fd, 8))
		err(1, "serve");
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		one = accept(fd, NULL, NULL);
		if (one >= 0 && !fork())
			serve_one(one, path);
		close(one);
	}
}

/* What comes next, or why nothing does. */
static int say_words(int fd)
{
	char words[128];
	ssize_t n = recv(fd, words, sizeof(words) - 1, 0);

	if (n > 0) {
		words[n] = '\0';
		fputs(words, stdout);
	} else {
		printf("ended: %s\n", n ? strerror(errno) : "closed");
	}
	fflush(stdout);
	return n > 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK };
	char line[128];
	int fd;

	if (argc != 4)
		errx(1, "usage: vsock serve PORT FILE | ask CID PORT | keep CID PORT");
	if (!strcmp(argv[1], "serve")) {
		address.svm_port = atoi(argv[2]);
		serve(&address, argv[3]);
	}
	address.svm_cid = atoi(argv[2]);
	address.svm_port = atoi(argv[3]);
	fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (void *)&address, sizeof(address)))
		err(1, "CID %s", argv[2]);
	if (!say_words(fd) || strcmp(argv[1], "keep"))
		return 0;
	while (fgets(line, sizeof(line), stdin)) {
		if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0) {
			printf("ended: %s\n", strerror(errno));
			return 1;
		}
		if (!say_words(fd))
			return 1;
	}
	return 0;
}
