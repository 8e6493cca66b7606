// SPDX-License-Identifier: GPL-2.0-only
/* State of the VM itself: interrupt controllers, PIT, clock, routes, slots. */
#include "fork.h"
#include "harness.h"
#include "save.h"
#include "state.h"

#define RAM_GPA		(16UL << 20)
#define RAM_SIZE	(8 * PAGE_SIZE)
#define APIC_IRR	0x200

static struct state_image fresh, parent_before, parent_after, child_image;

FIXTURE(vm_state) {
	struct vm vm, child;
};

FIXTURE_SETUP(vm_state)
{
	vm_create_default(&self->vm, VM_IRQCHIP_KERNEL, 1);
	vcpu_start(&self->vm.vcpus[0], 0, guest_count, 0);
	state_image_get(&self->vm, 0, &fresh);
}

FIXTURE_TEARDOWN(vm_state)
{
	vm_close(&self->vm);
}

static unsigned int fork_and_compare(FIXTURE_DATA(vm_state) *self, enum state_id distinct)
{
	unsigned int different;

	state_image_get(&self->vm, 0, &parent_before);
	TEST_REQUIRE(!state_equal(&fresh.states[distinct], &parent_before.states[distinct]),
		     "%s was not changed by the test", state_name(distinct));
	vm_fork(&self->vm, &self->child);
	state_image_get(&self->child, 0, &child_image);
	state_image_get(&self->vm, 0, &parent_after);
	different = state_image_compare(&parent_before, &child_image) +
		    100 * state_image_compare(&parent_before, &parent_after);
	vm_close(&self->child);
	return different;
}

static void set_pic(struct vm *vm, unsigned int nr)
{
	struct kvm_irqchip chip = { .chip_id = nr };

	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_GET_IRQCHIP, &chip), "KVM_GET_IRQCHIP: %m");
	chip.chip.pic.imr = 0xa4 + nr;
	chip.chip.pic.irq_base = 0x20 + 8 * nr;
	chip.chip.pic.isr = 0x02;
	chip.chip.pic.priority_add = 3;
	chip.chip.pic.elcr = 0x08 << nr;
	chip.chip.pic.init4 = 1;
	chip.chip.pic.special_mask = 1;
	chip.chip.pic.auto_eoi = 1;
	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_SET_IRQCHIP, &chip), "KVM_SET_IRQCHIP: %m");
}

TEST_F(vm_state, pic_master)
{
	set_pic(&self->vm, KVM_IRQCHIP_PIC_MASTER);
	EXPECT_EQ(0, fork_and_compare(self, STATE_PIC_MASTER));
}

TEST_F(vm_state, pic_slave)
{
	set_pic(&self->vm, KVM_IRQCHIP_PIC_SLAVE);
	EXPECT_EQ(0, fork_and_compare(self, STATE_PIC_SLAVE));
}

TEST_F(vm_state, ioapic)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_IRQCHIP, &chip));
	chip.chip.ioapic.id = 5;
	chip.chip.ioapic.ioregsel = 0x12;
	for (int i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		/* Masked, physical destination 0, vectors of their own. */
		chip.chip.ioapic.redirtbl[i].bits = 0x10000 | (0x30 + i) | (i & 1) << 15;
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_SET_IRQCHIP, &chip));
	EXPECT_EQ(0, fork_and_compare(self, STATE_IOAPIC));
}

/* Raised in the parent and never lowered. */
TEST_F(vm_state, raised_lines)
{
	struct kvm_irq_level irq = { .irq = 5, .level = 1 };

	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_IRQ_LINE, &irq));
	irq.irq = 11;
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_IRQ_LINE, &irq));
	EXPECT_EQ(0, fork_and_compare(self, STATE_PIC_MASTER));
}

