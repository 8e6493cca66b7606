// SPDX-License-Identifier: GPL-2.0-only
/* The part of a state that says what the VM is made of. See blob.h. */
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "blob.h"
#include "compat/kvm.h"
#include "mem.h"
#include "template.h"

static int load_host(struct kvmfork_blob *blob, struct kvmfork_clock *clock)
{
	struct kvmfork_blob at = *blob;
	struct kvmfork_state_host host;
	bool svm = boot_cpu_has(X86_FEATURE_SVM);
	int ret;

	ret = kvmfork_blob_take_vm(blob, KVMFORK_STATE_HOST, "HOST", &host,
				   sizeof(host));
	if (ret)
		return ret;
	clock->host_khz = host.tsc_khz;
	if (host.virtualization == (svm ? KVMFORK_STATE_HOST_SVM :
					  KVMFORK_STATE_HOST_VMX))
		return 0;
	if (host.virtualization != KVMFORK_STATE_HOST_SVM &&
	    host.virtualization != KVMFORK_STATE_HOST_VMX)
		return kvmfork_blob_refuse(&at, -EINVAL,
					   "HOST: virtualization is %u",
					   host.virtualization);
	return kvmfork_blob_refuse(&at, -EOPNOTSUPP,
				   "HOST: it comes from a CPU with %s, this one has %s",
				   svm ? "VMX" : "SVM", svm ? "SVM" : "VMX");
}

/* What is wrong with it, or NULL. */
static const char *check_shape(const struct kvmfork_state_shape *saved)
{
	const u32 known = KVMFORK_STATE_SHAPE_PIT | KVMFORK_STATE_SHAPE_SPEAKER;
	u32 irqchip = saved->irqchip;

	if (irqchip > KVMFORK_STATE_IRQCHIP_SPLIT)
		return "irqchip";
	if (saved->split_pins && irqchip != KVMFORK_STATE_IRQCHIP_SPLIT)
		return "split_pins";
	if (saved->flags & ~known || saved->flags == KVMFORK_STATE_SHAPE_SPEAKER ||
	    (saved->flags && irqchip != KVMFORK_STATE_IRQCHIP_KERNEL))
		return "flags";
	if (saved->nr_vcpus > KVM_MAX_VCPUS)
		return "nr_vcpus";
	if (!PAGE_ALIGNED(saved->tss_addr))
		return "tss_addr";
	if (!PAGE_ALIGNED(saved->identity_map_addr))
		return "identity_map_addr";
	if (saved->traps & ~KVMFORK_TRAP_UD)
		return "traps";
	return NULL;
}

static const enum kvmfork_irqchip irqchips[] = {
	[KVMFORK_STATE_IRQCHIP_NONE] = KVMFORK_IRQCHIP_NONE,
	[KVMFORK_STATE_IRQCHIP_KERNEL] = KVMFORK_IRQCHIP_KERNEL,
	[KVMFORK_STATE_IRQCHIP_SPLIT] = KVMFORK_IRQCHIP_SPLIT,
};

static int load_shape(struct kvmfork_blob *blob,
		      struct kvmfork_template *template)
{
	struct kvmfork_shape *shape = &template->shape;
	struct kvmfork_blob at = *blob;
	struct kvmfork_state_shape saved;
	const char *wrong;
	int ret;
	u32 i;

	ret = kvmfork_blob_take_vm(blob, KVMFORK_STATE_SHAPE, "SHAPE", &saved,
				   sizeof(saved));
	if (ret)
		return ret;
	wrong = check_shape(&saved);
	if (wrong)
		return kvmfork_blob_refuse(&at, -EINVAL, "SHAPE: %s has a wrong value",
					   wrong);
	shape->irqchip = irqchips[saved.irqchip];
	shape->split_pins = saved.split_pins;
	shape->pit = saved.flags & KVMFORK_STATE_SHAPE_PIT;
	shape->pit_speaker = saved.flags & KVMFORK_STATE_SHAPE_SPEAKER;
	shape->boot_cpu_id = saved.boot_cpu_id;
	shape->tsc_khz = saved.tsc_khz;
	shape->tss_addr = saved.tss_addr;
	shape->identity_map_addr = saved.identity_map_addr;
	template->traps = saved.traps;

