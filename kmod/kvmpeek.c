// SPDX-License-Identifier: GPL-2.0-only
/* Reading what KVM's user ABI has no getter for. See kvmpeek.h. */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/srcu.h>
#include <asm/vmx.h>

#include "compat/kvm.h"
#include "kvmpeek.h"

/* Of arch/x86/kvm/i8254.h: the port of the dummy PC speaker. */
#define SPEAKER_PORT	0x61

int kvmfork_kvm_check(struct kvm *kvm)
{
	if (kvm->mm != current->mm)
		return -EXDEV;
	return READ_ONCE(kvm->vm_dead) ? -EIO : 0;
}

bool kvmfork_kvm_has_shadow_pages(struct kvm *kvm)
{
	return READ_ONCE(kvm->arch.indirect_shadow_pages);
}

int kvmfork_kvm_count_vcpus(struct kvm *kvm)
{
	int online = atomic_read(&kvm->online_vcpus);

	return READ_ONCE(kvm->created_vcpus) == online ? online : -EBUSY;
}

void kvmfork_caps_list(struct kvmfork_cap *caps)
{
#define CAP(cap) { #cap, cap, 0 }
	static const struct kvmfork_cap names[KVMFORK_NR_CAPS] = {
		/* Not QUIRKS2, which takes fewer bits than this let be set. */
		CAP(KVM_CAP_DISABLE_QUIRKS),
		CAP(KVM_CAP_X2APIC_API),
		CAP(KVM_CAP_X86_DISABLE_EXITS),
		CAP(KVM_CAP_MSR_PLATFORM_INFO),
		CAP(KVM_CAP_EXCEPTION_PAYLOAD),
		CAP(KVM_CAP_X86_TRIPLE_FAULT_EVENT),
		CAP(KVM_CAP_X86_USER_SPACE_MSR),
		CAP(KVM_CAP_X86_BUS_LOCK_EXIT),
		CAP(KVM_CAP_EXIT_HYPERCALL),
		CAP(KVM_CAP_EXIT_ON_EMULATION_FAILURE),
		CAP(KVM_CAP_PMU_CAPABILITY),
		CAP(KVM_CAP_X86_NOTIFY_VMEXIT),
		CAP(KVM_CAP_VM_DISABLE_NX_HUGE_PAGES),
		CAP(KVM_CAP_X86_APIC_BUS_CYCLES_NS),
		CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2),
		CAP(KVM_CAP_MAX_VCPU_ID),
		CAP(KVM_CAP_HALT_POLL),
	};
#undef CAP

	memcpy(caps, names, sizeof(names));
}

static u64 kvmfork_cap_value(struct kvm *kvm, u32 cap)
{
	const struct kvm_arch *arch = &kvm->arch;

	switch (cap) {
	case KVM_CAP_DISABLE_QUIRKS:
		return arch->disabled_quirks;
	case KVM_CAP_X2APIC_API:
		return compat_kvm_x2apic_api(kvm);
	case KVM_CAP_X86_DISABLE_EXITS:
		return compat_kvm_disabled_exits(kvm);
	case KVM_CAP_MSR_PLATFORM_INFO:
		return arch->guest_can_read_msr_platform_info;
	case KVM_CAP_EXCEPTION_PAYLOAD:
		return arch->exception_payload_enabled;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		return arch->triple_fault_event;
	case KVM_CAP_X86_USER_SPACE_MSR:
		return arch->user_space_msr_mask;
	case KVM_CAP_X86_BUS_LOCK_EXIT:
		return arch->bus_lock_detection_enabled ?
		       KVM_BUS_LOCK_DETECTION_EXIT : 0;
	case KVM_CAP_EXIT_HYPERCALL:
		return arch->hypercall_exit_enabled;
	case KVM_CAP_EXIT_ON_EMULATION_FAILURE:
		return arch->exit_on_emulation_error;
	case KVM_CAP_PMU_CAPABILITY:
		return arch->enable_pmu ? 0 : KVM_PMU_CAP_DISABLE;
	case KVM_CAP_X86_NOTIFY_VMEXIT:
		return (u64)arch->notify_window << 32 |
		       arch->notify_vmexit_flags;
	case KVM_CAP_VM_DISABLE_NX_HUGE_PAGES:
		return arch->disable_nx_huge_pages;
	case KVM_CAP_X86_APIC_BUS_CYCLES_NS:
		return compat_kvm_apic_bus_cycle_ns(kvm);
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return kvm->manual_dirty_log_protect;
	case KVM_CAP_MAX_VCPU_ID:
		return arch->max_vcpu_ids;
	default:	/* KVM_CAP_HALT_POLL */
		return kvm->override_halt_poll_ns ?
		       READ_ONCE(kvm->max_halt_poll_ns) : (u64)-1;
	}
}

