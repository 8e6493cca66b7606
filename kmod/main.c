// SPDX-License-Identifier: GPL-2.0-only
/* kvmfork: fork a running KVM virtual machine. The device, and the module. */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "args.h"
#include "fs.h"
#include "kvmcall.h"
#include "kvmpeek.h"
#include "load.h"
#include "mem.h"
#include "msr_list.h"
#include "state.h"
#include "template.h"
#include "tree.h"
#include "ud.h"
#include "vm.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static long ioctl_get_info(struct kvmfork_args *to)
{
	struct kvmfork_info info = {
		.api_version = KVMFORK_API_VERSION,
		.features = KVMFORK_FEATURE_MEMORY | KVMFORK_FEATURE_FORK |
			    KVMFORK_FEATURE_TEMPLATE | KVMFORK_FEATURE_RESET |
			    KVMFORK_FEATURE_SPAWN_MANY | KVMFORK_FEATURE_DIFF |
			    KVMFORK_FEATURE_EXPORT | KVMFORK_FEATURE_CONVERT |
			    KVMFORK_FEATURE_HUGE | KVMFORK_FEATURE_RESET_KEEP,
		.memory_size_max = KVMFORK_MEMORY_SIZE_MAX,
	};
	size_t size = _IOC_SIZE(to->cmd);

	if (size < sizeof(info))
		return -EINVAL;
	if (kvmfork_ud_is_supported())
		info.features |= KVMFORK_FEATURE_TRAP_UD;
	/* What a newer caller asks for and this module does not know: zero. */
	if (clear_user(to->user + sizeof(info), size - sizeof(info)))
		return -EFAULT;
	return kvmfork_args_put(to, 0, &info, sizeof(info));
}

static long ioctl_create_memory(struct kvmfork_args *from)
{
	struct kvmfork_create_memory args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	if (args.flags & ~(KVMFORK_MEMORY_HUGE | KVMFORK_MEMORY_HUGE_COPY))
		return -EINVAL;
	if ((args.flags & KVMFORK_MEMORY_HUGE_COPY) &&
	    !(args.flags & KVMFORK_MEMORY_HUGE))
		return -EINVAL;
	if (!args.size || !PAGE_ALIGNED(args.size))
		return -EINVAL;
	if (args.size > KVMFORK_MEMORY_SIZE_MAX)
		return -EFBIG;
	if (args.flags && !has_transparent_hugepage())
		return -EOPNOTSUPP;
	return kvmfork_install_file(kvmfork_mem_create(args.size >> PAGE_SHIFT,
						       args.flags));
}

static long ioctl_attach(struct kvmfork_args *from)
{
	struct kvmfork_attach args;
	struct file *file;
	struct kvm *kvm;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	if (args.flags)
		return -EINVAL;
	file = fget(args.vm_fd);
	if (!file)
		return -EBADF;

	kvm = kvmfork_file_to_kvm(file);
	ret = kvm ? kvmfork_kvm_check(kvm) : -EBADF;
	if (!ret)
		ret = kvmfork_install_file(kvmfork_vm_attach(file, 0));
	fput(file);
	return ret;
}

static long ioctl_load(struct kvmfork_args *from)
{
	struct kvmfork_template *template;
	struct kvmfork_report report = {};
	struct kvmfork_load args;
	int ret;

	ret = kvmfork_args_get(from, &args, sizeof(args));
	if (ret)
		return ret;
	if (args.flags || memchr_inv(args.reserved, 0, sizeof(args.reserved)))
		return -EINVAL;
	template = kvmfork_load(&args, &report);
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

static long kvmfork_dev_ioctl(struct file *file, unsigned int cmd,
			      unsigned long arg)
{
	struct kvmfork_args args;

	switch (kvmfork_args_init(&args, cmd, arg)) {
	case KVMFORK_CMD(KVMFORK_GET_INFO):
		return ioctl_get_info(&args);
	case KVMFORK_CMD(KVMFORK_CREATE_MEMORY):
		return ioctl_create_memory(&args);
	case KVMFORK_CMD(KVMFORK_ATTACH):
		return ioctl_attach(&args);
	case KVMFORK_CMD(KVMFORK_LOAD):
		return ioctl_load(&args);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations kvmfork_dev_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= kvmfork_dev_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

static struct miscdevice kvmfork_dev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "kvmfork",
	.fops	= &kvmfork_dev_fops,
};

static int __init kvmfork_init(void)
{
	int ret;

	ret = kvmfork_tree_module_init();
	if (ret)
		return ret;
	ret = kvmfork_kvmcall_module_init(kvmfork_msr_list_learn);
	if (ret)
		goto exit_tree;
	kvmfork_ud_module_init();
	ret = misc_register(&kvmfork_dev);
	if (ret)
		goto exit_kvmcall;
	return 0;

exit_kvmcall:
	kvmfork_msr_list_module_exit();
	kvmfork_kvmcall_module_exit();
exit_tree:
	kvmfork_tree_module_exit();
	return ret;
}

/* Open files hold the module: there are no VMs and memories left here. */
static void __exit kvmfork_exit(void)
{
	misc_deregister(&kvmfork_dev);
	kvmfork_msr_list_module_exit();
	kvmfork_kvmcall_module_exit();
	/* kfree_rcu() of attached VMs needs no code of ours. */
	kvmfork_tree_module_exit();
}

module_init(kvmfork_init);
module_exit(kvmfork_exit);

MODULE_DESCRIPTION("Fork running KVM virtual machines");
MODULE_AUTHOR("The kvmfork authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("1");