TEST_F(vm_state, pit)
{
	struct kvm_pit_state2 pit;

	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_PIT2, &pit));
	for (int i = 0; i < 3; i++) {
		pit.channels[i].count = 0x4321 + i;
		/* Hardware-triggered: the first one shall raise nothing meanwhile. */
		pit.channels[i].mode = i == 0 ? 5 : 3;
		pit.channels[i].bcd = 0;
		pit.channels[i].gate = i == 2;
		pit.channels[i].read_state = 3;
		pit.channels[i].write_state = 3;
		pit.channels[i].rw_mode = 3;
		pit.channels[i].latched_count = 0x1234;
	}
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_SET_PIT2, &pit));
	EXPECT_EQ(0, fork_and_compare(self, STATE_PIT));
}

TEST_F(vm_state, pit_without_speaker_and_hpet_mode)
{
	struct kvm_pit_state2 pit;

	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_PIT2, &pit));
	pit.flags |= KVM_PIT_FLAGS_HPET_LEGACY;
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_SET_PIT2, &pit));
	EXPECT_EQ(0, fork_and_compare(self, STATE_PIT));
}

/* An in-kernel irqchip without a PIT stays without. */
TEST(no_pit)
{
	struct kvm_pit_state2 pit;
	struct vm vm, child;

	vm_create(&vm, VM_IRQCHIP_NONE);
	ASSERT_EQ(0, xioctl(vm.vm_fd, KVM_CREATE_IRQCHIP, NULL));
	vm.attach_fd = vm_attach(vm.vm_fd);
	vm_fork(&vm, &child);
	EXPECT_EQ(-ENXIO, xioctl(child.vm_fd, KVM_GET_PIT2, &pit));
	EXPECT_EQ(-EEXIST, xioctl(child.vm_fd, KVM_CREATE_IRQCHIP, NULL));
	vm_close(&child);
	vm_close(&vm);
}

TEST_F(vm_state, clock)
{
	struct kvm_clock_data set = { .clock = 123456789000000000ULL }, before, child, after;

	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_SET_CLOCK, &set));
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_CLOCK, &before));
	vm_fork(&self->vm, &self->child);
	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_CLOCK, &child));
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_CLOCK, &after));
	EXPECT_LE(before.clock, child.clock);
	EXPECT_GE(after.clock + 5000000, child.clock)
		TH_LOG("the child's clock is %lld ns ahead", (long long)(child.clock - after.clock));
	vm_close(&self->child);
}

/* The template's clock stood still, or went on; it never goes back. */
TEST_F(vm_state, clock_of_a_template)
{
	struct kvm_clock_data before, child;
	int fd;

	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_CLOCK, &before));
	fd = vm_freeze(&self->vm);
	usleep(200000);
	vm_spawn(fd, &self->vm, &self->child);
	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_CLOCK, &child));
	EXPECT_LE(before.clock, child.clock);
	vm_close(&self->child);
	close(fd);
}

static bool irr_has(struct vm *vm, unsigned int vector)
{
	struct kvm_lapic_state lapic;

	TEST_REQUIRE(!xioctl(vm->vcpus[0].fd, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC: %m");
	return lapic.regs[APIC_IRR + vector / 32 * 0x10 + vector % 32 / 8] & 1 << vector % 8;
}

static void enable_lapic(struct vm *vm)
{
	struct kvm_lapic_state lapic;

	TEST_REQUIRE(!xioctl(vm->vcpus[0].fd, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC: %m");
	lapic.regs[0xf1] |= 1;
	TEST_REQUIRE(!xioctl(vm->vcpus[0].fd, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC: %m");
}

struct routing {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entries[4];
};

/* GSI 30 and 3000 to MSIs, GSI 31 to nothing, GSI 4 to the IOAPIC's pin 9. */
static const struct routing routing = {
	.head.nr = 3,
	.entries = {
		{ .gsi = 30, .type = KVM_IRQ_ROUTING_MSI,
		  .u.msi = { .address_lo = 0xfee00000, .data = 0x4071 } },
		{ .gsi = 300, .type = KVM_IRQ_ROUTING_MSI,
		  .u.msi = { .address_lo = 0xfee00000, .data = 0x4092 } },
		{ .gsi = 4, .type = KVM_IRQ_ROUTING_IRQCHIP,
		  .u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = 9 } },
	},
};

static bool ioapic_irr_has(struct vm *vm, unsigned int pin)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_GET_IRQCHIP, &chip), "KVM_GET_IRQCHIP: %m");
	return chip.chip.ioapic.irr & 1 << pin;
}

static int irq_line(struct vm *vm, unsigned int gsi)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = 1 };

	return xioctl(vm->vm_fd, KVM_IRQ_LINE, &irq);
}