void kvmfork_caps_read(struct kvm *kvm, struct kvmfork_cap *caps)
{
	u32 i;

	kvmfork_caps_list(caps);
	for (i = 0; i < KVMFORK_NR_CAPS; i++)
		caps[i].value = kvmfork_cap_value(kvm, caps[i].cap);
}

/* Things that are there and cannot be carried: name the first. */
static int kvmfork_shape_check(struct kvm *kvm, struct kvmfork_report *report)
{
	const char *what = NULL;

	if (compat_kvm_type(kvm))
		what = "a VM type other than the default";
	else if (kvm->dirty_ring_size)
		what = "KVM_CAP_DIRTY_LOG_RING";
	else if (rcu_access_pointer(kvm->arch.msr_filter))
		what = "KVM_X86_SET_MSR_FILTER";
	else if (rcu_access_pointer(kvm->arch.pmu_event_filter))
		what = "KVM_SET_PMU_EVENT_FILTER";
	else if (kvm->arch.sgx_provisioning_allowed)
		what = "KVM_CAP_SGX_ATTRIBUTE";
	else if (compat_kvm_is_xen(kvm))
		what = "KVM_XEN_HVM_CONFIG";

	if (!what)
		return 0;
	return kvmfork_report(report, -EOPNOTSUPP,
			      "the VM uses %s, which is not carried over", what);
}

static int kvmfork_shape_add_slot(struct kvmfork_shape *shape, u32 *room,
				  const struct kvm_memory_slot *slot,
				  struct kvmfork_report *report)
{
	const u32 known = KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY;
	struct kvm_userspace_memory_region *region;

	/* KVM_MEM_GUEST_MEMFD */
	if (slot->flags & ~known)
		return kvmfork_report(report, -EOPNOTSUPP,
				      "slot %d: flags %#x are not carried over",
				      slot->id, slot->flags);
	if (shape->nr_slots == *room) {
		u32 more = max(16U, *room * 2);

		region = kvmalloc_array(more, sizeof(*region),
					GFP_KERNEL_ACCOUNT);
		if (!region)
			return -ENOMEM;
		memcpy(region, shape->slots, shape->nr_slots * sizeof(*region));
		kvfree(shape->slots);
		shape->slots = region;
		*room = more;
	}
	region = &shape->slots[shape->nr_slots++];
	*region = (struct kvm_userspace_memory_region) {
		.slot = (u32)slot->as_id << 16 | slot->id,
		.flags = slot->flags,
		.guest_phys_addr = slot->base_gfn << PAGE_SHIFT,
		.memory_size = (u64)slot->npages << PAGE_SHIFT,
		.userspace_addr = slot->userspace_addr,
	};
	return 0;
}

/* KVM keeps some slots for itself, with ids that user space cannot use. */
static void kvmfork_shape_note_private_slot(struct kvmfork_shape *shape,
					    const struct kvm_memory_slot *slot)
{
	if (slot->id == TSS_PRIVATE_MEMSLOT)
		shape->tss_addr = slot->base_gfn << PAGE_SHIFT;
	else if (slot->id == IDENTITY_PAGETABLE_PRIVATE_MEMSLOT)
		shape->identity_map_addr = slot->base_gfn << PAGE_SHIFT;
}

static int kvmfork_slot_compare(const void *a, const void *b)
{
	const struct kvm_userspace_memory_region *left = a, *right = b;

	return left->slot < right->slot ? -1 : left->slot > right->slot;
}

static int kvmfork_shape_read_slots(struct kvm *kvm,
				    struct kvmfork_shape *shape,
				    struct kvmfork_report *report)
{
	struct kvm_memory_slot *slot;
	int as_id, bkt, ret;
	u32 room = 0;

