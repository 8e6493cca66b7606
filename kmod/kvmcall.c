// SPDX-License-Identifier: GPL-2.0-only
/* Calling KVM the way user space does. See kvmcall.h. */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/mman.h>
#include <linux/mm.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kvmcall.h"

/* What f_op KVM's files have. Set once, at load. */
static const struct file_operations *kvm_dev_fops;
static const struct file_operations *kvm_vm_fops;
static const struct file_operations *kvm_vcpu_fops;

struct kvm_msr_list *kvmfork_msr_list;

bool kvmfork_file_is_kvm_dev(struct file *file)
{
	return file->f_op == kvm_dev_fops;
}

struct kvm *kvmfork_file_to_kvm(struct file *file)
{
	return file->f_op == kvm_vm_fops ? file->private_data : NULL;
}

struct kvm_vcpu *kvmfork_file_to_vcpu(struct file *file)
{
	return file->f_op == kvm_vcpu_fops ? file->private_data : NULL;
}

long kvmfork_kvm_call(struct file *file, unsigned int cmd, unsigned long arg)
{
	int ret = security_file_ioctl(file, cmd, arg);

	/* KVM may fault in user memory: no memory's lock is held here. */
	might_lock(&current->mm->mmap_lock);
	return ret ?: file->f_op->unlocked_ioctl(file, cmd, arg);
}

long kvmfork_kvm_set(struct kvmfork_scratch *scratch, struct file *file,
		     unsigned int cmd, const void *data, size_t size)
{
	int ret = kvmfork_scratch_write(scratch, data, size);

	return ret ?: kvmfork_kvm_call(file, cmd, scratch->addr);
}

long kvmfork_kvm_get(struct kvmfork_scratch *scratch, struct file *file,
		     unsigned int cmd, void *data, size_t size)
{
	long ret = kvmfork_scratch_fill(scratch, size);

	if (ret)
		return ret;
	ret = kvmfork_kvm_call(file, cmd, scratch->addr);
	if (ret >= 0)
		kvmfork_scratch_read(scratch, data, size);
	return ret;
}

long kvmfork_kvm_exchange(struct kvmfork_scratch *scratch, struct file *file,
			  unsigned int cmd, void *data, size_t size)
{
	int ret = kvmfork_scratch_write(scratch, data, size);

	return ret ?: kvmfork_kvm_get(scratch, file, cmd, data, size);
}

/*
 * Take over the file that KVM put into the caller's table. Another thread may
 * have closed or replaced that fd: the caller checks what it got.
 */
static struct file *kvmfork_take_fd(long fd)
{
	struct file *file;

	if (fd < 0)
		return ERR_PTR(fd);
	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);
	close_fd(fd);
	return file;
}

struct file *kvmfork_kvm_create_vm(struct file *file, unsigned long type)
{
	struct file *vm;
	struct kvm *kvm;

	vm = kvmfork_take_fd(kvmfork_kvm_call(file, KVM_CREATE_VM, type));
	if (IS_ERR(vm))
		return vm;
	kvm = kvm_vm_fops ? kvmfork_file_to_kvm(vm) : vm->private_data;
	if (kvm && kvm->mm == current->mm && !kvm->created_vcpus)
		return vm;
	fput(vm);
	return ERR_PTR(-EBADF);
}

struct file *kvmfork_kvm_create_vcpu(struct file *file, unsigned long id)
{
	struct kvm *kvm = file->private_data;
	struct kvm_vcpu *vcpu;
	struct file *out;

	out = kvmfork_take_fd(kvmfork_kvm_call(file, KVM_CREATE_VCPU, id));
	if (IS_ERR(out))
		return out;
	vcpu = kvm_vcpu_fops ? kvmfork_file_to_vcpu(out) : out->private_data;
	if (vcpu && vcpu->kvm == kvm && vcpu->vcpu_id == id)
		return out;
	fput(out);
	return ERR_PTR(-EBADF);
}

/* The list is the same for all VMs of a host. */
static int kvmfork_read_msr_list(struct kvmfork_scratch *scratch,
				 struct file *dev)
{
	struct kvm_msr_list probe = { .nmsrs = 0 };
	struct kvm_msr_list *list;
	long ret;

	/* -E2BIG, and the number that there are. */
	ret = kvmfork_kvm_set(scratch, dev, KVM_GET_MSR_INDEX_LIST, &probe,
			      sizeof(probe));
	if (ret != -E2BIG)
		return ret < 0 ? ret : -ENODEV;
	kvmfork_scratch_read(scratch, &probe, sizeof(probe));

	list = kzalloc(struct_size(list, indices, probe.nmsrs), GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	list->nmsrs = probe.nmsrs;
	ret = kvmfork_kvm_exchange(scratch, dev, KVM_GET_MSR_INDEX_LIST, list,
				   struct_size(list, indices, probe.nmsrs));
	if (!ret && list->nmsrs != probe.nmsrs)
		ret = -EIO;
	if (ret)
		kfree(list);
	else
		kvmfork_msr_list = list;
	return ret;
}

static int kvmfork_learn(struct file *dev, kvmfork_learn_fn learn)
{
	struct kvmfork_scratch scratch;
	struct file *vm, *vcpu;
	int ret;

	vm = kvmfork_kvm_create_vm(dev, 0);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	vcpu = kvmfork_kvm_create_vcpu(vm, 0);
	if (IS_ERR(vcpu)) {
		ret = PTR_ERR(vcpu);
		goto put_vm;
	}
	ret = kvmfork_scratch_get(&scratch);
	if (ret)
		goto put_vcpu;

	kvm_dev_fops = dev->f_op;
	kvm_vm_fops = vm->f_op;
	kvm_vcpu_fops = vcpu->f_op;
	ret = kvmfork_read_msr_list(&scratch, dev);
	ret = ret ?: learn(&scratch, vcpu);
	kvmfork_scratch_put(&scratch);
put_vcpu:
	fput(vcpu);
put_vm:
	fput(vm);
	return ret;
}

int kvmfork_kvmcall_module_init(kvmfork_learn_fn learn)
{
	struct file *dev;
	int ret;

	/* By whoever loads modules, so this is the real one. */
	dev = filp_open("/dev/kvm", O_RDWR | O_CLOEXEC, 0);
	if (IS_ERR(dev)) {
		pr_err("kvmfork: /dev/kvm: error %ld: load kvm_amd or kvm_intel first\n",
		       PTR_ERR(dev));
		return -ENODEV;
	}
	ret = kvmfork_learn(dev, learn);
	filp_close(dev, NULL);
	if (ret) {
		pr_err("kvmfork: cannot make a VM: error %d\n", ret);
		kvmfork_kvmcall_module_exit();
	}
	return ret;
}

void kvmfork_kvmcall_module_exit(void)
{
	kfree(kvmfork_msr_list);
}
