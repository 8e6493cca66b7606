// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fork.h"
#include "util.h"
#include "vm.h"

int kvm_device(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	TEST_REQUIRE(fd >= 0, "/dev/kvm: %m");
	return fd;
}

int kvm_check_cap(int cap)
{
	return xioctl(kvm_device(), KVM_CHECK_EXTENSION, (void *)(long)cap);
}

static void vm_create_irqchip(struct vm *vm, enum vm_irqchip irqchip)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	switch (irqchip) {
	case VM_IRQCHIP_NONE:
		break;
	case VM_IRQCHIP_SPLIT:
		TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_ENABLE_CAP, &split), "split irqchip: %m");
		break;
	case VM_IRQCHIP_KERNEL:
		TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, NULL), "irqchip: %m");
		TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit), "PIT: %m");
		break;
	}
}

void vm_create(struct vm *vm, enum vm_irqchip irqchip)
{
	uint64_t identity_map = 0xfeffc000;

	memset(vm, 0, sizeof(*vm));
	vm->attach_fd = -1;
	vm->vm_fd = xioctl(kvm_device(), KVM_CREATE_VM, NULL);
	TEST_REQUIRE(vm->vm_fd >= 0, "KVM_CREATE_VM: %m");
	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map),
		     "KVM_SET_IDENTITY_MAP_ADDR: %m");
	TEST_REQUIRE(!xioctl(vm->vm_fd, KVM_SET_TSS_ADDR, (void *)0xfeffd000UL),
		     "KVM_SET_TSS_ADDR: %m");
	vm_create_irqchip(vm, irqchip);
}

void vm_close(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		munmap(vm->vcpus[i].run, xioctl(kvm_device(), KVM_GET_VCPU_MMAP_SIZE, NULL));
		close(vm->vcpus[i].fd);
	}
	if (vm->attach_fd >= 0)
		close(vm->attach_fd);
	close(vm->vm_fd);
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		struct vm_slot *slot = &vm->slots[i];

		munmap(slot->hva, slot->size);
		if (slot->memory_fd < 0)
			continue;
		/* Slots of one file have the same fd. */
		for (unsigned int j = i + 1; j < vm->nr_slots; j++)
			if (vm->slots[j].memory_fd == slot->memory_fd)
				vm->slots[j].memory_fd = -1;
		close(slot->memory_fd);
	}
	memset(vm, 0, sizeof(*vm));
	vm->attach_fd = -1;
	vm->vm_fd = -1;
}

int __vm_slot_set(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa,
		  uint64_t size, void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (unsigned long)hva,
	};

	return xioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

void vm_slot_add(struct vm *vm, uint32_t flags, uint64_t gpa, uint64_t size,
		 void *hva, int memory_fd, uint64_t offset)
{
	struct vm_slot *slot = &vm->slots[vm->nr_slots];

	TEST_REQUIRE(vm->nr_slots < VM_MAX_SLOTS, "too many slots");
	slot->slot = vm->nr_slots++;
	slot->flags = flags;
	slot->gpa = gpa;
	slot->size = size;
	slot->offset = offset;
	slot->hva = hva;
	slot->memory_fd = memory_fd;
	TEST_REQUIRE(!__vm_slot_set(vm, slot->slot, flags, gpa, size, hva),
		     "KVM_SET_USER_MEMORY_REGION: %m");
}

void *vm_memory_add(struct vm *vm, uint32_t flags, uint64_t gpa, uint64_t size)
{
	int fd = memory_create(size);
	void *hva = memory_map(fd, size);

	vm_slot_add(vm, flags, gpa, size, hva, fd, 0);
	return hva;
}

void *vm_hva(struct vm *vm, uint64_t gpa)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		if (gpa - vm->slots[i].gpa < vm->slots[i].size)
			return vm->slots[i].hva + (gpa - vm->slots[i].gpa);
	test_fail(__FILE__, __LINE__, "no memory at guest address 0x%lx", (unsigned long)gpa);
}

void vcpu_map(struct vcpu *vcpu, uint32_t id, int fd)
{
	int size = xioctl(kvm_device(), KVM_GET_VCPU_MMAP_SIZE, NULL);

	vcpu->fd = fd;
	vcpu->id = id;
	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_REQUIRE(vcpu->run != MAP_FAILED, "mmap of vCPU %u: %m", id);
}

