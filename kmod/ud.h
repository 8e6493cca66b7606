/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trap of the guest's #UD.
 *
 * kvm_amd and kvm_intel always intercept #UD and hand it to KVM's handle_ud(),
 * which emulates or injects it; user space does not learn of it. While a VM
 * asks for the trap there is a kprobe on that function, which for such a VM
 * makes it a plain exit to user space. There is none while no VM asks.
 */
#ifndef KVMFORK_UD_H
#define KVMFORK_UD_H

#include <linux/types.h>

/* Can the running kernel do it, and may it (module parameter trap_ud)? */
bool kvmfork_ud_is_supported(void);

/* Look for handle_ud(); never an error, there is just no trap then. */
void kvmfork_ud_module_init(void);

/* One more, one fewer VM that asks. -EOPNOTSUPP, or what kprobes say. */
int kvmfork_ud_get(void);
void kvmfork_ud_put(void);

#endif
