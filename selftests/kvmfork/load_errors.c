// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVMFORK_LOAD of what is no state: each field of each record with values that
 * it must not have, records that are missing, twice or in the wrong place. The
 * message says where; nothing is left behind, and no memory has been frozen.
 */
#include "fork.h"
#include "harness.h"
#include "save.h"

#define RAM_GPA		(16UL << 20)
#define RAM_SIZE	(8 * PAGE_SIZE)
#define HALF		(RAM_SIZE / 2)

#define NR_VCPUS	2

/* KVM's own limit. */
#define MAX_CPUID_ENTRIES	256
#define CPUID_SIZE(nent)	(sizeof(struct kvm_cpuid2) + (nent) * sizeof(struct kvm_cpuid_entry2))

FIXTURE(load) {
	struct vm vm;
	int template;
	struct blob right, wrong;
	struct load_call call;
};

/* Three slots over two memories. */
FIXTURE_SETUP(load)
{
	int fd = memory_create(RAM_SIZE);
	char *hva = memory_map(fd, RAM_SIZE);

	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, NR_VCPUS);
	vm_slot_add(&self->vm, 0, RAM_GPA + HALF, HALF, hva, fd, 0);
	vm_slot_add(&self->vm, KVM_MEM_READONLY, RAM_GPA, HALF, hva + HALF, fd, HALF);
	for (unsigned int i = 0; i < NR_VCPUS; i++)
		vcpu_start(&self->vm.vcpus[i], i, guest_count, 0);
	self->template = vm_freeze(&self->vm);
	template_export(self->template, &self->right);
	/* Room for one record more, and for too many CPUID entries. */
	self->wrong.bytes = malloc(2 * self->right.size + CPUID_SIZE(MAX_CPUID_ENTRIES + 1));
	TEST_REQUIRE(self->wrong.bytes, "out of memory");
	load_call_init(&self->call, &self->right, self->template);
	TEST_REQUIRE(self->call.args.nr_memories == 2, "%u memories",
		     self->call.args.nr_memories);
}

FIXTURE_TEARDOWN(load)
{
	load_call_close(&self->call);
	free(self->wrong.bytes);
	free(self->right.bytes);
	close(self->template);
	vm_close(&self->vm);
}

static void start_over(FIXTURE_DATA(load) *self)
{
	self->wrong.size = self->right.size;
	memcpy(self->wrong.bytes, self->right.bytes, self->right.size);
}

/* Of the first memories; -1 of what is no memory. */
static long long freezes(FIXTURE_DATA(load) *self)
{
	return fdinfo_value(self->call.memory_fds[0], "kvmfork-freezes") +
	       fdinfo_value(self->call.memory_fds[1], "kvmfork-freezes");
}

/* What the call says, with nothing left behind when it is an error. */
static int call_load(FIXTURE_DATA(load) *self)
{
	long long frozen = freezes(self);
	struct proc_state before, after;
	int ret;

	memset(self->call.message, 0, sizeof(self->call.message));
	proc_state_get(&before);
	ret = load_call_run(&self->call);
	if (ret >= 0) {
		close(ret);
		return 0;
	}
	proc_state_get(&after);
	if (!proc_state_equal(&before, &after)) {
		fprintf(stderr, "# it left something behind\n");
		return -1000;
	}
	if (freezes(self) != frozen) {
		fprintf(stderr, "# memory has been frozen\n");
		return -1001;
	}
	return ret;
}

static int load_wrong(FIXTURE_DATA(load) *self)
{
	self->call.args.state = (unsigned long)self->wrong.bytes;
	self->call.args.size = self->wrong.size;
	return call_load(self);
}

/* Is it said that @record, of the wrong blob, is in the way? */
static bool names(FIXTURE_DATA(load) *self, const void *record)
{
	char text[64];

	snprintf(text, sizeof(text), "state, offset %zu: ",
		 (size_t)((const uint8_t *)record - self->wrong.bytes));
	return !strncmp(self->call.message, text, strlen(text));
}

/* The header says how long it is. */
static void set_size(struct blob *blob, uint64_t size)
{
	blob->size = size;
	((struct kvmfork_state_header *)blob->bytes)->size = size;
}

TEST_F(load, right)
{
	start_over(self);
	EXPECT_EQ(0, load_wrong(self)) TH_LOG("%s", self->call.message);
}