	template->vcpus = kvcalloc(saved.nr_vcpus, sizeof(*template->vcpus),
				   GFP_KERNEL_ACCOUNT);
	if (saved.nr_vcpus && !template->vcpus)
		return -ENOMEM;
	template->nr_vcpus = saved.nr_vcpus;
	for (i = 0; i < saved.nr_vcpus; i++)
		kvmfork_state_init(&template->vcpus[i].state);
	return 0;
}

static int load_cap(struct kvmfork_blob *at, struct kvmfork_shape *shape,
		    const struct kvmfork_state_cap *saved, unsigned long *seen)
{
	u32 i;

	for (i = 0; i < KVMFORK_NR_CAPS; i++)
		if (shape->caps[i].cap == saved->cap)
			break;
	if (i == KVMFORK_NR_CAPS)
		return kvmfork_blob_refuse(at, -EOPNOTSUPP,
					   "CAPS: capability %u is not known",
					   saved->cap);
	if (__test_and_set_bit(i, seen) || saved->reserved)
		return kvmfork_blob_refuse(at, -EINVAL,
					   "CAPS: %s is there twice, or reserved is not zero",
					   shape->caps[i].name);
	shape->caps[i].value = saved->value;
	return 0;
}

static int load_caps(struct kvmfork_blob *blob, struct kvmfork_shape *shape)
{
	DECLARE_BITMAP(seen, KVMFORK_NR_CAPS) = {};
	struct kvmfork_blob at = *blob;
	struct kvmfork_state_cap *saved;
	int ret;
	u32 i, nr;

	ret = kvmfork_blob_take_array(blob, KVMFORK_STATE_CAPS, "CAPS",
				      sizeof(*saved), 2 * KVMFORK_NR_CAPS,
				      (void **)&saved, &nr);
	if (ret)
		return ret;
	kvmfork_caps_list(shape->caps);
	for (i = 0; !ret && i < nr; i++)
		ret = load_cap(&at, shape, &saved[i], seen);
	kvfree(saved);
	if (!ret && !bitmap_full(seen, KVMFORK_NR_CAPS))
		ret = kvmfork_blob_refuse(&at, -EINVAL, "CAPS: %s is missing",
					  shape->caps[find_first_zero_bit(seen, KVMFORK_NR_CAPS)].name);
	return ret;
}

static int load_memories(struct kvmfork_blob *blob, struct file **files,
			 u32 nr_files)
{
	struct kvmfork_blob at = *blob;
	u64 *sizes;
	int ret;
	u32 i, nr;

	ret = kvmfork_blob_take_array(blob, KVMFORK_STATE_MEMORIES, "MEMORIES",
				      sizeof(*sizes), KVM_USER_MEM_SLOTS,
				      (void **)&sizes, &nr);
	if (ret)
		return ret;
	if (nr != nr_files)
		ret = kvmfork_blob_refuse(&at, -EINVAL,
					  "MEMORIES: there are %u, and %u memory_fds",
					  nr, nr_files);
	for (i = 0; !ret && i < nr; i++) {
		u64 size = kvmfork_mem_from_file(files[i])->nr_pages;

		size <<= PAGE_SHIFT;
		if (sizes[i] != size)
			ret = kvmfork_blob_refuse(&at, -EINVAL,
						  "MEMORIES: %u has %llu bytes, its file %llu",
						  i, sizes[i], size);
	}
	kvfree(sizes);
	return ret;
}

/* What is wrong with one slot, or NULL. */
static const char *check_slot(const struct kvmfork_state_slot *slot,
			      struct file **files, u32 nr_files)
{
	const struct kvm_userspace_memory_region *region = &slot->region;
	u64 size = region->memory_size, memory_size;

