// SPDX-License-Identifier: GPL-2.0-only
/*
 * Spawning: one or several VMs from a template. A VM is built whole, then told
 * about to the caller, and only then shown by its fds, which cannot fail.
 */
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "args.h"
#include "child.h"
#include "template.h"
#include "trace.h"

/* A child with the fds that it will have. */
struct spawn {
	struct kvmfork_child child;
	struct kvmfork_spawn args;
	u32 nr_fds;
	int *fds;		/* NULL: there is no child */
	struct file **files;	/* behind @fds, belong to the child */
};

/* The fds of a child: VM first, so that it has the number that KVM gave it. */
static void list_files(struct spawn *spawn)
{
	const struct kvmfork_template *template = spawn->child.template;
	u32 i, nr = 0;

	spawn->files[nr++] = spawn->child.vm;
	spawn->files[nr++] = spawn->child.attach;
	for (i = 0; i < template->nr_vcpus; i++)
		spawn->files[nr++] = spawn->child.vcpus[i];
	for (i = 0; i < template->nr_memories; i++)
		spawn->files[nr++] = spawn->child.memories[i];
}

static void put_fds(struct spawn *spawn)
{
	while (spawn->nr_fds)
		put_unused_fd(spawn->fds[--spawn->nr_fds]);
	kvfree(spawn->fds);
	kvfree(spawn->files);
	spawn->fds = NULL;
}

static int reserve_fds(struct spawn *spawn)
{
	const struct kvmfork_template *template = spawn->child.template;
	u32 nr = 2 + template->nr_vcpus + template->nr_memories;
	int ret = -ENOMEM;

	spawn->nr_fds = 0;
	spawn->files = kvcalloc(nr, sizeof(*spawn->files), GFP_KERNEL);
	spawn->fds = kvcalloc(nr, sizeof(*spawn->fds), GFP_KERNEL);
	if (!spawn->files || !spawn->fds)
		goto put;
	list_files(spawn);
	while (spawn->nr_fds < nr) {
		ret = get_unused_fd_flags(O_CLOEXEC);
		if (ret < 0)
			goto put;
		spawn->fds[spawn->nr_fds++] = ret;
	}
	return 0;
put:
	put_fds(spawn);
	return ret;
}

/* Fill in the caller's arrays and spawn->args. */
static int tell(struct spawn *spawn)
{
	const struct kvmfork_template *template = spawn->child.template;
	struct kvmfork_vcpu __user *vcpus = u64_to_user_ptr(spawn->args.vcpus);
	struct kvmfork_mapping __user *mappings =
		u64_to_user_ptr(spawn->args.mappings);
	const int *memory_fds = spawn->fds + 2 + template->nr_vcpus;
	u32 i;

	for (i = 0; i < template->nr_vcpus; i++) {
		struct kvmfork_vcpu out = {
			.id = template->vcpus[i].id,
			.fd = spawn->fds[2 + i],
		};

		if (copy_to_user(&vcpus[i], &out, sizeof(out)))
			return -EFAULT;
	}
	for (i = 0; i < template->nr_mappings; i++) {
		const struct kvmfork_template_mapping *m = &template->mappings[i];
		struct kvmfork_mapping out = {
			.address = spawn->child.addrs[i],
			.parent_address = m->addr,
			.size = m->size,
			.offset = m->offset,
			.memory_fd = memory_fds[m->memory],
		};

		if (copy_to_user(&mappings[i], &out, sizeof(out)))
			return -EFAULT;
	}
	spawn->args.vm_fd = spawn->fds[0];
	spawn->args.attach_fd = spawn->fds[1];
	return 0;
}

