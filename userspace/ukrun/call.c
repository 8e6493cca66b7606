// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's calls, <kvmfork/guest.h>. Until one is carried out the vCPU
 * stands before the instruction; one that has to wait leaves it there, and
 * the guest simply executes it again when the vCPU runs on, in this VM or in
 * a child.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include <kvmfork/guest.h>

#include "log.h"
#include "option.h"
#include "vcpu.h"
#include "vm.h"

#define UD2_LENGTH	2
#define OUT_LENGTH	1	/* out %eax, %dx; a call is made without prefixes */
#define INVALID_OPCODE	6
#define EFER_LMA	(1 << 10)
#define PAGE		4096

static void call_option_fork_on(struct vm *vm, const char *arg)
{
	if (!strcmp(arg, "ud2"))
		vm->config.fork_on = FORK_ON_UD2;
	else if (!strcmp(arg, "port"))
		vm->config.fork_on = FORK_ON_PORT;
	else if (!strcmp(arg, "off"))
		vm->config.fork_on = FORK_ON_OFF;
	else
		die("--fork-on %s: ud2, port or off", arg);
}

DECLARE_OPTION(fork_on, {
	.name = "fork-on",
	.arg = "HOW",
	.help = "how the guest forks: ud2, port or off (Linux, PVH: port, others: ud2)",
	.handle = call_option_fork_on,
});

void call_return(struct vcpu *vcpu, int64_t result, unsigned int length)
{
	struct kvm_vcpu_events events;
	struct kvm_regs regs;

	vcpu_get_regs(vcpu, &regs);
	regs.rax = result;
	regs.rip += length;
	vcpu_set_regs(vcpu, &regs);
	/* What shadow `sti` casts falls on the call, not on what follows. */
	if (!ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) && events.interrupt.shadow) {
		events.flags = KVM_VCPUEVENT_VALID_SHADOW;
		events.interrupt.shadow = 0;
		ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	}
}

void call_return_two(struct vcpu *vcpu, int64_t result, uint64_t second, unsigned int length)
{
	struct kvm_regs regs;

	vcpu_get_regs(vcpu, &regs);
	regs.rsi = second;
	vcpu_set_regs(vcpu, &regs);
	call_return(vcpu, result, length);
}

static void call_wait(struct vcpu *vcpu, const struct kvm_regs *args, unsigned int length)
{
	int64_t result;
	int status;

	if (args->rcx & ~(uint64_t)KVMFORK_WAIT_NOHANG) {
		call_return(vcpu, -EINVAL, length);
		return;
	}
	result = children_wait(vcpu->vm, args->rsi, !(args->rcx & KVMFORK_WAIT_NOHANG), &status);
	if (result == CHILDREN_RESTART)
		return;
	if (result > 0)
		call_return_two(vcpu, result, status, length);
	else
		call_return(vcpu, result, length);
}

static void call_execute(struct vcpu *vcpu, const struct kvm_regs *regs, unsigned int length)
{
	struct vm *vm = vcpu->vm;

	switch (regs->rax == KVMFORK_CALL_MAGIC ? regs->rdi : KVMFORK_CALL_FORK) {
	case KVMFORK_CALL_FORK:
		vcpu_ask(vcpu, VCPU_WANTS_FORK, length);
		break;
	case KVMFORK_CALL_GETID:
		call_return(vcpu, vm->id, length);
		break;
	case KVMFORK_CALL_GETPARENT:
		call_return(vcpu, family_is_alive(vm, vm->parent_id) ? vm->parent_id : 0, length);
		break;
	case KVMFORK_CALL_WAIT:
		call_wait(vcpu, regs, length);
		break;
	case KVMFORK_CALL_EXIT:
		vm_end(vm, regs->rsi & 0xff);
		break;
	case KVMFORK_CALL_KILL:
		vm_log(vm, "kills vm %llu", regs->rsi);
		call_return(vcpu, family_kill(vm, regs->rsi), length);
		break;
	case KVMFORK_CALL_FREEZE:
		if (template_is_wanted(vm))
			vcpu_ask(vcpu, VCPU_WANTS_FREEZE, length);
		else
			call_return_two(vcpu, 0, vm->reset.runs, length);
		break;
	case KVMFORK_CALL_IDENTITY:
		call_return(vcpu, identity_register(vm, regs->rsi), length);
		break;
	case KVMFORK_CALL_RESET:
		if (reset_is_possible(vm))
			vcpu_ask(vcpu, VCPU_WANTS_RESET, length);
		else
			call_return(vcpu, -ENOENT, length);
		break;
	default:
		call_return(vcpu, -ENOSYS, length);
	}
}

/* Two bytes may lie on two pages. */
static bool call_is_ud2(struct vcpu *vcpu, uint64_t rip)
{
	static const uint8_t ud2[UD2_LENGTH] = { 0x0f, 0x0b };
	struct kvm_translation translation;
	struct kvm_sregs sregs;
	const uint8_t *byte;
	unsigned int i;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		return false;
	if (!(sregs.efer & EFER_LMA) || !sregs.cs.l)
		rip = (uint32_t)(rip + sregs.cs.base);
	for (i = 0; i < UD2_LENGTH; i++, translation.physical_address++) {
		if (!i || !((rip + i) % PAGE)) {
			memset(&translation, 0, sizeof(translation));
			translation.linear_address = rip + i;
			if (ioctl(vcpu->fd, KVM_TRANSLATE, &translation) || !translation.valid)
				return false;
		}
		byte = memory_at(vcpu->vm, translation.physical_address, 1);
		if (!byte || *byte != ud2[i])
			return false;
	}
	return true;
}

static void call_inject_ud(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events)) {
		vm_warn(vcpu->vm, "KVM_GET_VCPU_EVENTS: %s", strerror(errno));
		vm_end(vcpu->vm, STATUS_GUEST_KVM);
		return;
	}
	events.flags = 0;
	events.exception.injected = 1;
	events.exception.nr = INVALID_OPCODE;
	events.exception.has_error_code = 0;
	events.exception.error_code = 0;
	if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events)) {
		vm_warn(vcpu->vm, "KVM_SET_VCPU_EVENTS: %s", strerror(errno));
		vm_end(vcpu->vm, STATUS_GUEST_KVM);
	}
}

void call_ud(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	if (vcpu->run->ex.exception != INVALID_OPCODE) {
		vm_warn(vcpu->vm, "vCPU %u: KVM reports exception %u", vcpu->index,
			vcpu->run->ex.exception);
		vm_end(vcpu->vm, STATUS_GUEST_KVM);
		return;
	}
	vcpu_get_regs(vcpu, &regs);
	if (call_is_ud2(vcpu, regs.rip)) {
		call_execute(vcpu, &regs, UD2_LENGTH);
		return;
	}
	vm_log(vcpu->vm, "vCPU %u: invalid opcode at 0x%llx is the guest's own", vcpu->index,
	       regs.rip);
	call_inject_ud(vcpu);
}

/*
 * KVM may or may not have stepped over the `out` when it reports it. Finish
 * it, then go back before it, so that both instructions are alike.
 */
void call_port(struct vcpu *vcpu)
{
	bool string = vcpu->run->io.count != 1;
	struct kvm_regs regs;

	if (string)
		return;
	vcpu_complete_io(vcpu);
	vcpu_get_regs(vcpu, &regs);
	regs.rip -= OUT_LENGTH;
	vcpu_set_regs(vcpu, &regs);
	call_execute(vcpu, &regs, OUT_LENGTH);
}