	if ((region->slot & 0xffff) >= KVM_USER_MEM_SLOTS ||
	    region->slot >> 16 >= KVM_MAX_NR_ADDRESS_SPACES)
		return "its number is too high";
	if (region->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return "flags";
	if (!size || !PAGE_ALIGNED(size | region->guest_phys_addr |
				   region->userspace_addr | slot->offset))
		return "it is not of whole pages";
	if (region->guest_phys_addr + size < size)
		return "guest_phys_addr";
	if (size > TASK_SIZE_MAX || region->userspace_addr > TASK_SIZE_MAX - size)
		return "userspace_addr";
	if (slot->memory >= nr_files)
		return "memory";
	memory_size = kvmfork_mem_from_file(files[slot->memory])->nr_pages;
	memory_size <<= PAGE_SHIFT;
	if (slot->offset > memory_size || size > memory_size - slot->offset)
		return "it is not within its memory";
	return slot->reserved ? "reserved" : NULL;
}

/* By address space, then by address in it. */
static int compare_guest_addr(const void *a, const void *b)
{
	const struct kvm_userspace_memory_region *left = a, *right = b;
	u32 left_as = left->slot >> 16, right_as = right->slot >> 16;

	if (left_as != right_as)
		return left_as < right_as ? -1 : 1;
	if (left->guest_phys_addr != right->guest_phys_addr)
		return left->guest_phys_addr < right->guest_phys_addr ? -1 : 1;
	return 0;
}

static int check_overlap(struct kvmfork_blob *at,
			 const struct kvmfork_shape *shape)
{
	struct kvm_userspace_memory_region *slots;
	int ret = 0;
	u32 i;

	slots = kvmalloc_array(shape->nr_slots, sizeof(*slots), GFP_KERNEL);
	if (!slots)
		return -ENOMEM;
	memcpy(slots, shape->slots, shape->nr_slots * sizeof(*slots));
	sort(slots, shape->nr_slots, sizeof(*slots), compare_guest_addr, NULL);
	for (i = 1; !ret && i < shape->nr_slots; i++)
		if (slots[i].slot >> 16 == slots[i - 1].slot >> 16 &&
		    slots[i].guest_phys_addr - slots[i - 1].guest_phys_addr <
		    slots[i - 1].memory_size)
			ret = kvmfork_blob_refuse(at, -EINVAL,
						  "SLOTS: %#x and %#x overlap",
						  slots[i - 1].slot,
						  slots[i].slot);
	kvfree(slots);
	return ret;
}

/* What the slots show of the memories, as freezing would have found it. */
static int load_mappings(struct kvmfork_blob *at,
			 const struct kvmfork_state_slot *saved, u32 nr_files,
			 struct kvmfork_template *template)
{
	u32 i, nr = template->shape.nr_slots, memories = 0;

	template->mappings = kvcalloc(nr, sizeof(*template->mappings),
				      GFP_KERNEL_ACCOUNT);
	if (!template->mappings)
		return -ENOMEM;
	template->nr_mappings = nr;
	for (i = 0; i < nr; i++)
		template->mappings[i] = (struct kvmfork_template_mapping) {
			.addr = saved[i].region.userspace_addr,
			.size = saved[i].region.memory_size,
			.offset = saved[i].offset,
			.memory = saved[i].memory,
		};
	kvmfork_mappings_sort(template);
	for (i = 0; i < nr && memories <= nr_files; i++) {
		if (template->mappings[i].memory > memories)
			break;
		memories += template->mappings[i].memory == memories;
	}
	if (i < nr || memories != nr_files)
		return kvmfork_blob_refuse(at, -EINVAL,
					   "SLOTS: memories are not numbered by their first address, or not used");
	if (!kvmfork_mappings_merge(template))
		return kvmfork_blob_refuse(at, -EINVAL,
					   "SLOTS: two show different memory at one address");
	return 0;
}

static int load_saved_slots(struct kvmfork_blob *at,
			    const struct kvmfork_state_slot *saved, u32 nr,
			    struct kvmfork_template *template,
			    struct file **files, u32 nr_files)
{
	struct kvmfork_shape *shape = &template->shape;
	int ret;
	u32 i;

	shape->slots = kvmalloc_array(nr, sizeof(*shape->slots),
				      GFP_KERNEL_ACCOUNT);
	if (!shape->slots)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		const char *wrong = check_slot(&saved[i], files, nr_files);

		if (i && saved[i].region.slot <= saved[i - 1].region.slot)
			wrong = "its number does not rise";
		if (wrong)
			return kvmfork_blob_refuse(at, -EINVAL, "SLOTS: %#x: %s",
						   saved[i].region.slot, wrong);
		shape->slots[i] = saved[i].region;
	}
	shape->nr_slots = nr;
	ret = check_overlap(at, shape);
	return ret ?: load_mappings(at, saved, nr_files, template);
}