TEST_F(load, arguments)
{
	struct kvmfork_load *args = &self->call.args, right = *args;
	int pipes[2];

	for (int bit = 0; bit < 64; bit++) {
		args->flags = 1ULL << bit;
		EXPECT_EQ(-EINVAL, call_load(self));
		*args = right;
		for (size_t i = 0; i < ARRAY_LENGTH(args->reserved); i++) {
			args->reserved[i] = 1ULL << bit;
			EXPECT_EQ(-EINVAL, call_load(self));
			*args = right;
		}
	}
	args->state = 0;
	EXPECT_EQ(-EFAULT, call_load(self));
	args->state = -4096UL;
	EXPECT_EQ(-EFAULT, call_load(self));
	*args = right;
	args->memory_fds = 0;
	EXPECT_EQ(-EFAULT, call_load(self));
	*args = right;
	args->size = 0;
	EXPECT_EQ(-EINVAL, call_load(self));
	args->size = right.size - 1;
	EXPECT_EQ(-EINVAL, call_load(self));
	args->size = right.size + 1;
	EXPECT_EQ(-EINVAL, call_load(self));
	args->size = -1ULL;
	EXPECT_EQ(-EINVAL, call_load(self));
	*args = right;
	/* No message, or a short one, or one that cannot be written. */
	args->size = 0;
	args->message_size = 0;
	EXPECT_EQ(-EINVAL, call_load(self));
	EXPECT_EQ(0, self->call.message[0]);
	args->message_size = 4;
	EXPECT_EQ(-EINVAL, call_load(self));
	EXPECT_EQ(3, strlen(self->call.message));
	args->message = 1;
	EXPECT_EQ(-EINVAL, call_load(self));
	*args = right;

	/* Memories. */
	args->nr_memories = 1;
	EXPECT_EQ(-EINVAL, call_load(self));
	args->nr_memories = -1;
	EXPECT_EQ(-EINVAL, call_load(self));
	*args = right;
	self->call.memory_fds[2] = memory_create(PAGE_SIZE);
	args->nr_memories = 3;
	EXPECT_EQ(-EINVAL, call_load(self));
	close(self->call.memory_fds[2]);
	EXPECT_EQ(-EBADF, call_load(self));
	ASSERT_EQ(0, pipe(pipes));
	self->call.memory_fds[2] = pipes[0];
	EXPECT_EQ(-EBADF, call_load(self));
	EXPECT_TRUE(strstr(self->call.message, "memory_fds")) TH_LOG("%s", self->call.message);
	close(pipes[0]);
	close(pipes[1]);
	self->call.memory_fds[2] = self->template;
	EXPECT_EQ(-EBADF, call_load(self));
	*args = right;
	self->call.memory_fds[2] = self->call.memory_fds[0];
	self->call.memory_fds[0] = self->call.memory_fds[1];
	/* One of them twice. */
	EXPECT_EQ(-EINVAL, call_load(self));
	self->call.memory_fds[1] = self->call.memory_fds[2];
	/* In the other order. */
	EXPECT_EQ(-EINVAL, call_load(self));
	EXPECT_TRUE(strstr(self->call.message, "MEMORIES")) TH_LOG("%s", self->call.message);
	self->call.memory_fds[1] = self->call.memory_fds[0];
	self->call.memory_fds[0] = self->call.memory_fds[2];
	EXPECT_EQ(0, call_load(self));
}

