// SPDX-License-Identifier: GPL-2.0-only
/*
 * usage: qmp_client SOCKET WORD...
 *
 * A client of -qmp that sends each WORD and prints what comes, up to the answer
 * to it. `wait:TEXT` sends nothing, and reads up to a line with TEXT; `end`
 * reads up to the end.
 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static FILE *dial(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int tries, fd;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	for (tries = 200; tries; tries--) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (fd < 0)
			err(1, "socket");
		if (!connect(fd, (const void *)&address, sizeof(address)))
			return fdopen(fd, "r+");
		close(fd);
		usleep(100000);
	}
	err(1, "%s", path);
}

/* False at the end. */
static bool read_until(FILE *file, const char *text, const char *other)
{
	char line[8192];

	while (fgets(line, sizeof(line), file)) {
		fputs(line, stdout);
		fflush(stdout);
		if ((text && strstr(line, text)) || (other && strstr(line, other)))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	FILE *file;
	int i;

	if (argc < 2)
		errx(1, "usage: qmp_client SOCKET WORD...");
	file = dial(argv[1]);
	if (!file || !read_until(file, "\"QMP\"", NULL))
		errx(1, "no greeting");
	for (i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "end")) {
			read_until(file, NULL, NULL);
			continue;
		}
		if (!strncmp(argv[i], "wait:", 5)) {
			if (!read_until(file, argv[i] + 5, NULL))
				errx(1, "the end came before %s", argv[i] + 5);
			continue;
		}
		/* Between writing and reading a stream wants to be told. */
		fseek(file, 0, SEEK_CUR);
		if (fprintf(file, "%s\n", argv[i]) < 0 || fflush(file))
			err(1, "%s", argv[i]);
		if (!read_until(file, "\"return\"", "\"error\""))
			errx(1, "no answer to %s", argv[i]);
	}
	return 0;
}