static int load_slots(struct kvmfork_blob *blob,
		      struct kvmfork_template *template, struct file **files,
		      u32 nr_files)
{
	struct kvmfork_blob at = *blob;
	struct kvmfork_state_slot *saved;
	int ret;
	u32 nr;

	ret = kvmfork_blob_take_array(blob, KVMFORK_STATE_SLOTS, "SLOTS",
				      sizeof(*saved),
				      KVM_USER_MEM_SLOTS * KVM_MAX_NR_ADDRESS_SPACES,
				      (void **)&saved, &nr);
	if (ret)
		return ret;
	if (nr)
		ret = load_saved_slots(&at, saved, nr, template, files, nr_files);
	else if (nr_files)
		ret = kvmfork_blob_refuse(&at, -EINVAL,
					  "SLOTS: none, but there are memories");
	kvfree(saved);
	return ret;
}

/* What is wrong with the routes, or NULL; KVM looks at where they lead. */
static const char *check_routing(const struct kvm_irq_routing *routing, u32 size)
{
	u32 i;

	if (size != struct_size(routing, entries, routing->nr))
		return "nr does not match the size";
	if (routing->flags)
		return "flags";
	for (i = 0; i < routing->nr; i++) {
		const struct kvm_irq_routing_entry *entry = &routing->entries[i];

		if (entry->type != KVM_IRQ_ROUTING_IRQCHIP &&
		    entry->type != KVM_IRQ_ROUTING_MSI)
			return "a route is neither to an irqchip nor an MSI";
		if (entry->gsi >= KVM_MAX_IRQ_ROUTES ||
		    (i && entry->gsi < routing->entries[i - 1].gsi))
			return "the GSI of a route does not rise, or is too high";
		if (entry->flags || entry->pad)
			return "flags or padding of a route";
	}
	return NULL;
}

static int load_routing(struct kvmfork_blob *blob, struct kvmfork_shape *shape)
{
	const u32 max = struct_size(shape->routing, entries, KVM_MAX_IRQ_ROUTES);
	struct kvmfork_blob at = *blob;
	u32 size = blob->record.size;
	const char *wrong;
	int ret;

	if (shape->irqchip == KVMFORK_IRQCHIP_NONE)
		return 0;
	if (!kvmfork_blob_is(blob, KVMFORK_STATE_GSI_ROUTING, KVMFORK_STATE_VM))
		return kvmfork_blob_miss(blob, "GSI_ROUTING");
	if (size < sizeof(*shape->routing) || size > max)
		return kvmfork_blob_refuse(blob, -EINVAL,
					   "GSI_ROUTING: it has %u bytes", size);
	shape->routing = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!shape->routing)
		return -ENOMEM;
	ret = kvmfork_blob_take(blob, shape->routing);
	if (ret)
		return ret;
	wrong = check_routing(shape->routing, size);
	return wrong ? kvmfork_blob_refuse(&at, -EINVAL, "GSI_ROUTING: %s",
					   wrong) : 0;
}

static int load_clock(struct kvmfork_blob *blob, struct kvmfork_clock *clock)
{
	const u32 flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	struct kvmfork_blob at = *blob;
	struct kvm_clock_data data;
	int ret;

	ret = kvmfork_blob_take_vm(blob, KVMFORK_STATE_CLOCK, "CLOCK", &data,
				   sizeof(data));
	if (ret)
		return ret;
	if (data.flags != flags || data.pad0 ||
	    memchr_inv(data.pad, 0, sizeof(data.pad)))
		return kvmfork_blob_refuse(&at, -EINVAL,
					   "CLOCK: flags or padding");
	kvmfork_clock_import(clock, &data);
	return 0;
}

int kvmfork_load_vm(struct kvmfork_blob *blob, struct kvmfork_template *template,
		    struct file **files, u32 nr_files)
{
	int ret;

	ret = load_host(blob, &template->clock);
	ret = ret ?: load_shape(blob, template);
	ret = ret ?: load_caps(blob, &template->shape);
	ret = ret ?: load_memories(blob, files, nr_files);
	ret = ret ?: load_slots(blob, template, files, nr_files);
	ret = ret ?: load_routing(blob, &template->shape);
	return ret ?: load_clock(blob, &template->clock);
}
