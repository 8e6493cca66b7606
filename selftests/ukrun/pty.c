// SPDX-License-Identifier: GPL-2.0-only
/*
 * pty PATTERN KEYS COMMAND...: runs COMMAND on a terminal of its own, types
 * KEYS (with octal escapes: \003) when PATTERN has been printed, and
 * ends as COMMAND does. What is printed goes to stdout. At the end it says
 * whether the terminal is as it was before.
 */
#include <err.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>


static char seen[65536];
static size_t seen_bytes;

static size_t unescape(char *text)
{
	char *from = text, *to = text;

	while (*from) {
		if (*from == '\\' && from[1] >= '0' && from[1] <= '7')
			*to++ = (char)strtol(from + 1, &from, 8);
		else
			*to++ = *from++;
	}
	return (size_t)(to - text);
}

static bool take_output(int fd)
{
	size_t room = sizeof(seen) - 1 - seen_bytes;
	char *at = seen + seen_bytes;
	ssize_t n;

	if (!room)
		errx(2, "too much output");
	n = read(fd, at, room);
	/* EIO when the last process on the terminal has gone. */
	if (n <= 0)
		return false;
	seen_bytes += (size_t)n;
	fwrite(at, 1, (size_t)n, stdout);
	fflush(stdout);
	return true;
}

static bool same_mode(int fd, const struct termios *before)
{
	struct termios after;

	return !tcgetattr(fd, &after) && after.c_lflag == before->c_lflag &&
	       after.c_iflag == before->c_iflag && after.c_oflag == before->c_oflag;
}

int main(int argc, char **argv)
{
	struct termios before;
	int master, slave, status;
	size_t keys;
	bool typed = false;
	pid_t pid;

	if (argc < 4)
		errx(2, "usage: pty PATTERN KEYS COMMAND...");
	keys = unescape(argv[2]);
	if (openpty(&master, &slave, NULL, NULL, NULL) || tcgetattr(slave, &before))
		err(2, "terminal");
	pid = fork();
	if (pid < 0)
		err(2, "fork");
	if (!pid) {
		close(master);
		if (login_tty(slave))
			err(2, "terminal");
		signal(SIGINT, SIG_DFL);
		execvp(argv[3], argv + 3);
		err(2, "%s", argv[3]);
	}
	/* @slave stays open here, so that the mode can be looked at. */
	while (!waitpid(pid, &status, WNOHANG)) {
		struct pollfd pollfd = { .fd = master, .events = POLLIN };

		if (poll(&pollfd, 1, 100) == 1 && !take_output(master))
			break;
		if (typed || !strstr(seen, argv[1]))
			continue;
		typed = true;
		if (write(master, argv[2], keys) != (ssize_t)keys)
			err(2, "typing");
	}
	while (poll(&(struct pollfd){ .fd = master, .events = POLLIN }, 1, 200) == 1 &&
	       take_output(master))
		;
	printf("\npty: mode %s\n", same_mode(slave, &before) ? "restored" : "changed");
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}
