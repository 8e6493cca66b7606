// SPDX-License-Identifier: GPL-2.0-only
/* ukrun: run a kernel image in a KVM VM that can fork. */
#include <string.h>
#include <sys/prctl.h>

#include "boot/acpi.h"
#include "boot/bios.h"
#include "boot/boot.h"
#include "boot/image.h"
#include "boot/mptable.h"
#include "device.h"
#include "helper.h"
#include "log.h"
#include "option.h"
#include "ps.h"
#include "sandbox.h"
#include "vcpu.h"
#include "vm.h"

int main(int argc, char **argv)
{
	static struct vm vm = {
		.config = {
			.memory_size = 64 << 20,
			.nr_vcpus = 1,
			.max_vms = 64,
			.acpi = true,
			.sandbox = true,
		},
	};
	const struct image_type *type;
	struct boot boot = {};
	struct image image;

	log_open();
	if (argc > 1 && !strcmp(argv[1], "ps"))
		return ps_main(argc - 1, argv + 1);
	option_parse(&vm, argc, argv);
	vm_lock_init(&vm);
	family_create(&vm);
	loop_create(&vm);
	image_open(&vm, &image, &type);
	template_check(&vm);
	reset_check(&vm);
	shells_check(&vm);

	kvm_open(&vm);
	kvm_create_vm(&vm);
	memory_create(&vm);
	kvm_attach(&vm);
	vcpu_create_all(&vm);

	console_open(&vm);
	if (type->prepare)
		type->prepare(&vm, &image);
	device_setup_all(&vm);
	bios_setup(&vm);
	mptable_setup(&vm);
	acpi_setup(&vm);
	type->load(&vm, &image, &boot);
	boot_setup(&vm, &boot);

	tty_open(&vm);
	prctl(PR_SET_NAME, "ukrun:1");
	helper_start(&vm);
	sandbox_enter(&vm);
	reset_from_start(&vm);
	shells_from_start(&vm);
	vcpu_start_all(&vm);
	return loop_run(&vm);
}