TEST_F(vm_state, gsi_routes)
{
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_SET_GSI_ROUTING, &routing));
	enable_lapic(&self->vm);
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(0, irq_line(&self->child, 30));
	EXPECT_TRUE(irr_has(&self->child, 0x71));
	EXPECT_EQ(0, irq_line(&self->child, 300));
	EXPECT_TRUE(irr_has(&self->child, 0x92));
	EXPECT_EQ(0, irq_line(&self->child, 4));
	EXPECT_TRUE(ioapic_irr_has(&self->child, 9));
	EXPECT_FALSE(ioapic_irr_has(&self->child, 4));
	/* None of it in the parent, which has its own. */
	EXPECT_FALSE(irr_has(&self->vm, 0x71));
	EXPECT_FALSE(ioapic_irr_has(&self->vm, 9));
	EXPECT_EQ(0, irq_line(&self->vm, 30));
	EXPECT_TRUE(irr_has(&self->vm, 0x71));
	vm_close(&self->child);
}

TEST_F(vm_state, default_gsi_routes)
{
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(0, irq_line(&self->child, 4));
	EXPECT_TRUE(ioapic_irr_has(&self->child, 4));
	EXPECT_FALSE(ioapic_irr_has(&self->vm, 4));
	vm_close(&self->child);
}