TEST_F(load, header)
{
	static const struct {
		unsigned int offset, size;
		uint64_t value;
		int err;
	} fields[] = {
		{ 0, 1, 'k', -EINVAL },		/* magic */
		{ 7, 1, 1, -EINVAL },
		{ 8, 4, 0, -EINVAL },		/* version */
		{ 8, 4, KVMFORK_STATE_VERSION + 1, -EOPNOTSUPP },
		{ 8, 4, 0xffffffff, -EOPNOTSUPP },
		{ 12, 4, 1, -EINVAL },		/* reserved */
		{ 16, 8, 0, -EINVAL },		/* size */
		{ 16, 8, 24, -EINVAL },
		{ 16, 8, -1ULL, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		start_over(self);
		memcpy(self->wrong.bytes + fields[i].offset, &fields[i].value, fields[i].size);
		EXPECT_EQ(fields[i].err, load_wrong(self)) TH_LOG("field %zu", i);
		EXPECT_TRUE(names(self, self->wrong.bytes)) TH_LOG("%s", self->call.message);
	}
}

/* Cut off anywhere, whether the header knows or not. */
TEST_F(load, truncated)
{
	for (uint64_t size = 0; size < self->right.size;
	     size += size < 256 ? 1 : 8 * test_scaled(5) + size % 7) {
		start_over(self);
		self->wrong.size = size;
		EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("%lu bytes", size);
		if (size < sizeof(struct kvmfork_state_header))
			continue;
		set_size(&self->wrong, size);
		EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("%lu bytes", size);
		EXPECT_EQ(0, strncmp(self->call.message, "state, offset ", 14))
			TH_LOG("%s", self->call.message);
	}
}

TEST_F(load, something_behind)
{
	for (uint64_t more = 1; more < 64; more++) {
		start_over(self);
		memset(self->wrong.bytes + self->right.size, 0, more);
		set_size(&self->wrong, self->right.size + more);
		EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("%lu bytes more", more);
	}
}

static bool is_optional(const struct kvmfork_state_record *record)
{
	switch (record->type) {
	case KVMFORK_STATE_CPUID:
	case KVMFORK_STATE_NESTED:
	case KVMFORK_STATE_XCRS:
	case KVMFORK_STATE_PV_CPUID:
	case KVMFORK_STATE_GUEST_SSP:
		return true;
	default:
		return false;
	}
}

/* The head of each record, whatever it is of. */
TEST_F(load, heads)
{
	static const uint32_t types[] = { 0, 8, 0xff, 0x113, 0x1ff, 0x204, 0x7fffffff, -1 };
	static const uint32_t vcpus[] = { 2, 0x10000, 0x7fffffff, 0xfffffffe };
	static const uint32_t sizes[] = { 0x10000000, 0x7fffffff, 0xfffffff0, -8, -1 };
	struct kvmfork_state_record *record = NULL, right;

	start_over(self);
	while ((record = blob_next(&self->wrong, record))) {
		right = *record;
		for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
			record->type = types[i];
			EXPECT_EQ(types[i] ? -EOPNOTSUPP : -EINVAL, load_wrong(self))
				TH_LOG("type 0x%x as 0x%x", right.type, types[i]);
			EXPECT_TRUE(names(self, record)) TH_LOG("%s", self->call.message);
			*record = right;
		}
		for (size_t i = 0; i < ARRAY_LENGTH(vcpus); i++) {
			record->vcpu = vcpus[i];
			EXPECT_EQ(-EINVAL, load_wrong(self))
				TH_LOG("type 0x%x of vCPU 0x%x", right.type, vcpus[i]);
			*record = right;
		}
		record->vcpu = right.vcpu == KVMFORK_STATE_VM ? 0 : KVMFORK_STATE_VM;
		EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("type 0x%x", right.type);
		*record = right;
		for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
			record->size = sizes[i];
			EXPECT_EQ(-EINVAL, load_wrong(self))
				TH_LOG("type 0x%x with 0x%x bytes", right.type, sizes[i]);
			EXPECT_TRUE(names(self, record)) TH_LOG("%s", self->call.message);
			*record = right;
		}
		for (int by = -1; by <= 1; by += 2) {
			record->size += by;
			EXPECT_GT(0, load_wrong(self))
				TH_LOG("type 0x%x with %d bytes more", right.type, by);
			*record = right;
		}
		record->reserved = 1;
		EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("type 0x%x", right.type);
		EXPECT_TRUE(names(self, record)) TH_LOG("%s", self->call.message);
		*record = right;
	}
	EXPECT_EQ(0, load_wrong(self)) TH_LOG("%s", self->call.message);
}

TEST_F(load, padding)
{
	struct kvmfork_state_record *record = NULL;
	unsigned int padded = 0;

	start_over(self);
	while ((record = blob_next(&self->wrong, record))) {
		uint8_t *pad = (uint8_t *)blob_payload(record) + record->size;

		for (; pad < (uint8_t *)record + blob_record_size(record); pad++, padded++) {
			*pad = 1;
			EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("type 0x%x", record->type);
			EXPECT_TRUE(names(self, record)) TH_LOG("%s", self->call.message);
			*pad = 0;
		}
	}
	EXPECT_LT(0, padded);
}

