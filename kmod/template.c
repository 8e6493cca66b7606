// SPDX-License-Identifier: GPL-2.0-only
/* Making templates: freezing a VM. See template.h. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/kvm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "args.h"
#include "convert.h"
#include "fs.h"
#include "kvmcall.h"
#include "load.h"
#include "state.h"
#include "stop.h"
#include "template.h"
#include "trace.h"
#include "vm.h"

static int save_vcpus(struct kvmfork_stopped *stopped,
		      struct kvmfork_template *template)
{
	u32 i;
	int ret;

	template->vcpus = kvcalloc(stopped->nr_vcpus, sizeof(*template->vcpus),
				   GFP_KERNEL_ACCOUNT);
	if (stopped->nr_vcpus && !template->vcpus)
		return -ENOMEM;
	template->nr_vcpus = stopped->nr_vcpus;
	for (i = 0; i < stopped->nr_vcpus; i++)
		kvmfork_state_init(&template->vcpus[i].state);

	for (i = 0; i < stopped->nr_vcpus; i++) {
		struct kvmfork_stopped_vcpu *v = &stopped->vcpus[i];
		struct kvmfork_target target = {
			.file = v->file,
			.scratch = &stopped->scratch,
			.report = stopped->report,
			.name = "vCPU",
			.id = kvmfork_vcpu_id(v->vcpu),
		};

		template->vcpus[i].id = target.id;
		ret = kvmfork_vcpu_save(&target, v->vcpu, stopped->vm->file,
					&template->vcpus[i].state);
		if (ret)
			return ret;
	}
	return 0;
}

static int save_vm(struct kvmfork_stopped *stopped,
		   struct kvmfork_template *template)
{
	struct kvmfork_target target = {
		.file = stopped->vm->file,
		.scratch = &stopped->scratch,
		.report = stopped->report,
		.name = "VM",
	};
	int ret;

	ret = kvmfork_devices_save(&target, &template->shape,
				   &template->devices);
	return ret ?: kvmfork_clock_save(&target, &template->clock);
}

static int freeze_memories(struct kvmfork_stopped *stopped,
			   struct kvmfork_template *template)
{
	struct file **files;
	u32 i, nr_files;
	int ret;

	ret = kvmfork_mappings_find(template, &files, &nr_files,
				    stopped->report);
	if (ret)
		goto put_files;

	template->memories = kvcalloc(nr_files, sizeof(*template->memories),
				      GFP_KERNEL_ACCOUNT);
	if (nr_files && !template->memories) {
		ret = -ENOMEM;
		goto put_files;
	}
	for (i = 0; !ret && i < nr_files; i++) {
		unsigned long nr_dirty;

		ret = kvmfork_mem_freeze(kvmfork_mem_from_file(files[i]),
					 &template->memories[i], &nr_dirty);
		if (ret)
			break;
		template->nr_memories++;
		template->nr_dirty += nr_dirty;
	}
put_files:
	for (i = 0; i < nr_files; i++)
		fput(files[i]);
	kvfree(files);
	return ret;
}

/* The memory last: reading state may make KVM write some of it there. */
static int freeze_stopped(struct kvmfork_stopped *stopped,
			  struct kvmfork_template *template, u64 flags)
{
	u64 nr_pages;
	int ret = 0;

	if (flags & KVMFORK_FREEZE_CONVERT)
		ret = kvmfork_convert_stopped(stopped, &nr_pages);
	ret = ret ?: kvmfork_stop_complete_io(stopped);
	ret = ret ?: kvmfork_shape_read(stopped->vm->kvm, &template->shape,
					stopped->report);
	ret = ret ?: save_vcpus(stopped, template);
	ret = ret ?: save_vm(stopped, template);
	ret = ret ?: freeze_memories(stopped, template);
	return ret ?: kvmfork_stop_check(stopped);
}

struct kvmfork_template *kvmfork_template_alloc(void)
{
	struct kvmfork_template *template;

	template = kzalloc(sizeof(*template), GFP_KERNEL_ACCOUNT);
	if (template)
		kvmfork_state_init(&template->devices);
	return template;
}

