// SPDX-License-Identifier: GPL-2.0-only
/* Attach files. See vm.h. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "args.h"
#include "convert.h"
#include "kvmcall.h"
#include "template.h"
#include "trace.h"
#include "ud.h"
#include "vm.h"

/* The attached VMs by their struct kvm. Read under RCU, by the #UD probe. */
static DEFINE_HASHTABLE(attached, 8);
static DEFINE_SPINLOCK(attached_lock);

static struct kvmfork_vm *attached_find(const struct kvm *kvm)
{
	struct kvmfork_vm *vm;

	hash_for_each_possible_rcu(attached, vm, link, (unsigned long)kvm,
				   lockdep_is_held(&attached_lock))
		if (vm->kvm == kvm)
			return vm;
	return NULL;
}

u64 kvmfork_vm_traps(const struct kvm *kvm)
{
	struct kvmfork_vm *vm;
	u64 traps;

	rcu_read_lock();
	vm = attached_find(kvm);
	traps = vm ? READ_ONCE(vm->traps) : 0;
	rcu_read_unlock();
	return traps;
}
NOKPROBE_SYMBOL(kvmfork_vm_traps);

static int attached_add(struct kvmfork_vm *vm)
{
	int ret = -EEXIST;

	spin_lock(&attached_lock);
	if (!attached_find(vm->kvm)) {
		hash_add_rcu(attached, &vm->link, (unsigned long)vm->kvm);
		ret = 0;
	}
	spin_unlock(&attached_lock);
	return ret;
}

static void attached_remove(struct kvmfork_vm *vm)
{
	spin_lock(&attached_lock);
	hash_del_rcu(&vm->link);
	spin_unlock(&attached_lock);
}

/* Needs vm->lock once the VM's file is visible. */
static int kvmfork_vm_trap(struct kvmfork_vm *vm, u64 traps)
{
	u64 changed = traps ^ vm->traps;
	int ret;

	if (traps & ~KVMFORK_TRAP_UD)
		return -EINVAL;
	if (changed & traps & KVMFORK_TRAP_UD) {
		ret = kvmfork_ud_get();
		if (ret)
			return ret;
	}
	WRITE_ONCE(vm->traps, traps);
	if (changed & ~traps & KVMFORK_TRAP_UD)
		kvmfork_ud_put();
	return 0;
}

static long ioctl_trap(struct kvmfork_vm *vm, struct kvmfork_args *from)
{
	struct kvmfork_trap args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	return ret ?: kvmfork_vm_trap(vm, args.events);
}

/*
 * struct kvmfork_fork has one struct inside behind the other, so the first can
 * only grow into what is reserved.
 */
static_assert(offsetof(struct kvmfork_fork, spawn) == 64);