int kvmfork_spawn_check(const struct kvmfork_spawn *args)
{
	if (args->flags & ~KVMFORK_SPAWN_FIXED ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	return 0;
}

/* Do the caller's arrays hold the result? If not, tell what it takes. */
static int check_room(const struct kvmfork_template *template,
		      struct kvmfork_spawn *args,
		      struct kvmfork_spawn __user *to)
{
	bool fits = args->nr_vcpus >= template->nr_vcpus &&
		    args->nr_mappings >= template->nr_mappings;

	args->nr_vcpus = template->nr_vcpus;
	args->nr_mappings = template->nr_mappings;
	if (fits)
		return 0;
	return copy_to_user(to, args, sizeof(*args)) ? -EFAULT : -E2BIG;
}

/* All of a spawn that can fail. spawn->args are the caller's. */
static int prepare(struct spawn *spawn, const struct kvmfork_template *template,
		   struct kvmfork_spawn __user *to,
		   struct kvmfork_report *report)
{
	struct kvmfork_spawn *args = &spawn->args;
	u64 start = ktime_get_ns();
	int ret;

	spawn->fds = NULL;
	ret = kvmfork_spawn_check(args);
	ret = ret ?: check_room(template, args, to);
	if (ret)
		return ret;

	ret = kvmfork_child_build(&spawn->child, template, args->kvm_fd,
				  args->flags, report);
	if (ret)
		goto trace;
	ret = reserve_fds(spawn);
	if (ret)
		goto destroy;
	ret = tell(spawn);
	if (!ret && copy_to_user(to, args, sizeof(*args)))
		ret = -EFAULT;
	if (!ret)
		goto trace;
	put_fds(spawn);
destroy:
	kvmfork_child_destroy(&spawn->child);
trace:
	trace_kvmfork_spawn(template->nr_vcpus, template->nr_mappings,
			    ktime_get_ns() - start, ret);
	return ret;
}

/* Show a prepared child to user space: the files become the fd table's. */
static void publish(struct spawn *spawn)
{
	u32 i;

	for (i = 0; i < spawn->nr_fds; i++)
		fd_install(spawn->fds[i], spawn->files[i]);
	spawn->nr_fds = 0;
	put_fds(spawn);
	kvmfork_child_release(&spawn->child);
}

static void discard(struct spawn *spawn)
{
	put_fds(spawn);
	kvmfork_child_destroy(&spawn->child);
}

int kvmfork_spawn(const struct kvmfork_template *template,
		  const struct kvmfork_spawn *args,
		  struct kvmfork_spawn __user *to,
		  struct kvmfork_report *report)
{
	struct spawn spawn = { .args = *args };
	int ret;

	ret = prepare(&spawn, template, to, report);
	if (!ret)
		publish(&spawn);
	return ret;
}

static int prepare_one(struct spawn *spawn,
		       const struct kvmfork_template *template,
		       struct kvmfork_spawn __user *to)
{
	struct kvmfork_report report = {};
	int ret;

	if (signal_pending(current))
		return -EINTR;
	if (copy_from_user(&spawn->args, to, sizeof(*to)))
		return -EFAULT;
	ret = prepare(spawn, template, to, &report);
	if (ret)
		kvmfork_report_copy(&report,
				    u64_to_user_ptr(spawn->args.message),
				    spawn->args.message_size);
	return ret;
}

/*
 * Prepare children until one fails (KVMFORK_SPAWN_MANY_ALL), or all that can
 * be. Returns the number of those prepared, or the error.
 */
static int prepare_all(struct spawn *spawns, s32 *results,
		       const struct kvmfork_template *template,
		       const struct kvmfork_spawn_many *args)
{
	struct kvmfork_spawn __user *to = u64_to_user_ptr(args->spawns);
	u32 i, nr = 0;

	for (i = 0; i < args->count; i++)
		results[i] = -ECANCELED;
	for (i = 0; i < args->count; i++) {
		results[i] = prepare_one(&spawns[i], template, &to[i]);
		if (!results[i])
			nr++;
		else if (args->flags & KVMFORK_SPAWN_MANY_ALL)
			return results[i];
		else if (results[i] == -EINTR)
			break;
	}
	return nr;
}

/* All of @spawns, of which some have been prepared, or none. */
static void finish_all(struct spawn *spawns, s32 *results, u32 count, bool keep)
{
	u32 i;

	for (i = 0; i < count; i++) {
		if (!spawns[i].fds)
			continue;
		if (keep) {
			publish(&spawns[i]);
		} else {
			discard(&spawns[i]);
			results[i] = -ECANCELED;
		}
	}
}

int kvmfork_spawn_many(const struct kvmfork_template *template,
		       struct kvmfork_spawn_many *args,
		       const struct kvmfork_args *to)
{
	size_t size = array_size(args->count, sizeof(s32));
	struct spawn *spawns;
	int ret = -ENOMEM;
	s32 *results;

	if (args->flags & ~KVMFORK_SPAWN_MANY_ALL || !args->count ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	if (args->count > KVMFORK_SPAWN_MANY_MAX)
		return -E2BIG;

	spawns = kvcalloc(args->count, sizeof(*spawns), GFP_KERNEL_ACCOUNT);
	results = kvcalloc(args->count, sizeof(*results), GFP_KERNEL_ACCOUNT);
	if (!spawns || !results)
		goto free;

	ret = prepare_all(spawns, results, template, args);
	args->nr_spawned = max(ret, 0);
	/* Nobody would know of children whose results cannot be told. */
	if (ret >= 0 && (copy_to_user(u64_to_user_ptr(args->results), results,
				      size) ||
			 kvmfork_args_put(to, 0, args, sizeof(*args))))
		ret = -EFAULT;
	finish_all(spawns, results, args->count, ret >= 0);
	if (ret < 0 && copy_to_user(u64_to_user_ptr(args->results), results,
				    size))
		ret = -EFAULT;
	ret = min(ret, 0);
free:
	kvfree(results);
	kvfree(spawns);
	return ret;
}