static void remove_record(struct blob *blob, struct kvmfork_state_record *record)
{
	uint64_t size = blob_record_size(record);
	uint8_t *from = (uint8_t *)record + size;

	memmove(record, from, blob->bytes + blob->size - from);
	set_size(blob, blob->size - size);
}

static void double_record(struct blob *blob, struct kvmfork_state_record *record)
{
	uint64_t size = blob_record_size(record);

	memmove((uint8_t *)record + size, record,
		blob->bytes + blob->size - (uint8_t *)record);
	set_size(blob, blob->size + size);
}

/* With the one behind it. */
static void swap_record(struct blob *blob, struct kvmfork_state_record *record)
{
	struct kvmfork_state_record *next = blob_next(blob, record);
	uint64_t size = blob_record_size(record), next_size = blob_record_size(next);
	void *copy = malloc(size);

	memcpy(copy, record, size);
	memmove(record, next, next_size);
	memcpy((uint8_t *)record + next_size, copy, size);
	free(copy);
}

/* The record of the wrong blob at the same place as one of the right one. */
static struct kvmfork_state_record *counterpart(FIXTURE_DATA(load) *self,
						const struct kvmfork_state_record *record)
{
	return (void *)(self->wrong.bytes + ((const uint8_t *)record - self->right.bytes));
}

TEST_F(load, missing_records)
{
	struct kvmfork_state_record *record = NULL;

	while ((record = blob_next(&self->right, record))) {
		start_over(self);
		remove_record(&self->wrong, counterpart(self, record));
		EXPECT_EQ(is_optional(record) ? 0 : -EINVAL, load_wrong(self))
			TH_LOG("without type 0x%x: %s", record->type, self->call.message);
		if (!is_optional(record))
			EXPECT_TRUE(names(self, counterpart(self, record)))
				TH_LOG("%s", self->call.message);
	}
}

TEST_F(load, records_twice)
{
	struct kvmfork_state_record *record = NULL;

	while ((record = blob_next(&self->right, record))) {
		start_over(self);
		double_record(&self->wrong, counterpart(self, record));
		EXPECT_EQ(-EINVAL, load_wrong(self))
			TH_LOG("type 0x%x: %s", record->type, self->call.message);
	}
}

TEST_F(load, records_in_another_order)
{
	struct kvmfork_state_record *record = NULL;

	while ((record = blob_next(&self->right, record)) && blob_next(&self->right, record)) {
		start_over(self);
		swap_record(&self->wrong, counterpart(self, record));
		EXPECT_EQ(-EINVAL, load_wrong(self))
			TH_LOG("type 0x%x: %s", record->type, self->call.message);
	}
}

TEST_F(load, vcpu_twice)
{
	struct kvmfork_state_record *record = NULL;

	start_over(self);
	while ((record = blob_next(&self->wrong, record)))
		if (record->vcpu == 1)
			record->vcpu = 0;
	EXPECT_EQ(-EINVAL, load_wrong(self));
	EXPECT_TRUE(names(self, counterpart(self, blob_find(&self->right, KVMFORK_STATE_CPUID,
							    1))));
	EXPECT_TRUE(strstr(self->call.message, "twice")) TH_LOG("%s", self->call.message);
}

/* The entries there are, again and again. */
static void grow_cpuid(struct blob *blob, uint32_t nent)
{
	struct kvmfork_state_record *record = blob_find(blob, KVMFORK_STATE_CPUID, 1);
	struct kvm_cpuid2 *cpuid = blob_payload(record);
	uint8_t *next = (uint8_t *)record + blob_record_size(record);
	uint32_t nr = cpuid->nent;
	uint64_t more;

	record->size = CPUID_SIZE(nent);
	more = (uint8_t *)record + blob_record_size(record) - next;
	memmove(next + more, next, blob->bytes + blob->size - next);
	set_size(blob, blob->size + more);
	for (; nr < nent; nr++)
		cpuid->entries[nr] = cpuid->entries[nr % cpuid->nent];
	cpuid->nent = nent;
}

