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
	struct children *children = &vm->children;

	child->id = id;
	child->pid = pid;
	child->next = NULL;
	pthread_mutex_lock(&vm->lock);
	if (children->last)
		children->last->next = child;
	else
		children->list = child;
	children->last = child;
	pthread_mutex_unlock(&vm->lock);
}

/* Take the one behind @previous, NULL: the first, off the list. */
static void children_free(struct children *children, struct child *previous)
{
	struct child **at = previous ? &previous->next : &children->list;
	struct child *child = *at;

	*at = child->next;
	if (children->last == child)
		children->last = previous;
	free(child);
}

static void __children_reap(struct vm *vm)
{
	struct child *child, *next, *previous = NULL;
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
	for (child = vm->children.list; child; child = next) {
		next = child->next;
		if (child->pid || !child->forgotten)
			previous = child;
		else
			children_free(&vm->children, previous);
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
	/* Not freed: to write into them would copy the memory that they are in. */
	vm->children = (struct children) {};
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
	struct child *child, *previous = NULL;
	bool any = false;

	for (child = vm->children.list; child; previous = child, child = child->next) {
		if (child->forgotten || (id && child->id != id))
			continue;
		any = true;
		if (child->pid)
			continue;
		id = child->id;
		*status = child->status;
		children_free(&vm->children, previous);
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