TEST(split_irqchip)
{
	struct vm vm, child;
	struct kvm_irqchip chip = {};
	static const struct routing routes = {
		.head.nr = 1,
		.entries = { { .gsi = 5, .type = KVM_IRQ_ROUTING_MSI,
			       .u.msi = { .address_lo = 0xfee00000, .data = 0x4071 } } },
	};

	vm_create_default(&vm, VM_IRQCHIP_SPLIT, 1);
	ASSERT_EQ(0, xioctl(vm.vm_fd, KVM_SET_GSI_ROUTING, &routes));
	enable_lapic(&vm);
	vm_fork(&vm, &child);
	EXPECT_EQ(-ENXIO, xioctl(child.vm_fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(0, irq_line(&child, 5));
	EXPECT_TRUE(irr_has(&child, 0x71));
	EXPECT_FALSE(irr_has(&vm, 0x71));
	vm_close(&child);
	vm_close(&vm);
}

TEST(no_irqchip)
{
	struct kvm_lapic_state lapic;
	struct kvm_irqchip chip = {};
	struct vm vm, child;

	vm_create_default(&vm, VM_IRQCHIP_NONE, 1);
	vm_fork(&vm, &child);
	EXPECT_EQ(-ENXIO, xioctl(child.vm_fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(-EINVAL, xioctl(child.vcpus[0].fd, KVM_GET_LAPIC, &lapic));
	vm_close(&child);
	vm_close(&vm);
}

static void __guest guest_write_word(uint64_t arg)
{
	guest_write64(arg, 0x77);
	guest_sync(1);
}

TEST_F(vm_state, read_only_slot)
{
	struct vcpu *vcpu;

	vm_memory_add(&self->vm, KVM_MEM_READONLY, RAM_GPA, RAM_SIZE);
	vcpu_start(&self->vm.vcpus[0], 0, guest_write_word, RAM_GPA + 8);
	vm_fork(&self->vm, &self->child);
	vcpu = &self->child.vcpus[0];
	vcpu_run(vcpu);
	EXPECT_EQ(KVM_EXIT_MMIO, vcpu->run->exit_reason);
	EXPECT_EQ(RAM_GPA + 8, vcpu->run->mmio.phys_addr);
	EXPECT_EQ(0, *(uint64_t *)vm_hva(&self->child, RAM_GPA + 8));
	EXPECT_EQ(1, vcpu_run_to_port(vcpu, PORT_SYNC));
	vm_close(&self->child);
}

TEST_F(vm_state, dirty_logging)
{
	uint64_t bitmap = 0;
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = &bitmap };

	vm_memory_add(&self->vm, KVM_MEM_LOG_DIRTY_PAGES, RAM_GPA, RAM_SIZE);
	vm_fork(&self->vm, &self->child);
	/* The child's log is its own, and complete from here on. */
	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_DIRTY_LOG, &log));
	vcpu_start(&self->child.vcpus[0], 0, guest_write_word, RAM_GPA + 3 * PAGE_SIZE);
	vcpu_run_to_port(&self->child.vcpus[0], PORT_SYNC);
	ASSERT_EQ(0, xioctl(self->child.vm_fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(1 << 3, bitmap);
	ASSERT_EQ(0, xioctl(self->vm.vm_fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(0, bitmap & 1 << 3);
	vm_close(&self->child);
}

/* On VMX a page of the VM's own is at this address: no slot can be there. */
TEST_F(vm_state, tss_address)
{
	void *hva = mmap(NULL, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int expected = __vm_slot_set(&self->vm, 9, 0, 0xfeffd000, 3 * PAGE_SIZE, hva);

	if (!expected) {
		ASSERT_EQ(0, __vm_slot_set(&self->vm, 9, 0, 0xfeffd000, 0, NULL));
		SKIP(return, "there is nothing at the TSS address");
	}
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(expected, __vm_slot_set(&self->child, 9, 0, 0xfeffd000, 3 * PAGE_SIZE, hva));
	vm_close(&self->child);
}

/* Of an identity-mapped page table for real mode, on VMX without unrestricted guests. */
TEST_F(vm_state, identity_map_address)
{
	void *hva = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	int expected = __vm_slot_set(&self->vm, 9, 0, 0xfeffc000, PAGE_SIZE, hva);

	if (!expected) {
		ASSERT_EQ(0, __vm_slot_set(&self->vm, 9, 0, 0xfeffc000, 0, NULL));
		SKIP(return, "there is nothing at the identity map's address");
	}
	vm_fork(&self->vm, &self->child);
	EXPECT_EQ(expected, __vm_slot_set(&self->child, 9, 0, 0xfeffc000, PAGE_SIZE, hva));
	vm_close(&self->child);
}

/* What a VM is made with, as an exported state has it. */
static struct kvmfork_state_shape shape_of(struct vm *vm)
{
	struct kvmfork_state_shape shape;
	int fd = vm_freeze(vm);
	struct blob blob;

	template_export(fd, &blob);
	shape = *(struct kvmfork_state_shape *)
		blob_payload(blob_find(&blob, KVMFORK_STATE_SHAPE, KVMFORK_STATE_VM));
	free(blob.bytes);
	close(fd);
	return shape;
}

static bool is_bsp(struct vm *vm, unsigned int index)
{
	struct kvm_sregs sregs;

	TEST_REQUIRE(!xioctl(vm->vcpus[index].fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS: %m");
	return sregs.apic_base & 0x100;
}

TEST(boot_cpu)
{
	struct vm vm, child;

	vm_create(&vm, VM_IRQCHIP_KERNEL);
	ASSERT_EQ(0, xioctl(vm.vm_fd, KVM_SET_BOOT_CPU_ID, (void *)1L));
	vm_memory_add(&vm, 0, 0, GUEST_MEMORY);
	vm_load_guest(&vm);
	vcpu_add(&vm, 0);
	vcpu_add(&vm, 1);
	vm.attach_fd = vm_attach(vm.vm_fd);
	vm_fork(&vm, &child);
	EXPECT_EQ(1, shape_of(&vm).boot_cpu_id);
	EXPECT_EQ(1, shape_of(&child).boot_cpu_id);
	EXPECT_FALSE(is_bsp(&child, 0));
	EXPECT_TRUE(is_bsp(&child, 1));
	vm_close(&child);
	vm_close(&vm);
}

/* Of vCPUs to come. */
TEST(tsc_khz_of_the_vm)
{
	struct vm vm, child;
	long khz;

	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 0);
	khz = xioctl(vm.vm_fd, KVM_GET_TSC_KHZ, NULL);
	if (khz <= 0 || xioctl(vm.vm_fd, KVM_SET_TSC_KHZ, (void *)(khz - 7))) {
		vm_close(&vm);
		SKIP(return, "no KVM_CAP_VM_TSC_CONTROL");
	}
	vm_fork(&vm, &child);
	EXPECT_EQ(khz - 7, shape_of(&vm).tsc_khz);
	EXPECT_EQ(khz - 7, xioctl(child.vm_fd, KVM_GET_TSC_KHZ, NULL));
	vcpu_add(&child, 0);
	EXPECT_EQ(khz - 7, xioctl(child.vcpus[0].fd, KVM_GET_TSC_KHZ, NULL));
	vm_close(&child);
	vm_close(&vm);
}

static int create_pit(struct vm *vm, uint32_t flags)
{
	struct kvm_pit_config config = { .flags = flags };

	return xioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, NULL) ?:
	       xioctl(vm->vm_fd, KVM_CREATE_PIT2, &config);
}

TEST(pit_speaker)
{
	for (uint32_t flags = 0; flags <= KVM_PIT_SPEAKER_DUMMY; flags++) {
		struct vm vm, child;

		vm_create(&vm, VM_IRQCHIP_NONE);
		ASSERT_EQ(0, create_pit(&vm, flags));
		vm.attach_fd = vm_attach(vm.vm_fd);
		vm_fork(&vm, &child);
		EXPECT_EQ(flags ? KVMFORK_STATE_SHAPE_PIT | KVMFORK_STATE_SHAPE_SPEAKER :
				  KVMFORK_STATE_SHAPE_PIT, shape_of(&child).flags);
		EXPECT_EQ(shape_of(&vm).flags, shape_of(&child).flags);
		vm_close(&child);
		vm_close(&vm);
	}
}

/* Without it KVM says what it is: how it counts on is tested in the guest, too. */
static void __guest guest_kvmclock(uint64_t msr)
{
	const uint64_t page = GUEST_DATA + 0x1000;

	guest_wrmsr(msr, page | 1);
	for (;;) {
		uint32_t version;
		uint64_t then, time;

		do {
			version = guest_read32(page);
			then = guest_read64(page + 8);
			time = guest_read64(page + 16);
		} while (version & 1 || version != guest_read32(page));
		guest_write64(GUEST_DATA, time);
		guest_write64(GUEST_DATA + 8, then);
		guest_write64(GUEST_DATA + 16, guest_rdtsc());
		guest_sync(guest_read32(page + 24) != 0);
	}
}

struct kvmclock {
	uint64_t ns, tsc, now;
};

static struct kvmclock run_kvmclock(struct vm *vm)
{
	TEST_REQUIRE(vcpu_run_to_port(&vm->vcpus[0], PORT_SYNC), "the clock has no rate");
	return *(struct kvmclock *)vm_hva(vm, GUEST_DATA);
}

/* The page that KVM keeps for the guest goes on being kept: it is a memory write. */
TEST_F(vm_state, kvmclock_runs)
{
	struct kvmclock before, child, parent;

	vcpu_start(&self->vm.vcpus[0], 0, guest_kvmclock, 0x4b564d01);
	before = run_kvmclock(&self->vm);
	EXPECT_LT(0, before.ns);
	vm_fork(&self->vm, &self->child);
	child = run_kvmclock(&self->child);
	parent = run_kvmclock(&self->vm);
	EXPECT_LE(before.ns, child.ns);
	EXPECT_LE(before.now, child.now);
	EXPECT_LE(child.tsc, child.now);
	EXPECT_LE(before.ns, parent.ns);
	/* Each is kept for its own guest. */
	usleep(20000);
	parent = run_kvmclock(&self->child);
	EXPECT_LE(child.now, parent.now);
	EXPECT_LE(child.ns, parent.ns);
	vm_close(&self->child);
}

TEST_HARNESS_MAIN
