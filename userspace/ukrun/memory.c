// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvmfork.h>

#include "log.h"
#include "memory.h"
#include "option.h"
#include "vm.h"

#define HUGE_PAGE	(2UL << 20)
#define PAGE		4096UL

static void memory_option_size(struct vm *vm, const char *arg)
{
	unsigned long long n;
	unsigned int shift = 20;
	char *end;

	if (!strncmp(arg, "size=", 5))
		arg += 5;
	errno = 0;
	n = strtoull(arg, &end, 10);
	if (end != arg && *end) {
		const char *suffix = strchr("KkMmGg", *end);

		shift = !suffix ? 64 : *suffix == 'K' || *suffix == 'k' ? 10 :
			*suffix == 'M' || *suffix == 'm' ? 20 : 30;
		end++;
	}
	if (*arg < '0' || *arg > '9' || errno || *end || shift == 64 || n > (~0ULL >> shift))
		die("-m %s: not a size, such as 64 (MiB), 512M or 2G", arg);
	n = (n << shift) & ~(PAGE - 1);
	if (n < HUGE_PAGE || n > MEMORY_SIZE_MAX)
		die("-m %s: a VM has between 2M and %lluG of memory", arg, MEMORY_SIZE_MAX >> 30);
	vm->config.memory_size = n;
}

DECLARE_OPTION(m, {
	.name = "m",
	.arg = "SIZE",
	.help = "memory of the VM: M unless K, M or G follows (64M)",
	.handle = memory_option_size,
});

static void memory_option_huge_pages(struct vm *vm, const char *arg)
{
	if (!strcmp(arg, "off"))
		vm->config.memory_flags = 0;
	else if (!strcmp(arg, "share"))
		vm->config.memory_flags = KVMFORK_MEMORY_HUGE;
	else if (!strcmp(arg, "copy"))
		vm->config.memory_flags = KVMFORK_MEMORY_HUGE | KVMFORK_MEMORY_HUGE_COPY;
	else
		die("--huge-pages %s: choose off, share or copy", arg);
}

DECLARE_OPTION(huge_pages, {
	.name = "huge-pages",
	.arg = "HOW",
	.help = "memory of 2 MiB pages: share (a write after a fork copies 4 KiB), copy (copies 2 MiB), off (off)",
	.handle = memory_option_huge_pages,
});

static int memory_open(struct vm *vm)
{
	struct kvmfork_create_memory create = {
		.size = vm->memory.size,
		.flags = vm->config.memory_flags,
	};
	int device, fd;

	if (vm->config.fork_on == FORK_ON_OFF) {
		fd = memfd_create("guest memory", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, vm->memory.size))
			die_errno("guest memory of %llu MiB",
				  (unsigned long long)vm->memory.size >> 20);
		return fd;
	}
	device = open("/dev/kvmfork", O_RDWR | O_CLOEXEC);
	if (device < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		die("/dev/kvmfork: %s: load the module with 'insmod kvmfork.ko', or run without forks: --fork-on=off",
		    strerror(errno));
	if (device < 0 && errno == EACCES)
		die("/dev/kvmfork: %s: be root or in the group that 'ls -l /dev/kvmfork' shows",
		    strerror(errno));
	if (device < 0)
		die_errno("/dev/kvmfork");
	fd = ioctl(device, KVMFORK_CREATE_MEMORY, &create);
	if (fd < 0 && errno == EOPNOTSUPP)
		die("--huge-pages: this kernel has no transparent huge pages: run without");
	if (fd < 0)
		die_errno("/dev/kvmfork: guest memory of %llu MiB",
			  (unsigned long long)vm->memory.size >> 20);
	close(device);
	return fd;
}

/* Host and guest addresses agree modulo 2 MiB, or KVM cannot use huge pages. */
static uint8_t *memory_map(struct vm *vm, int fd)
{
	size_t size = vm->memory.size;
	size_t span = (size + 2 * HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	uint8_t *area, *base;

	area = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		die_errno("addresses for %zu MiB of guest memory", size >> 20);
	base = (uint8_t *)(((uintptr_t)area + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
		 fd, 0) == MAP_FAILED)
		die_errno("mapping %zu MiB of guest memory", size >> 20);
	if (base > area)
		munmap(area, base - area);
	if (area + span > base + size)
		munmap(base + size, area + span - (base + size));
	/* Without forks the memory is not of the module; then this is but a wish. */
	if (vm->config.memory_flags)
		madvise(base, size, MADV_HUGEPAGE);
	/* A child gets its own from the module. */
	if (madvise(base, size, MADV_DONTFORK))
		die_errno("keeping guest memory out of children");
	return base;
}

static void memory_add_slot(struct vm *vm, uint32_t slot, uint64_t gpa, uint64_t size, void *at)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)at,
	};

	if (size && ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
		die_errno("/dev/kvm: memory at 0x%llx", (unsigned long long)gpa);
}

void memory_create(struct vm *vm)
{
	struct memory *memory = &vm->memory;

	memory->size = vm->config.memory_size;
	memory->low = memory->size < MEMORY_LOW_MAX ? memory->size : MEMORY_LOW_MAX;
	memory->fd = memory_open(vm);
	memory->base = memory_map(vm, memory->fd);
	memory_add_slot(vm, 0, 0, memory->low, memory->base);
	memory_add_slot(vm, 1, MEMORY_HIGH_START, memory->size - memory->low,
			memory->base + memory->low);
}

void memory_release(struct vm *vm)
{
	munmap(vm->memory.base, vm->memory.size);
	close(vm->memory.fd);
	vm->memory.fd = -1;
}

