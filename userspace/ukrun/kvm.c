// SPDX-License-Identifier: GPL-2.0-only
/* The VM as the host's kernel sees it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "compiler.h"
#include "log.h"
#include "vcpu.h"
#include "vm.h"

/* Three pages and one that Intel's real mode takes, out of the guest's way. */
#define KVM_TSS_ADDRESS		0xfffbd000
#define KVM_IDENTITY_ADDRESS	0xfffbc000ULL

void kvm_open(struct vm *vm)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
		{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
		{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
		{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
	};
	unsigned int i;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		die("/dev/kvm: %s: this machine needs SVM or VMX, switched on, and 'modprobe kvm_amd' or 'modprobe kvm_intel'",
		    strerror(errno));
	if (vm->kvm_fd < 0 && errno == EACCES)
		die("/dev/kvm: %s: be root or in the group that 'ls -l /dev/kvm' shows (kvm)",
		    strerror(errno));
	if (vm->kvm_fd < 0)
		die_errno("/dev/kvm");
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		die("/dev/kvm: not the KVM API of version %d", KVM_API_VERSION);
	for (i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			die("/dev/kvm: this KVM lacks %s", needed[i].name);
}

void kvm_create_vm(struct vm *vm)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = KVM_IDENTITY_ADDRESS;

	do {
		vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	} while (vm->vm_fd < 0 && errno == EINTR);
	if (vm->vm_fd < 0)
		die_errno("/dev/kvm: a new VM");
	if (ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) ||
	    ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_ADDRESS))
		die_errno("/dev/kvm: KVM_SET_TSS_ADDR");
	if (ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0))
		die_errno("/dev/kvm: interrupt controllers");
	if (ioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit))
		die_errno("/dev/kvm: timer");
}

void kvm_attach(struct vm *vm)
{
	struct kvmfork_attach attach = { .vm_fd = vm->vm_fd };
	struct kvmfork_trap trap = { .events = KVMFORK_TRAP_UD };
	struct kvmfork_info info;
	int device;

	vm->attach_fd = -1;
	if (vm->config.fork_on == FORK_ON_OFF)
		return;
	device = open("/dev/kvmfork", O_RDWR | O_CLOEXEC);
	if (device < 0 || ioctl(device, KVMFORK_GET_INFO, &info))
		die_errno("/dev/kvmfork");
	if (info.api_version != KVMFORK_API_VERSION)
		die("/dev/kvmfork: the module's API has version %u, ukrun's %u: use a kvmfork.ko of the same build",
		    info.api_version, KVMFORK_API_VERSION);
	if (vm->config.reset_on_exit && !(info.features & KVMFORK_FEATURE_RESET_KEEP))
		die("/dev/kvmfork: this module cannot reset VMs: use a kvmfork.ko of the same build");
	if (vm->config.nr_shells && !(info.features & KVMFORK_FEATURE_RESET))
		die("/dev/kvmfork: this module cannot reset VMs: use a kvmfork.ko of the same build");
	vm->attach_fd = ioctl(device, KVMFORK_ATTACH, &attach);
	if (vm->attach_fd < 0)
		die_errno("/dev/kvmfork: attaching to the VM");
	close(device);
	if (vm->config.fork_on != FORK_ON_UD2)
		return;
	if (!(info.features & KVMFORK_FEATURE_TRAP_UD))
		die("/dev/kvmfork: on this kernel the module cannot see ud2: use --fork-on=port");
	if (ioctl(vm->attach_fd, KVMFORK_TRAP, &trap))
		die_errno("/dev/kvmfork: trapping ud2");
}

void kvm_irq_line(struct vm *vm, uint32_t irq, bool level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	if (ioctl(vm->vm_fd, KVM_IRQ_LINE, &line))
		vm_warn(vm, "KVM_IRQ_LINE: %s", strerror(errno));
}

/*
 * As a BIOS tells the two 8259, in a register that is theirs on boards with PCI (ELCR).
 * The IOAPIC hears it from the guest.
 */
void kvm_irq_level(struct vm *vm, uint32_t irq)
{
	struct kvm_irqchip chip = {
		.chip_id = irq < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
	};

	if (irq >= 16)
		return;
	if (ioctl(vm->vm_fd, KVM_GET_IRQCHIP, &chip))
		die_errno("/dev/kvm: KVM_GET_IRQCHIP");
	chip.chip.pic.elcr |= 1 << irq % 8;
	if (ioctl(vm->vm_fd, KVM_SET_IRQCHIP, &chip))
		die_errno("/dev/kvm: KVM_SET_IRQCHIP");
}
