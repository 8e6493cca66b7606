// SPDX-License-Identifier: GPL-2.0-only
/*
 * To be preloaded: when the program makes a thread, it first asks for what a sandbox
 * refuses. FORBIDDEN=write: to open its own memory, else: to look into a process.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	typeof(pthread_create) *next = dlsym(RTLD_NEXT, "pthread_create");

	if (getenv("FORBIDDEN"))
		open("/proc/self/mem", O_RDWR);
	else	/* Of no process. */
		syscall(SYS_ptrace, PTRACE_DETACH, -1, 0, 0);
	return next(thread, attr, run, arg);
}
