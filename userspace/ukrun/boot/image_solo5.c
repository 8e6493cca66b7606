// SPDX-License-Identifier: GPL-2.0-only
/*
 * Solo5's hvt: an ELF64 with notes that name the interface and the devices,
 * entered with the address of what it has to know (solo5/solo5.h).
 */
#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "boot/image.h"
#include "log.h"
#include "solo5/hvt.h"
#include "vcpu.h"

/* All that ukrun says of the machine, where others have code for further CPUs. */
#define BOOT_INFO_AT	LOW_AP_CODE

struct solo5_page {
	struct solo5_boot_info info;
	struct solo5_manifest manifest;
};

/* The manifest holds 64-bit numbers: in its note it is aligned to those. */
#define MANIFEST_PADDING	4

static bool solo5_abi(const struct image *image, struct solo5_abi *abi)
{
	const void *note;
	size_t size;

	note = image_elf_note(image, SOLO5_NOTE_NAME, SOLO5_NOTE_ABI, &size);
	if (!note || size < sizeof(*abi))
		return false;
	memcpy(abi, note, sizeof(*abi));
	return true;
}

static bool solo5_match(const struct image *image)
{
	struct solo5_abi abi;

	return image_elf_match(image) && solo5_abi(image, &abi);
}

static void solo5_read_manifest(const struct image *image, struct solo5_manifest *manifest)
{
	const uint8_t *note;
	size_t size;

	note = image_elf_note(image, SOLO5_NOTE_NAME, SOLO5_NOTE_MANIFEST, &size);
	if (!note)
		die("%s: a Solo5 image without a manifest", image->path);
	size -= size < MANIFEST_PADDING ? size : MANIFEST_PADDING;
	if (size > sizeof(*manifest) || size < offsetof(struct solo5_manifest, entries))
		die("%s: a damaged Solo5 manifest of %zu bytes", image->path, size);
	memset(manifest, 0, sizeof(*manifest));
	memcpy(manifest, note + MANIFEST_PADDING, size);
	if (manifest->version != SOLO5_MANIFEST_VERSION ||
	    manifest->nr_entries < 1 || manifest->nr_entries > SOLO5_ENTRIES_MAX ||
	    size != offsetof(struct solo5_manifest, entries) +
		    manifest->nr_entries * sizeof(manifest->entries[0]))
		die("%s: a Solo5 manifest of version %u with %u entries in %zu bytes", image->path,
		    manifest->version, manifest->nr_entries, size);
}

static void solo5_prepare(struct vm *vm, const struct image *image)
{
	struct solo5_manifest manifest;
	struct solo5_abi abi;

	solo5_abi(image, &abi);
	if (abi.target != SOLO5_ABI_HVT || abi.version != SOLO5_ABI_VERSION)
		die("%s: made for Solo5's target %u, version %u: ukrun has hvt (%u), version %u",
		    image->path, abi.target, abi.version, SOLO5_ABI_HVT, SOLO5_ABI_VERSION);
	solo5_read_manifest(image, &manifest);
	vm->hvt = hvt_create(vm, &manifest);
}

static void solo5_load(struct vm *vm, const struct image *image, struct boot *boot)
{
	struct solo5_page *page = memory_at(vm, BOOT_INFO_AT, sizeof(*page));
	const char *cmdline = image_cmdline(vm, "", false);
	int tsc_khz = ioctl(vm->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);

	_Static_assert(sizeof(struct solo5_entry) == 104, "a manifest's entry has a wrong size");
	_Static_assert(BOOT_INFO_AT + sizeof(*page) <= LOW_PAGE_TABLES, "boot info overlaps");

	if (vm->config.initrd)
		die("-initrd: this type of image (%s) takes none", "Solo5");
	if (tsc_khz <= 0)
		die("/dev/kvm: the TSC's frequency is not known, and Solo5 guests have no other clock");
	if (strlen(cmdline) > SOLO5_CMDLINE_MAX)
		die("%s: takes a command line of up to %u bytes, this one has %zu", image->path,
		    SOLO5_CMDLINE_MAX, strlen(cmdline));
	boot->long_mode = true;
	boot->rip = image_elf_load(vm, image);
	page->manifest = vm->hvt->manifest;
	page->info.memory_size = vm->memory.low;
	page->info.kernel_end = memory_claimed_end(vm);
	page->info.tsc_hz = tsc_khz * 1000ULL;
	page->info.cmdline = memory_put_cmdline(vm, cmdline);
	page->info.manifest = BOOT_INFO_AT + offsetof(struct solo5_page, manifest);
	boot->rdi = BOOT_INFO_AT;
	/* At the end of memory, and as a call leaves it. */
	boot->rsp = vm->memory.low - 8;
}

const struct image_type image_solo5 = {
	.name = "Solo5 hvt",
	.fork_on = FORK_ON_UD2,
	.match = solo5_match,
	.prepare = solo5_prepare,
	.load = solo5_load,
};