void *memory_at(const struct vm *vm, uint64_t gpa, uint64_t size)
{
	const struct memory *memory = &vm->memory;

	if (gpa < memory->low && size <= memory->low - gpa)
		return memory->base + gpa;
	if (gpa < MEMORY_HIGH_START || gpa - MEMORY_HIGH_START >= memory->size - memory->low)
		return NULL;
	gpa -= MEMORY_HIGH_START;
	if (size > memory->size - memory->low - gpa)
		return NULL;
	return memory->base + memory->low + gpa;
}

unsigned int memory_ranges(const struct vm *vm, struct memory_range *ranges)
{
	const struct memory *memory = &vm->memory;
	unsigned int n = 0;

	/* Not a word of 640 KiB to LOW_ACPI: guests add the PC's hole themselves. */
	ranges[n++] = (struct memory_range){ 0, LOW_RAM_END, MEMORY_RAM };
	ranges[n++] = (struct memory_range){ LOW_RAM_END, 0xa0000 - LOW_RAM_END, MEMORY_RESERVED };
	ranges[n++] = (struct memory_range){ LOW_ACPI, LOW_END - LOW_ACPI, MEMORY_RESERVED };
	ranges[n++] = (struct memory_range){ LOW_END, memory->low - LOW_END, MEMORY_RAM };
	if (memory->size > memory->low)
		ranges[n++] = (struct memory_range){
			MEMORY_HIGH_START, memory->size - memory->low, MEMORY_RAM,
		};
	return n;
}

int memory_read(const struct vm *vm, uint64_t gpa, void *to, size_t size)
{
	const uint8_t *at = memory_at(vm, gpa, size);

	if (!at)
		return -EFAULT;
	return pread(vm->memory.fd, to, size, at - vm->memory.base) == (ssize_t)size ? 0 : -EIO;
}

int memory_write(const struct vm *vm, uint64_t gpa, const void *from, size_t size)
{
	const uint8_t *at = memory_at(vm, gpa, size);

	if (!at)
		return -EFAULT;
	return pwrite(vm->memory.fd, from, size, at - vm->memory.base) == (ssize_t)size ? 0 : -EIO;
}

void *memory_claim(struct vm *vm, uint64_t gpa, uint64_t size, const char *what)
{
	struct memory *memory = &vm->memory;
	struct memory_claim *claim;
	unsigned int i;

	if (size > UINT64_MAX - gpa)
		die("%s: %s wraps around the address space", vm->config.image, what);
	if (gpa < LOW_END && (gpa < LOW_AP_CODE || gpa + size > memory->low_free))
		die("%s: %s is at 0x%llx: images load at 1 MiB (0x100000) or above, what lies below is needed to boot",
		    vm->config.image, what, (unsigned long long)gpa);
	if (!memory_at(vm, gpa, size)) {
		uint64_t need = gpa + size;

		if (gpa < MEMORY_HIGH_START && need > MEMORY_LOW_MAX)
			die("%s: %s is at 0x%llx to 0x%llx, where no VM has memory (2.75 to 4 GiB are for devices)",
			    vm->config.image, what, (unsigned long long)gpa,
			    (unsigned long long)need);
		if (gpa >= MEMORY_HIGH_START)
			need -= MEMORY_HIGH_START - MEMORY_LOW_MAX;
		die("%s: too large for %llu MiB of memory: %s ends at 0x%llx: it takes -m %lluM or more",
		    vm->config.image, (unsigned long long)memory->size >> 20, what,
		    (unsigned long long)(gpa + size),
		    (unsigned long long)(need + (1 << 20) - 1) >> 20);
	}
	for (i = 0; i < memory->nr_claims; i++) {
		claim = &memory->claims[i];
		if (gpa < claim->end && claim->start < gpa + size)
			die("%s: %s (0x%llx to 0x%llx) overlaps %s (0x%llx to 0x%llx)",
			    vm->config.image, what, (unsigned long long)gpa,
			    (unsigned long long)(gpa + size), claim->what,
			    (unsigned long long)claim->start, (unsigned long long)claim->end);
	}
	memory->claims = realloc(memory->claims, (memory->nr_claims + 1) * sizeof(*claim));
	if (!memory->claims)
		die("out of memory on the host");
	claim = &memory->claims[memory->nr_claims++];
	claim->start = gpa;
	claim->end = gpa + size;
	snprintf(claim->what, sizeof(claim->what), "%s", what);
	return memory_at(vm, gpa, size);
}

uint64_t memory_claimed_end(const struct vm *vm)
{
	const struct memory *memory = &vm->memory;
	uint64_t top = LOW_END;
	unsigned int i;

	for (i = 0; i < memory->nr_claims; i++)
		if (memory->claims[i].start < memory->low && memory->claims[i].end > top)
			top = memory->claims[i].end;
	return (top + PAGE - 1) & ~(PAGE - 1);
}

uint64_t memory_claim_free(struct vm *vm, uint64_t size, uint64_t limit, const char *what)
{
	const struct memory *memory = &vm->memory;
	uint64_t top = memory_claimed_end(vm);
	uint64_t gpa = top;

	if (limit) {
		if (limit > memory->low)
			limit = memory->low;
		/* Too small: the claim at @top says how much it takes. */
		if (size <= limit && limit - size >= top)
			gpa = (limit - size) & ~(PAGE - 1);
	}
	memory_claim(vm, gpa, size, what);
	return gpa;
}

uint64_t memory_put_cmdline(struct vm *vm, const char *text)
{
	size_t size = strlen(text) + 1;

	if (size > LOW_CMDLINE_SIZE)
		die("command line of %zu bytes: no more than %d fit", size - 1,
		    LOW_CMDLINE_SIZE - 1);
	memcpy(memory_at(vm, LOW_CMDLINE, size), text, size);
	return LOW_CMDLINE;
}