void vcpu_set_cpuid(struct vcpu *vcpu)
{
	struct vcpu_cpuid cpuid = { .head.nent = ARRAY_LENGTH(cpuid.entries) };

	TEST_REQUIRE(!xioctl(kvm_device(), KVM_GET_SUPPORTED_CPUID, &cpuid),
		     "KVM_GET_SUPPORTED_CPUID: %m");
	if (kvm_check_cap(KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		for (unsigned int i = 0; i < cpuid.head.nent; i++)
			if (cpuid.entries[i].function == 1)
				cpuid.entries[i].ecx |= 1 << 24;
	TEST_REQUIRE(!xioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2: %m");
}

/* 6.1 never says how many there are: only so many fit, or they do not. */
int vcpu_get_cpuid(struct vcpu *vcpu, struct vcpu_cpuid *cpuid)
{
	unsigned int nr = 0;
	int ret;

	do {
		cpuid->head.nent = nr;
		ret = xioctl(vcpu->fd, KVM_GET_CPUID2, cpuid);
	} while (ret == -E2BIG && nr++ < ARRAY_LENGTH(cpuid->entries));
	cpuid->head.nent = nr;
	return ret;
}

struct vcpu *vcpu_add(struct vm *vm, uint32_t id)
{
	struct vcpu *vcpu = &vm->vcpus[vm->nr_vcpus];
	int fd;

	TEST_REQUIRE(vm->nr_vcpus < VM_MAX_VCPUS, "too many vCPUs");
	fd = xioctl(vm->vm_fd, KVM_CREATE_VCPU, (void *)(unsigned long)id);
	TEST_REQUIRE(fd >= 0, "KVM_CREATE_VCPU %u: %m", id);
	vcpu_map(vcpu, id, fd);
	vcpu_set_cpuid(vcpu);
	vm->nr_vcpus++;
	return vcpu;
}

void vm_create_default(struct vm *vm, enum vm_irqchip irqchip, unsigned int nr_vcpus)
{
	vm_create(vm, irqchip);
	vm_memory_add(vm, 0, 0, GUEST_MEMORY);
	vm_load_guest(vm);
	for (unsigned int id = 0; id < nr_vcpus; id++)
		vcpu_add(vm, id);
	vm->attach_fd = vm_attach(vm->vm_fd);
}

int __vcpu_run(struct vcpu *vcpu)
{
	return xioctl(vcpu->fd, KVM_RUN, NULL);
}

void vcpu_run(struct vcpu *vcpu)
{
	int ret;

	do {
		ret = __vcpu_run(vcpu);
	} while (ret == -EINTR);
	TEST_REQUIRE(!ret, "KVM_RUN of vCPU %u: %s", vcpu->id, strerror(-ret));
}

void *vcpu_pio_data(struct vcpu *vcpu)
{
	return (char *)vcpu->run + vcpu->run->io.data_offset;
}

uint32_t vcpu_run_to_port(struct vcpu *vcpu, uint16_t port)
{
	struct kvm_run *run = vcpu->run;

	vcpu_run(vcpu);
	TEST_REQUIRE(run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
		     run->io.port == port,
		     "vCPU %u: exit %u (port 0x%x, error %u) instead of a write to port 0x%x",
		     vcpu->id, run->exit_reason, run->io.port, run->internal.suberror, port);
	return *(uint32_t *)vcpu_pio_data(vcpu);
}

int __vcpu_complete_io(struct vcpu *vcpu)
{
	int ret;

	vcpu->run->immediate_exit = 1;
	ret = __vcpu_run(vcpu);
	vcpu->run->immediate_exit = 0;
	return ret;
}

int __vcpu_get_msr(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = index };
	int ret = xioctl(vcpu->fd, KVM_GET_MSRS, &msrs);

	*value = msrs.entry.data;
	return ret < 0 ? ret : ret == 1 ? 0 : -ENOENT;
}

uint64_t vcpu_get_msr(struct vcpu *vcpu, uint32_t index)
{
	uint64_t value;

	TEST_REQUIRE(!__vcpu_get_msr(vcpu, index, &value), "MSR 0x%x cannot be read", index);
	return value;
}

int __vcpu_set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };
	int ret = xioctl(vcpu->fd, KVM_SET_MSRS, &msrs);

	return ret < 0 ? ret : ret == 1 ? 0 : -EINVAL;
}