struct kvmfork_template *
kvmfork_template_create(struct kvmfork_vm *vm, const struct kvmfork_freeze *args,
			struct kvmfork_report *report)
{
	struct kvmfork_stopped stopped = { .vm = vm, .report = report };
	struct kvmfork_template *template;
	u64 start = ktime_get_ns();
	int ret;

	template = kvmfork_template_alloc();
	if (!template)
		return ERR_PTR(-ENOMEM);
	template->traps = vm->traps;

	ret = kvmfork_stop(&stopped, args->vcpu_fds, args->nr_vcpus);
	if (!ret) {
		ret = freeze_stopped(&stopped, template, args->flags);
		kvmfork_restart(&stopped);
	}
	trace_kvmfork_freeze(template->nr_vcpus, template->nr_dirty,
			     ktime_get_ns() - start, ret);
	if (!ret)
		return template;
	kvmfork_template_destroy(template);
	return ERR_PTR(ret);
}

void kvmfork_template_destroy(struct kvmfork_template *template)
{
	u32 i;

	for (i = 0; i < template->nr_memories; i++)
		kvmfork_frozen_destroy(&template->memories[i]);
	kvfree(template->memories);
	kvfree(template->mappings);
	for (i = 0; i < template->nr_vcpus; i++)
		kvmfork_state_destroy(&template->vcpus[i].state);
	kvfree(template->vcpus);
	kvmfork_state_destroy(&template->devices);
	kvmfork_shape_destroy(&template->shape);
	kfree(template);
}

static long ioctl_spawn(struct kvmfork_template *template,
			struct kvmfork_args *from)
{
	struct kvmfork_report report = {};
	struct kvmfork_spawn args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	ret = kvmfork_spawn(template, &args, from->user, &report);
	if (ret)
		kvmfork_report_copy(&report, u64_to_user_ptr(args.message),
				    args.message_size);
	return ret;
}

static long ioctl_spawn_many(struct kvmfork_template *template,
			     struct kvmfork_args *from)
{
	struct kvmfork_spawn_many args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	return ret ?: kvmfork_spawn_many(template, &args, from);
}

static long ioctl_open_memory(struct kvmfork_template *template,
			      struct kvmfork_args *from)
{
	struct kvmfork_open_memory args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	if (args.flags)
		return -EINVAL;
	if (args.index >= template->nr_memories)
		return -ENXIO;
	return kvmfork_install_file(kvmfork_mem_spawn(&template->memories[args.index]));
}

static long ioctl_export(struct kvmfork_template *template,
			 struct kvmfork_args *from)
{
	struct kvmfork_export args;
	u64 room;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	if (args.flags || args.reserved)
		return -EINVAL;
	room = args.size;
	ret = kvmfork_export(template, u64_to_user_ptr(args.state), room,
			     &args.size);
	if (ret)
		return ret;
	ret = kvmfork_args_put(from, 0, &args, sizeof(args));
	return ret ?: args.size > room ? -E2BIG : 0;
}

static long kvmfork_template_ioctl(struct file *file, unsigned int cmd,
				   unsigned long arg)
{
	struct kvmfork_args args;

	switch (kvmfork_args_init(&args, cmd, arg)) {
	case KVMFORK_CMD(KVMFORK_SPAWN):
		return ioctl_spawn(file->private_data, &args);
	case KVMFORK_CMD(KVMFORK_SPAWN_MANY):
		return ioctl_spawn_many(file->private_data, &args);
	case KVMFORK_CMD(KVMFORK_OPEN_MEMORY):
		return ioctl_open_memory(file->private_data, &args);
	case KVMFORK_CMD(KVMFORK_EXPORT):
		return ioctl_export(file->private_data, &args);
	default:
		return -ENOTTY;
	}
}

static int kvmfork_template_release(struct inode *inode, struct file *file)
{
	kvmfork_template_destroy(file->private_data);
	return 0;
}

static const struct file_operations kvmfork_template_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= kvmfork_template_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
	.release	= kvmfork_template_release,
};

const struct kvmfork_template *kvmfork_template_from_file(struct file *file)
{
	return file->f_op == &kvmfork_template_fops ? file->private_data : NULL;
}

int kvmfork_template_install(struct kvmfork_template *template)
{
	return anon_inode_getfd("[kvmfork-template]", &kvmfork_template_fops,
				template, O_RDWR | O_CLOEXEC);
}