TEST_F(load, too_many_cpuid_entries)
{
	start_over(self);
	grow_cpuid(&self->wrong, MAX_CPUID_ENTRIES);
	EXPECT_EQ(0, load_wrong(self)) TH_LOG("%s", self->call.message);
	start_over(self);
	grow_cpuid(&self->wrong, MAX_CPUID_ENTRIES + 1);
	EXPECT_EQ(-EINVAL, load_wrong(self));
	EXPECT_TRUE(strstr(self->call.message, "256")) TH_LOG("%s", self->call.message);
}

#define FIELD(_name, _type, _struct, _member, _value)			\
	{ _name, KVMFORK_STATE_##_type, offsetof(_struct, _member),	\
	  sizeof(((_struct *)0)->_member), _value, -EINVAL }
#define SHAPE(_name, _member, _value)					\
	FIELD(_name, SHAPE, struct kvmfork_state_shape, _member, _value)
/* With the first route. */
#define ROUTE(_name, _member, _value)					\
	FIELD(_name, GSI_ROUTING, struct routing, _member, _value)
#define SLOT(_name, _nr, _member, _value)				\
	FIELD(_name, SLOTS, struct slots, slot[_nr]._member, _value)

struct routing {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entry;
};

struct slots {
	struct kvmfork_state_slot slot[3];
};