static int freeze_check(const struct kvmfork_freeze *args)
{
	if (args->flags & ~KVMFORK_FREEZE_CONVERT ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	return 0;
}

static long ioctl_freeze(struct kvmfork_vm *vm, struct kvmfork_args *from)
{
	struct kvmfork_template *template;
	struct kvmfork_report report = {};
	struct kvmfork_freeze args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	ret = ret ?: freeze_check(&args);
	if (ret)
		return ret;

	template = kvmfork_template_create(vm, &args, &report);
	if (IS_ERR(template)) {
		kvmfork_report_copy(&report, u64_to_user_ptr(args.message),
				    args.message_size);
		return PTR_ERR(template);
	}
	ret = kvmfork_template_install(template);
	if (ret < 0)
		kvmfork_template_destroy(template);
	return ret;
}

static long ioctl_fork(struct kvmfork_vm *vm, struct kvmfork_args *from)
{
	struct kvmfork_template *template;
	struct kvmfork_report report = {};
	u64 start = ktime_get_ns();
	struct kvmfork_fork args;
	unsigned long nr_dirty;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	ret = ret ?: freeze_check(&args.freeze);
	if (ret)
		return ret;
	/* Before the freeze, which takes its time. */
	if (args.spawn.message || args.spawn.message_size ||
	    kvmfork_spawn_check(&args.spawn))
		return -EINVAL;

	template = kvmfork_template_create(vm, &args.freeze, &report);
	if (IS_ERR(template)) {
		ret = PTR_ERR(template);
		nr_dirty = 0;
	} else {
		nr_dirty = template->nr_dirty;
		ret = kvmfork_spawn(template, &args.spawn,
				    from->user + offsetof(struct kvmfork_fork, spawn),
				    &report);
		kvmfork_template_destroy(template);
	}
	trace_kvmfork_fork(nr_dirty, ktime_get_ns() - start, ret);
	if (ret)
		kvmfork_report_copy(&report,
				    u64_to_user_ptr(args.freeze.message),
				    args.freeze.message_size);
	return ret;
}

/* The traps go back with the state: first, as they can fail and be undone. */
static int reset(struct kvmfork_vm *vm, const struct kvmfork_template *template,
		 const struct kvmfork_reset *args, struct kvmfork_report *report)
{
	u64 traps = vm->traps;
	int ret = 0;

	lockdep_assert_held(&vm->lock);
	if (args->flags & KVMFORK_RESET_STATE)
		ret = kvmfork_vm_trap(vm, template->traps);
	if (ret)
		return ret;
	ret = kvmfork_reset(vm, template, args, report);
	if (ret)
		kvmfork_vm_trap(vm, traps);
	else
		vm->nr_resets++;
	return ret;
}

static int reset_check(const struct kvmfork_reset *args)
{
	const u64 known = KVMFORK_RESET_MEMORY | KVMFORK_RESET_STATE |
			  KVMFORK_RESET_KEEP;

	if (!args->flags || args->flags & ~known || args->reserved32 ||
	    (args->flags & KVMFORK_RESET_KEEP &&
	     !(args->flags & KVMFORK_RESET_MEMORY)) ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	return 0;
}

static long ioctl_reset(struct kvmfork_vm *vm, struct kvmfork_args *from)
{
	const struct kvmfork_template *template;
	struct kvmfork_report report = {};
	struct kvmfork_reset args;
	struct file *file;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	ret = ret ?: reset_check(&args);
	if (ret)
		return ret;
	file = fget(args.template_fd);
	template = file ? kvmfork_template_from_file(file) : NULL;
	if (template)
		ret = reset(vm, template, &args, &report);
	else
		ret = kvmfork_report(&report, -EBADF,
				     "template_fd: %d is not a template",
				     args.template_fd);
	if (file)
		fput(file);
	if (ret)
		kvmfork_report_copy(&report, u64_to_user_ptr(args.message),
				    args.message_size);
	return ret;
}

static long ioctl_convert(struct kvmfork_vm *vm, struct kvmfork_args *from)
{
	struct kvmfork_report report = {};
	struct kvmfork_convert args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	if (args.flags || args.reserved32 ||
	    memchr_inv(args.reserved, 0, sizeof(args.reserved)))
		return -EINVAL;
	ret = kvmfork_convert(vm, &args, from, &report);
	if (ret)
		kvmfork_report_copy(&report, u64_to_user_ptr(args.message),
				    args.message_size);
	return ret;
}

static long kvmfork_vm_ioctl(struct file *file, unsigned int cmd,
			     unsigned long arg)
{
	struct kvmfork_vm *vm = file->private_data;
	struct kvmfork_args args;
	long (*call)(struct kvmfork_vm *vm, struct kvmfork_args *from);
	long ret;

	switch (kvmfork_args_init(&args, cmd, arg)) {
	case KVMFORK_CMD(KVMFORK_TRAP):
		call = ioctl_trap;
		break;
	case KVMFORK_CMD(KVMFORK_FREEZE):
		call = ioctl_freeze;
		break;
	case KVMFORK_CMD(KVMFORK_FORK):
		call = ioctl_fork;
		break;
	case KVMFORK_CMD(KVMFORK_RESET):
		call = ioctl_reset;
		break;
	case KVMFORK_CMD(KVMFORK_CONVERT):
		call = ioctl_convert;
		break;
	default:
		return -ENOTTY;
	}
	/* One at a time; waiting would only freeze the same VM twice. */
	if (!mutex_trylock(&vm->lock))
		return -EALREADY;
	ret = call(vm, &args);
	mutex_unlock(&vm->lock);
	return ret;
}

static void kvmfork_vm_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct kvmfork_vm *vm = file->private_data;

	seq_printf(m, "kvmfork-traps:\t%#llx\n", READ_ONCE(vm->traps));
	seq_printf(m, "kvmfork-resets:\t%lu\n", READ_ONCE(vm->nr_resets));
}

static int kvmfork_vm_release(struct inode *inode, struct file *file)
{
	struct kvmfork_vm *vm = file->private_data;

	attached_remove(vm);
	if (vm->traps & KVMFORK_TRAP_UD)
		kvmfork_ud_put();
	kvmfork_scratch_drop(vm->scratch);
	kvm_put_kvm(vm->kvm);
	fput(vm->file);
	kfree_rcu(vm, rcu);
	return 0;
}

static const struct file_operations kvmfork_vm_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= kvmfork_vm_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
	.show_fdinfo	= kvmfork_vm_show_fdinfo,
	.release	= kvmfork_vm_release,
};

struct file *kvmfork_vm_attach(struct file *file, u64 traps)
{
	struct kvmfork_vm *vm;
	struct file *out;
	int ret;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);
	mutex_init(&vm->lock);
	vm->scratch = kvmfork_scratch_hold();
	if (IS_ERR(vm->scratch)) {
		ret = PTR_ERR(vm->scratch);
		kfree(vm);
		return ERR_PTR(ret);
	}
	vm->file = get_file(file);
	vm->kvm = kvmfork_file_to_kvm(file);
	/*
	 * The file has a reference. This one is for the symbol: it keeps kvm.ko
	 * loaded, and this module from loading where struct kvm is another.
	 */
	kvm_get_kvm(vm->kvm);
	ret = attached_add(vm);
	if (ret)
		goto put_kvm;
	ret = kvmfork_vm_trap(vm, traps);
	if (ret)
		goto remove;

	out = anon_inode_getfile("[kvmfork-vm]", &kvmfork_vm_fops, vm, O_RDWR);
	if (!IS_ERR(out))
		return out;
	ret = PTR_ERR(out);
	kvmfork_vm_trap(vm, 0);
remove:
	attached_remove(vm);
put_kvm:
	kvm_put_kvm(vm->kvm);
	fput(vm->file);
	kvmfork_scratch_drop(vm->scratch);
	kfree_rcu(vm, rcu);
	return ERR_PTR(ret);
}