	/* Not SRCU: a slot that is just being changed is there, half-way. */
	ret = mutex_lock_killable(&kvm->slots_lock);
	if (ret)
		return ret;
	for (as_id = 0; as_id < KVM_MAX_NR_ADDRESS_SPACES; as_id++) {
		struct kvm_memslots *slots = __kvm_memslots(kvm, as_id);

		kvm_for_each_memslot(slot, bkt, slots) {
			if (slot->id >= KVM_USER_MEM_SLOTS)
				kvmfork_shape_note_private_slot(shape, slot);
			else if (!ret)
				ret = kvmfork_shape_add_slot(shape, &room, slot,
							     report);
		}
	}
	mutex_unlock(&kvm->slots_lock);
	sort(shape->slots, shape->nr_slots, sizeof(*shape->slots),
	     kvmfork_slot_compare, NULL);
	return ret;
}

/* The opposite of kvm_set_routing_entry() in arch/x86/kvm. */
static int kvmfork_route_to_user(const struct kvm_kernel_irq_routing_entry *e,
				 struct kvm_irq_routing_entry *ue)
{
	ue->gsi = e->gsi;
	ue->type = e->type;
	switch (e->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		ue->u.irqchip.irqchip = e->irqchip.irqchip;
		ue->u.irqchip.pin = e->irqchip.pin;
		/* The slave's pins are counted from the master's first. */
		if (e->irqchip.irqchip == KVM_IRQCHIP_PIC_SLAVE)
			ue->u.irqchip.pin -= 8;
		return 0;
	case KVM_IRQ_ROUTING_MSI:
		ue->u.msi.address_lo = e->msi.address_lo;
		ue->u.msi.address_hi = e->msi.address_hi;
		ue->u.msi.data = e->msi.data;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/*
 * Of the routes of a GSI, KVM turns the order around each time that they are
 * set: give them one. There are few of each.
 */
static void kvmfork_routing_sort(struct kvm_irq_routing *routing)
{
	struct kvm_irq_routing_entry *entries = routing->entries;
	u32 i, j;

	for (i = 1; i < routing->nr; i++)
		for (j = i; j && entries[j - 1].gsi == entries[j].gsi &&
		     memcmp(&entries[j - 1], &entries[j], sizeof(*entries)) > 0;
		     j--)
			swap(entries[j - 1], entries[j]);
}

/* Routes of a VM as KVM makes it: PIC and I/O APIC; and some more. */
#define ROUTES_FIRST	64

/* Copy the routes that @routing has room for; how many there are in all. */
static int kvmfork_routing_copy(struct kvm *kvm, struct kvm_irq_routing *routing,
				u32 room, u32 *nr)
{
	struct kvm_kernel_irq_routing_entry *e;
	struct kvm_irq_routing_table *table;
	int idx, ret = 0;
	u32 gsi;

	*nr = 0;
	idx = srcu_read_lock(&kvm->irq_srcu);
	table = srcu_dereference(kvm->irq_routing, &kvm->irq_srcu);
	for (gsi = 0; table && !ret && gsi < table->nr_rt_entries; gsi++) {
		hlist_for_each_entry(e, &table->map[gsi], link) {
			u32 i = (*nr)++;

			if (i >= room)
				continue;
			ret = kvmfork_route_to_user(e, &routing->entries[i]);
			if (ret)
				break;
		}
	}
	srcu_read_unlock(&kvm->irq_srcu, idx);
	return ret ? (int)gsi : 0;
}

int kvmfork_routing_read(struct kvm *kvm, struct kvm_irq_routing **to,
			 struct kvmfork_report *report)
{
	struct kvm_irq_routing *routing = NULL;
	u32 room, nr = ROUTES_FIRST;
	int ret;

	/* The table can be another one each time. */
	do {
		kvfree(routing);
		room = nr;
		routing = kvzalloc(struct_size(routing, entries, room),
				   GFP_KERNEL_ACCOUNT);
		if (!routing)
			return -ENOMEM;
		ret = kvmfork_routing_copy(kvm, routing, room, &nr);
	} while (!ret && nr > room);
	if (ret) {
		kvfree(routing);
		return kvmfork_report(report, -EOPNOTSUPP,
				      "GSI %d is routed to a Hyper-V or Xen event, which is not carried over",
				      ret - 1);
	}
	routing->nr = nr;
	kvmfork_routing_sort(routing);
	*to = routing;
	return 0;
}

bool kvmfork_routing_equal(const struct kvm_irq_routing *a,
			   const struct kvm_irq_routing *b)
{
	return a->nr == b->nr &&
	       !memcmp(a->entries, b->entries,
		       flex_array_size(a, entries, a->nr));
}

static bool kvmfork_has_speaker(struct kvm *kvm)
{
	struct kvm_io_bus *bus;
	bool found = false;
	int i, idx;

	idx = srcu_read_lock(&kvm->srcu);
	bus = srcu_dereference(kvm->buses[KVM_PIO_BUS], &kvm->srcu);
	for (i = 0; bus && i < bus->dev_count; i++)
		found |= bus->range[i].addr == SPEAKER_PORT;
	srcu_read_unlock(&kvm->srcu, idx);
	return found;
}

int kvmfork_shape_read(struct kvm *kvm, struct kvmfork_shape *shape,
		       struct kvmfork_report *report)
{
	int ret;

	memset(shape, 0, sizeof(*shape));
	ret = kvmfork_shape_check(kvm, report);
	if (ret)
		return ret;

	if (kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL)
		shape->irqchip = KVMFORK_IRQCHIP_KERNEL;
	else if (kvm->arch.irqchip_mode == KVM_IRQCHIP_SPLIT)
		shape->irqchip = KVMFORK_IRQCHIP_SPLIT;
	shape->split_pins = kvm->arch.nr_reserved_ioapic_pins;
	shape->pit = READ_ONCE(kvm->arch.vpit);
	shape->pit_speaker = shape->pit && kvmfork_has_speaker(kvm);
	shape->boot_cpu_id = kvm->arch.bsp_vcpu_id;
	shape->tsc_khz = READ_ONCE(kvm->arch.default_tsc_khz);
	kvmfork_caps_read(kvm, shape->caps);

	ret = kvmfork_shape_read_slots(kvm, shape, report);
	if (!ret && shape->irqchip != KVMFORK_IRQCHIP_NONE)
		ret = kvmfork_routing_read(kvm, &shape->routing, report);
	if (ret)
		kvmfork_shape_destroy(shape);
	return ret;
}

static bool slots_equal(const struct kvmfork_shape *a,
			const struct kvmfork_shape *b)
{
	u32 i;

	if (a->nr_slots != b->nr_slots)
		return false;
	for (i = 0; i < a->nr_slots; i++)
		if (a->slots[i].slot != b->slots[i].slot ||
		    a->slots[i].flags != b->slots[i].flags ||
		    a->slots[i].guest_phys_addr != b->slots[i].guest_phys_addr ||
		    a->slots[i].memory_size != b->slots[i].memory_size)
			return false;
	return true;
}

const char *kvmfork_shape_compare(const struct kvmfork_shape *a,
				  const struct kvmfork_shape *b)
{
	u32 i;

	if (a->irqchip != b->irqchip || a->split_pins != b->split_pins)
		return "interrupt controller";
	if (a->pit != b->pit || a->pit_speaker != b->pit_speaker)
		return "PIT";
	if (a->boot_cpu_id != b->boot_cpu_id)
		return "boot CPU";
	if (a->tss_addr != b->tss_addr ||
	    a->identity_map_addr != b->identity_map_addr)
		return "KVM_SET_TSS_ADDR or KVM_SET_IDENTITY_MAP_ADDR";
	for (i = 0; i < KVMFORK_NR_CAPS; i++)
		if (a->caps[i].value != b->caps[i].value)
			return a->caps[i].name;
	return slots_equal(a, b) ? NULL : "memory slots";
}

void kvmfork_shape_destroy(struct kvmfork_shape *shape)
{
	kvfree(shape->slots);
	kvfree(shape->routing);
	shape->slots = NULL;
	shape->routing = NULL;
}

struct kvm *kvmfork_vcpu_kvm(struct kvm_vcpu *vcpu)
{
	return vcpu->kvm;
}

u32 kvmfork_vcpu_id(struct kvm_vcpu *vcpu)
{
	return vcpu->vcpu_id;
}

unsigned int kvmfork_vcpu_index(struct kvm_vcpu *vcpu)
{
	return vcpu->vcpu_idx;
}

bool kvmfork_vcpu_has_lapic(struct kvm_vcpu *vcpu)
{
	return vcpu->arch.apic;
}

bool kvmfork_vcpu_is_busy(struct kvm_vcpu *vcpu)
{
	return mutex_is_locked(&vcpu->mutex);
}

u64 kvmfork_vcpu_count_exits(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->stat.exits);
}

bool kvmfork_vcpu_has_pending_io(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.complete_userspace_io);
}