/* Fields of payloads, of the VM or of vCPU 1, and values that they must not have. */
static const struct field {
	const char *name;
	uint32_t type;
	unsigned int offset, size;
	uint64_t value;
	int err;
} fields[] = {
	{ "no virtualization", KVMFORK_STATE_HOST, 0, 4, 0, -EINVAL },
	{ "unknown virtualization", KVMFORK_STATE_HOST, 0, 4, 3, -EINVAL },
	SHAPE("irqchip", irqchip, 3),
	SHAPE("irqchip without devices", irqchip, KVMFORK_STATE_IRQCHIP_NONE),
	SHAPE("irqchip split", irqchip, KVMFORK_STATE_IRQCHIP_SPLIT),
	SHAPE("split_pins", split_pins, 24),
	SHAPE("shape.flags", flags, 4),
	SHAPE("shape.flags high", flags, 1U << 31),
	SHAPE("speaker without PIT", flags, KVMFORK_STATE_SHAPE_SPEAKER),
	SHAPE("no PIT", flags, 0),
	SHAPE("nr_vcpus one less", nr_vcpus, NR_VCPUS - 1),
	SHAPE("nr_vcpus one more", nr_vcpus, NR_VCPUS + 1),
	SHAPE("nr_vcpus none", nr_vcpus, 0),
	SHAPE("nr_vcpus many", nr_vcpus, 100000),
	SHAPE("nr_vcpus all", nr_vcpus, -1),
	SHAPE("tss_addr", tss_addr, 0xfffbd001),
	SHAPE("identity_map_addr", identity_map_addr, 1),
	SHAPE("traps", traps, 2),
	SHAPE("traps high", traps, 1ULL << 63),
	{ "unknown capability", KVMFORK_STATE_CAPS, 0, 4, 0xffff, -EOPNOTSUPP },
	{ "capability twice", KVMFORK_STATE_CAPS, 0, 4, KVM_CAP_X2APIC_API, -EINVAL },
	{ "cap.reserved", KVMFORK_STATE_CAPS, 4, 4, 1, -EINVAL },
	{ "memory size", KVMFORK_STATE_MEMORIES, 0, 8, PAGE_SIZE, -EINVAL },
	{ "memory size 0", KVMFORK_STATE_MEMORIES, 8, 8, 0, -EINVAL },
	{ "memory size huge", KVMFORK_STATE_MEMORIES, 8, 8, -PAGE_SIZE, -EINVAL },
	SLOT("slot twice", 1, region.slot, 0),
	SLOT("slot falls", 0, region.slot, 5),
	SLOT("slot number", 2, region.slot, 0x7fff),
	SLOT("address space", 2, region.slot, 0x20001),
	SLOT("slot flags", 2, region.flags, 4),
	SLOT("slot flags high", 2, region.flags, 1U << 31),
	SLOT("slot gpa", 1, region.guest_phys_addr, 1),
	SLOT("slot gpa wraps", 1, region.guest_phys_addr, -PAGE_SIZE),
	SLOT("slots overlap", 1, region.guest_phys_addr, RAM_GPA),
	SLOT("slots overlap by a page", 1, region.guest_phys_addr, RAM_GPA + HALF - PAGE_SIZE),
	SLOT("slot size 0", 1, region.memory_size, 0),
	SLOT("slot size odd", 1, region.memory_size, 1),
	SLOT("slot size huge", 1, region.memory_size, -PAGE_SIZE),
	SLOT("slot beyond its memory", 2, region.memory_size, HALF + PAGE_SIZE),
	SLOT("slot address odd", 1, region.userspace_addr, 0x1001),
	SLOT("slot address of the kernel", 1, region.userspace_addr, 0xffffffff80000000),
	SLOT("slot address wraps", 1, region.userspace_addr, -PAGE_SIZE),
	SLOT("slot address not canonical", 1, region.userspace_addr, 1ULL << 60),
	SLOT("slot offset odd", 1, offset, 1),
	SLOT("slot offset beyond", 1, offset, RAM_SIZE),
	SLOT("slot offset huge", 1, offset, -PAGE_SIZE),
	SLOT("slot memory", 1, memory, 2),
	SLOT("slot memory huge", 1, memory, -1),
	SLOT("slot.reserved", 1, reserved, 1),
	ROUTE("routes fewer", head.nr, 1),
	ROUTE("routes more", head.nr, 4096),
	ROUTE("routes all", head.nr, -1),
	ROUTE("routing.flags", head.flags, 1),
	ROUTE("route GSI", entry.gsi, 4096),
	ROUTE("route GSI falls", entry.gsi, 100),
	ROUTE("route type 0", entry.type, 0),
	ROUTE("route to Hyper-V", entry.type, KVM_IRQ_ROUTING_HV_SINT),
	ROUTE("route to Xen", entry.type, KVM_IRQ_ROUTING_XEN_EVTCHN),
	ROUTE("route.flags", entry.flags, 1),
	ROUTE("route.pad", entry.pad, 1),
	FIELD("clock.flags", CLOCK, struct kvm_clock_data, flags, 0),
	FIELD("clock.flags unknown", CLOCK, struct kvm_clock_data, flags, 0x1e),
	{ "clock.pad", KVMFORK_STATE_CLOCK, offsetof(struct kvm_clock_data, pad), 4, 1, -EINVAL },
	{ "cpuid.nent 0", KVMFORK_STATE_CPUID, 0, 4, 0, -EINVAL },
	{ "cpuid.nent 1", KVMFORK_STATE_CPUID, 0, 4, 1, -EINVAL },
	{ "cpuid.nent all", KVMFORK_STATE_CPUID, 0, 4, -1, -EINVAL },
	{ "cpuid.nent wraps", KVMFORK_STATE_CPUID, 0, 4, 0x66666667, -EINVAL },
	{ "xsave features", KVMFORK_STATE_XSAVE, 512, 8, 1ULL << 62, -EOPNOTSUPP },
	{ "mce.mcg_cap", KVMFORK_STATE_MCE, 0, 8, 0xff, -EINVAL },
	{ "mce.mcg_cap 0", KVMFORK_STATE_MCE, 0, 8, 0, -EINVAL },
	{ "unknown MSR", KVMFORK_STATE_MSRS, 0, 4, 0x12345678, -EOPNOTSUPP },
	{ "MSR_IA32_TSC", KVMFORK_STATE_MSRS, 0, 4, 0x10, -EOPNOTSUPP },
	{ "msr.reserved", KVMFORK_STATE_MSRS, 4, 4, 1, -EINVAL },
	FIELD("run.reserved", RUN, struct kvmfork_state_run, reserved[0], 1),
	{ "PIC slave", KVMFORK_STATE_PIC_SLAVE, 0, 4, 0, -EINVAL },
	{ "PIC master", KVMFORK_STATE_PIC_MASTER, 0, 4, 1, -EINVAL },
	{ "I/O APIC", KVMFORK_STATE_IOAPIC, 0, 4, 3, -EINVAL },
};

