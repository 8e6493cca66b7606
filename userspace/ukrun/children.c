// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <kvmfork/guest.h>

#include "children.h"
#include "log.h"
#include "vm.h"

void children_add(struct vm *vm, struct child *child, uint64_t id, pid_t pid)
{
	struct child **at;

	child->id = id;
	child->pid = pid;
	child->next = NULL;
	pthread_mutex_lock(&vm->lock);
	for (at = &vm->children.list; *at; at = &(*at)->next)
		;
	*at = child;
	pthread_mutex_unlock(&vm->lock);
}

static void __children_reap(struct vm *vm)
{
	struct child **at, *child;
	int status;

	for (child = vm->children.list; child; child = child->next) {
		if (!child->pid || waitpid(child->pid, &status, WNOHANG) != child->pid)
			continue;
		child->pid = 0;
		child->status = WIFSIGNALED(status) ?
			KVMFORK_STATUS_KILLED + WTERMSIG(status) : WEXITSTATUS(status);
		vm_log(vm, "child vm %llu ended with status %d", (unsigned long long)child->id,
		       child->status);
		pthread_cond_broadcast(&vm->changed);
	}
	for (at = &vm->children.list; (child = *at);) {
		if (child->pid || !child->forgotten) {
			at = &child->next;
			continue;
		}
		*at = child->next;
		free(child);
	}
}

void children_reap(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	__children_reap(vm);
	pthread_mutex_unlock(&vm->lock);
}

void children_forget(struct vm *vm)
{
	struct child *child;

	while ((child = vm->children.list)) {
		vm->children.list = child->next;
		free(child);
	}
}

bool children_have_ended(struct vm *vm, uint64_t first, int *status)
{
	const struct child *child;
	bool ended = true;

	*status = 0;
	pthread_mutex_lock(&vm->lock);
	for (child = vm->children.list; child; child = child->next) {
		if (child->id < first)
			continue;
		if (child->pid)
			ended = false;
		else if (!*status)
			*status = child->status;
	}
	pthread_mutex_unlock(&vm->lock);
	return ended;
}

void children_kill(struct vm *vm, uint64_t first)
{
	struct child *child;

	pthread_mutex_lock(&vm->lock);
	for (child = vm->children.list; child; child = child->next) {
		if (child->id < first)
			continue;
		if (child->pid && !child->forgotten)
			kill(child->pid, SIGKILL);
		child->forgotten = true;
	}
	__children_reap(vm);
	pthread_mutex_unlock(&vm->lock);
}

/* 0: it lives; -ECHILD: there is none. */
static int64_t children_take(struct vm *vm, uint64_t id, int *status)
{
	struct child **at, *child;
	bool any = false;

	for (at = &vm->children.list; *at; at = &(*at)->next) {
		child = *at;
		if (child->forgotten || (id && child->id != id))
			continue;
		any = true;
		if (child->pid)
			continue;
		*at = child->next;
		id = child->id;
		*status = child->status;
		free(child);
		return id;
	}
	return any ? 0 : -ECHILD;
}

int64_t children_wait(struct vm *vm, uint64_t id, bool block, int *status)
{
	int64_t ret;

	pthread_mutex_lock(&vm->lock);
	for (;;) {
		__children_reap(vm);
		ret = children_take(vm, id, status);
		if (ret || !block)
			break;
		if (vm->stop || vm->ended) {
			ret = CHILDREN_RESTART;
			break;
		}
		pthread_cond_wait(&vm->changed, &vm->lock);
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}