struct kvm_run *kvmfork_vcpu_run(struct kvm_vcpu *vcpu)
{
	return vcpu->run;
}

void kvmfork_vcpu_guest_debug(struct kvm_vcpu *vcpu,
			      struct kvm_guest_debug *debug)
{
	int i;

	memset(debug, 0, sizeof(*debug));
	debug->control = vcpu->guest_debug &
			 ~(KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP);
	if (!(debug->control & KVM_GUESTDBG_USE_HW_BP))
		return;
	for (i = 0; i < KVM_NR_DB_REGS; i++)
		debug->arch.debugreg[i] = vcpu->arch.eff_db[i];
	debug->arch.debugreg[7] = vcpu->arch.guest_debug_dr7;
}

bool kvmfork_vcpu_has_cpuid(struct kvm_vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
	bool equal;

	/* The entries are another thread's to replace, with the mutex. */
	if (!mutex_trylock(&vcpu->mutex))
		return false;
	equal = vcpu->arch.cpuid_nent == cpuid->nent &&
		!memcmp(vcpu->arch.cpuid_entries, cpuid->entries,
			flex_array_size(cpuid, entries, cpuid->nent));
	mutex_unlock(&vcpu->mutex);
	return equal;
}

u32 kvmfork_vcpu_count_cpuid(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.cpuid_nent);
}

