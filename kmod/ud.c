// SPDX-License-Identifier: GPL-2.0-only
/* The trap of the guest's #UD. See ud.h. */
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/kvmfork.h>

#include "ud.h"
#include "vm.h"

static bool trap_ud = true;
module_param(trap_ud, bool, 0444);
MODULE_PARM_DESC(trap_ud, "let VMs ask for their invalid-opcode exceptions (default: true)");

static bool supported;
static DEFINE_MUTEX(ud_lock);	/* users, and arming the probe; a leaf */
static unsigned int users;

/*
 * int handle_ud(struct kvm_vcpu *vcpu) is about to run, with the vCPU loaded
 * and its mutex held. For a VM with the trap, let it be a function that
 * returns 0, "leave to user space", instead: noop_fsync() is one, and as part
 * of the kernel it cannot go away under a vCPU that is just executing it.
 *
 * When the guest is itself a hypervisor and runs its own guest, the exception
 * is that guest's.
 */
static int handle_ud_entry(struct kprobe *probe, struct pt_regs *regs)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)regs->di;

	if (!(kvmfork_vm_traps(vcpu->kvm) & KVMFORK_TRAP_UD) ||
	    vcpu->stat.guest_mode)
		return 0;

	vcpu->run->exit_reason = KVM_EXIT_EXCEPTION;
	vcpu->run->ex.exception = UD_VECTOR;
	vcpu->run->ex.error_code = 0;
	regs->ip = (unsigned long)noop_fsync;
	return 1;
}
NOKPROBE_SYMBOL(handle_ud_entry);

/* Its being there tells kprobes not to optimize and that the ip may change. */
static void handle_ud_post(struct kprobe *probe, struct pt_regs *regs,
			   unsigned long flags)
{
}
NOKPROBE_SYMBOL(handle_ud_post);

static struct kprobe probe;

static int probe_arm(void)
{
	memset(&probe, 0, sizeof(probe));
	probe.symbol_name = "kvm:handle_ud";
	probe.pre_handler = handle_ud_entry;
	probe.post_handler = handle_ud_post;
	return register_kprobe(&probe);
}

bool kvmfork_ud_is_supported(void)
{
	return supported;
}

void kvmfork_ud_module_init(void)
{
	int ret;

	if (!trap_ud)
		return;
	ret = probe_arm();
	if (ret) {
		pr_notice("kvmfork: no trap of #UD: handle_ud cannot be probed: error %d\n",
			  ret);
		return;
	}
	unregister_kprobe(&probe);
	supported = true;
}

int kvmfork_ud_get(void)
{
	int ret = 0;

	if (!supported)
		return -EOPNOTSUPP;
	mutex_lock(&ud_lock);
	if (!users)
		ret = probe_arm();
	if (!ret)
		users++;
	mutex_unlock(&ud_lock);
	return ret;
}

void kvmfork_ud_put(void)
{
	mutex_lock(&ud_lock);
	if (!--users)
		unregister_kprobe(&probe);
	mutex_unlock(&ud_lock);
}
