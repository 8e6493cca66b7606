// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generation id of a VM, as Microsoft's "Virtual Machine Generation ID" has
 * it: 128 random bits in memory which are others in each copy of the VM, and a
 * notification when they have changed. Linux seeds its random numbers anew.
 *
 * The notification is by a Generic Event Device (ACPI 6.4, section 5.6.9).
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "boot/acpi.h"
#include "boot/aml.h"
#include "device.h"
#include "log.h"

#define ID_SIZE		16

struct vmgenid {
	uint8_t id[ID_SIZE];
};

static int vmgenid_write(struct vm *vm, struct vmgenid *vmgenid)
{
	if (getrandom(vmgenid->id, ID_SIZE, 0) != ID_SIZE)
		return -EIO;
	return memory_write(vm, ACPI_VMGENID, vmgenid->id, ID_SIZE);
}

static int vmgenid_renew(struct vm *vm, void *dev)
{
	struct vmgenid *vmgenid = dev;
	uint8_t there[ID_SIZE];
	int ret;

	ret = memory_read(vm, ACPI_VMGENID, there, ID_SIZE);
	if (ret)
		return ret;
	/* A guest without ACPI may have made the place its own. */
	if (memcmp(there, vmgenid->id, ID_SIZE))
		return 0;
	ret = vmgenid_write(vm, vmgenid);
	if (ret)
		return ret;
	kvm_irq_line(vm, ACPI_GED_GSI, true);
	kvm_irq_line(vm, ACPI_GED_GSI, false);
	return 0;
}

static void vmgenid_describe(struct vm *vm, void *dev, struct aml *aml)
{
	static const uint8_t address[] = {
		/* Name(ADDR, Package { ACPI_VMGENID, 0 }) */
		0x08, 'A', 'D', 'D', 'R', 0x12, 0x08, 2,
		0x0c, (uint8_t)ACPI_VMGENID, (uint8_t)(ACPI_VMGENID >> 8),
		(uint8_t)(ACPI_VMGENID >> 16), (uint8_t)(ACPI_VMGENID >> 24), 0x00,
	};
	static const uint8_t event[] = {
		/* Method(_EVT, 1) { Notify(\_SB_.VGEN, 0x80) } */
		0x14, 19, '_', 'E', 'V', 'T', 1, 0x86, '\\', 0x2e,
		'_', 'S', 'B', '_', 'V', 'G', 'E', 'N', 0x0a, 0x80,
	};
	struct aml resources = {};
	size_t begin;

	(void)vm;
	(void)dev;
	begin = aml_device_begin(aml, "VGEN");
	aml_name_string(aml, "_HID", "UKRN0001");
	aml_name_string(aml, "_CID", "VM_Gen_Counter");
	aml_name_string(aml, "_DDN", "VM_Gen_Counter");
	aml_bytes(aml, address, sizeof(address));
	aml_end(aml, begin);

	begin = aml_device_begin(aml, "GED_");
	aml_name_string(aml, "_HID", "ACPI0013");
	aml_name_number(aml, "_UID", 0);
	aml_resource_gsi(&resources, ACPI_GED_GSI);
	aml_name_resources(aml, &resources);
	aml_bytes(aml, event, sizeof(event));
	aml_end(aml, begin);
}

static void vmgenid_setup(struct vm *vm)
{
	static const struct device_type type = {
		.name = "vmgenid",
		.describe = vmgenid_describe,
		.renew = vmgenid_renew,
	};
	struct vmgenid *vmgenid;

	if (!vm->config.acpi)
		return;
	vmgenid = xcalloc(1, sizeof(*vmgenid));
	if (vmgenid_write(vm, vmgenid))
		die("no random numbers for the generation id");
	device_add(vm, &type, vmgenid);
	/* As memory has it: a shell may be older than its VM's last reset. */
	device_add_state(vm, vmgenid->id, ID_SIZE);
}

DECLARE_DEVICE(vmgenid, { .name = "vmgenid", .setup = vmgenid_setup });