u32 kvmfork_vcpu_xsave_size(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.guest_fpu.uabi_size);
}

bool kvmfork_vcpu_has_hyperv(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.hyperv);
}

void kvmfork_vcpu_cancel_shutdown(struct kvm_vcpu *vcpu)
{
	kvm_clear_request(KVM_REQ_TRIPLE_FAULT, vcpu);
}

void kvmfork_vcpu_flush_tlb(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_TLB_FLUSH_GUEST, vcpu);
	/* That leaves out those of a nested guest, which VMX has by themselves. */
	if (boot_cpu_has(X86_FEATURE_VMX))
		kvm_make_request(KVM_REQ_TLB_FLUSH, vcpu);
}

bool kvmfork_vcpu_has_async_pf(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.apf.msr_en_val);
}

/* SVM keeps such pages only while it enters or leaves the nested guest. */
bool kvmfork_vcpu_is_nested(struct kvm_vcpu *vcpu)
{
	return boot_cpu_has(X86_FEATURE_VMX) &&
	       READ_ONCE(vcpu->arch.hflags) & HF_GUEST_MASK;
}

bool kvmfork_vcpu_enforces_pv_cpuid(struct kvm_vcpu *vcpu)
{
	return vcpu->arch.pv_cpuid.enforce;
}

int kvmfork_vcpu_check(struct kvm_vcpu *vcpu, struct kvmfork_report *report)
{
	const char *what = NULL;

	if (vcpu->arch.guest_state_protected)
		what = "encrypted state";
	else if (vcpu->arch.hyperv_enabled)
		what = "Hyper-V enlightenments";
	else if (vcpu->arch.tpr_access_reporting)
		what = "KVM_TPR_ACCESS_REPORTING";
	else if (test_bit(KVM_APIC_CHECK_VAPIC, &vcpu->arch.apic_attention))
		what = "KVM_SET_VAPIC_ADDR";
	if (!what)
		return 0;
	return kvmfork_report(report, -EOPNOTSUPP,
			      "vCPU %d uses %s, which is not carried over",
			      vcpu->vcpu_id, what);
}