TEST_F(load, fields)
{
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		const struct field *field = &fields[i];
		struct kvmfork_state_record *record;

		start_over(self);
		record = blob_find(&self->wrong, field->type, KVMFORK_STATE_VM) ?:
			 blob_find(&self->wrong, field->type, 1);
		ASSERT_TRUE(record) TH_LOG("%s", field->name);
		memcpy((uint8_t *)blob_payload(record) + field->offset, &field->value,
		       field->size);
		ASSERT_NE(0, memcmp(self->wrong.bytes, self->right.bytes, self->right.size))
			TH_LOG("%s is just that", field->name);
		EXPECT_EQ(field->err, load_wrong(self))
			TH_LOG("%s: %s", field->name, self->call.message);
		/* What only does not fit to a later record is said there. */
		if (field->type != KVMFORK_STATE_SHAPE)
			EXPECT_TRUE(names(self, record))
				TH_LOG("%s: %s", field->name, self->call.message);
		EXPECT_EQ(0, strncmp(self->call.message, "state, offset ", 14))
			TH_LOG("%s: %s", field->name, self->call.message);
	}
}

TEST_F(load, of_the_other_vendor)
{
	struct kvmfork_state_host *host;

	start_over(self);
	host = blob_payload(blob_find(&self->wrong, KVMFORK_STATE_HOST, KVMFORK_STATE_VM));
	host->virtualization ^= KVMFORK_STATE_HOST_SVM ^ KVMFORK_STATE_HOST_VMX;
	EXPECT_EQ(-EOPNOTSUPP, load_wrong(self));
	EXPECT_TRUE(strstr(self->call.message, "SVM") && strstr(self->call.message, "VMX"))
		TH_LOG("%s", self->call.message);
}

static struct kvmfork_state_slot *slots_of(struct blob *blob)
{
	return blob_payload(blob_find(blob, KVMFORK_STATE_SLOTS, KVMFORK_STATE_VM));
}

/* Two slots may show one page of one memory, but not different ones at an address. */
TEST_F(load, overlap_in_user_memory)
{
	struct kvmfork_state_slot *slots;

	start_over(self);
	slots = slots_of(&self->wrong);
	slots[2].region.userspace_addr = slots[1].region.userspace_addr;
	EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("%s", self->call.message);
	slots[2].offset = slots[1].offset;
	EXPECT_EQ(0, load_wrong(self)) TH_LOG("%s", self->call.message);
	slots[2].region.userspace_addr += PAGE_SIZE;
	EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("%s", self->call.message);
	/* A memory that no slot shows; memories that are not in order. */
	start_over(self);
	for (int i = 0; i < 3; i++)
		slots[i].memory = 0;
	slots[1].region.memory_size = PAGE_SIZE;
	EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("%s", self->call.message);
	start_over(self);
	for (int i = 0; i < 3; i++)
		slots[i].memory ^= 1;
	EXPECT_EQ(-EINVAL, load_wrong(self)) TH_LOG("%s", self->call.message);
}

TEST_F(load, msr_twice)
{
	struct kvm_msr_entry *entries;

	start_over(self);
	entries = blob_payload(blob_find(&self->wrong, KVMFORK_STATE_MSRS, 1));
	entries[3].index = entries[0].index;
	EXPECT_EQ(-EINVAL, load_wrong(self));
	EXPECT_TRUE(strstr(self->call.message, "twice")) TH_LOG("%s", self->call.message);
}

/* What this module has no opinion of and KVM does not take: the spawn fails. */
TEST_F(load, refused_by_kvm)
{
	struct proc_state before, after;
	struct fork_call call;
	int fd;

	start_over(self);
	((struct kvm_sregs2 *)blob_payload(blob_find(&self->wrong, KVMFORK_STATE_SREGS, 1)))->cr0 =
		1ULL << 63;
	self->call.args.state = (unsigned long)self->wrong.bytes;
	self->call.args.size = self->wrong.size;
	fd = load_call_run(&self->call);
	ASSERT_LE(0, fd);
	proc_state_get(&before);
	for (int i = 0; i < 3; i++) {
		spawn_call_init(&call);
		EXPECT_EQ(-EINVAL, fork_call_spawn(&call, fd));
		EXPECT_TRUE(strstr(call.message, "KVM_SET_SREGS2")) TH_LOG("%s", call.message);
	}
	proc_state_get(&after);
	EXPECT_TRUE(proc_state_equal(&before, &after));
	close(fd);
}

TEST_HARNESS_MAIN
