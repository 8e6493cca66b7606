// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "boot/acpi.h"
#include "boot/aml.h"
#include "device.h"
#include "log.h"
#include "pci/pci.h"
#include "vcpu.h"

/* Offsets in the area at LOW_ACPI. The FACS wants 64 bytes of alignment. */
#define XSDT_AT		0x040
#define FACS_AT		0x080
#define FADT_AT		0x100
#define MCFG_AT		0x240
#define MADT_AT		0x280
#define DSDT_AT		0x600
#define AREA_SIZE	(LOW_MPTABLE - LOW_ACPI)

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __packed;

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __packed;

struct acpi_xsdt {
	struct acpi_header header;
	uint64_t tables[3];
} __packed;

struct acpi_facs {
	char signature[4];
	uint32_t length;
	uint8_t rest[24];
	uint8_t version;
	uint8_t reserved[31];
} __packed;

struct acpi_address {
	uint8_t space, width, offset, access;
	uint64_t address;
} __packed;

#define ADDRESS_PORT(port, bits) { .space = 1, .width = bits, .access = bits / 8, .address = port }

struct acpi_fadt {
	struct acpi_header header;
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cst_cnt;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_address reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_facs, x_dsdt;
	struct acpi_address x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt;
	struct acpi_address x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1;
	struct acpi_address sleep_control, sleep_status;
	uint64_t hypervisor;
} __packed;

#define FADT_FLAGS_WBINVD	(1U << 0)
#define FADT_FLAGS_C1		(1U << 2)
#define FADT_FLAGS_NO_SLEEP_BUTTON (1U << 5)
#define FADT_FLAGS_NO_RTC_WAKE	(1U << 6)
#define FADT_FLAGS_RESET	(1U << 10)

/* Legacy devices (COM1) exist; neither an 8042 nor VGA does. */
#define FADT_BOOT_ARCH		(1U << 0 | 1U << 2)

struct acpi_madt {
	struct acpi_header header;
	uint32_t lapic_address, flags;	/* bit 0: there is an 8259 too */
} __packed;

struct acpi_madt_lapic {
	uint8_t type, length, processor, apic_id;
	uint32_t flags;
} __packed;

struct acpi_madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __packed;

struct acpi_madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __packed;

struct acpi_madt_nmi {
	uint8_t type, length, processor;
	uint16_t flags;
	uint8_t lint;
} __packed;

struct acpi_mcfg {
	struct acpi_header header;
	uint64_t reserved;
	uint64_t address;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved2;
} __packed;

/* Name(\_S5, Package {0, 0, 0, 0}) */
static const uint8_t aml_s5[] = {
	0x08, '\\', '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00,
};

static uint8_t acpi_checksum(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint8_t sum = 0;

	while (size--)
		sum += *byte++;
	return -sum;
}

static void acpi_finish(struct acpi_header *header, const char *signature, uint8_t revision,
			size_t length)
{
	memcpy(header->signature, signature, 4);
	header->length = length;
	header->revision = revision;
	memcpy(header->oem_id, "UKRUN ", 6);
	memcpy(header->oem_table_id, "KVMFORK ", 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, "UKRN", 4);
	header->creator_revision = 1;
	header->checksum = 0;
	header->checksum = acpi_checksum(header, length);
}

static void acpi_put_rsdp(uint8_t *area, bool pci)
{
	struct acpi_rsdp *rsdp = (void *)area;
	struct acpi_xsdt *xsdt = (void *)(area + XSDT_AT);

	xsdt->tables[0] = LOW_ACPI + FADT_AT;
	xsdt->tables[1] = LOW_ACPI + MADT_AT;
	xsdt->tables[2] = pci ? LOW_ACPI + MCFG_AT : 0;
	acpi_finish(&xsdt->header, "XSDT", 1,
		    sizeof(*xsdt) - (pci ? 0 : sizeof(xsdt->tables[2])));

	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem_id, "UKRUN ", 6);
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = LOW_ACPI + XSDT_AT;
	/* That of ACPI 1.0 covers the first 20 bytes. */
	rsdp->checksum = acpi_checksum(rsdp, 20);
	rsdp->extended_checksum = acpi_checksum(rsdp, sizeof(*rsdp));
}

static void acpi_put_fadt(uint8_t *area)
{
	static const struct acpi_address event = ADDRESS_PORT(ACPI_PM_EVENT_PORT, 32);
	static const struct acpi_address control = ADDRESS_PORT(ACPI_PM_CONTROL_PORT, 16);
	static const struct acpi_address reset = ADDRESS_PORT(0x64, 8);
	struct acpi_fadt *fadt = (void *)(area + FADT_AT);
	struct acpi_facs *facs = (void *)(area + FACS_AT);

	memcpy(facs->signature, "FACS", 4);
	facs->length = sizeof(*facs);
	facs->version = 2;

	fadt->facs = LOW_ACPI + FACS_AT;
	fadt->dsdt = LOW_ACPI + DSDT_AT;
	fadt->x_dsdt = fadt->dsdt;
	fadt->sci_int = ACPI_SCI_IRQ;
	fadt->pm1a_evt = ACPI_PM_EVENT_PORT;
	fadt->pm1a_cnt = ACPI_PM_CONTROL_PORT;
	fadt->pm1_evt_len = 4;
	fadt->pm1_cnt_len = 2;
	fadt->x_pm1a_evt = event;
	fadt->x_pm1a_cnt = control;
	fadt->c2_latency = 0xfff;	/* there are no C2 and C3 */
	fadt->c3_latency = 0xfff;
	fadt->century = 0x32;
	fadt->boot_arch = FADT_BOOT_ARCH;
	fadt->flags = FADT_FLAGS_WBINVD | FADT_FLAGS_C1 | FADT_FLAGS_NO_SLEEP_BUTTON |
		      FADT_FLAGS_NO_RTC_WAKE | FADT_FLAGS_RESET;
	fadt->reset_reg = reset;
	fadt->reset_value = 0xfe;
	fadt->minor_revision = 0;
	acpi_finish(&fadt->header, "FACP", 6, sizeof(*fadt));
}

static void acpi_put_dsdt(struct vm *vm, uint8_t *area)
{
	struct acpi_header *header = (void *)(area + DSDT_AT);
	struct aml aml = {};
	size_t scope;

	aml_bytes(&aml, aml_s5, sizeof(aml_s5));
	scope = aml_scope_begin(&aml, "\\_SB_");
	device_describe_all(vm, &aml);
	aml_end(&aml, scope);
	if (aml.size > AREA_SIZE - DSDT_AT - sizeof(*header))
		die("-device: too many devices to describe");
	memcpy(header + 1, aml.data, aml.size);
	acpi_finish(header, "DSDT", 2, sizeof(*header) + aml.size);
	free(aml.data);
}

static void acpi_append(struct acpi_madt *madt, const void *entry, size_t size)
{
	memcpy((uint8_t *)madt + madt->header.length, entry, size);
	madt->header.length += size;
}

/*
 * Pin n of the IOAPIC is IRQ n, the timer's too: so KVM wires them, other than
 * most boards and QEMU, where the timer is on pin 2. Wiring it so would be told to
 * each child anew, which takes a while.
 */
static void acpi_put_madt(uint8_t *area, uint32_t nr_vcpus)
{
	struct acpi_madt *madt = (void *)(area + MADT_AT);
	const struct acpi_madt_ioapic ioapic = {
		.type = 1, .length = sizeof(ioapic), .address = IOAPIC_ADDRESS,
	};
	/* Active high, level. */
	const struct acpi_madt_override sci = {
		.type = 2, .length = sizeof(sci), .source = ACPI_SCI_IRQ, .gsi = ACPI_SCI_IRQ,
		.flags = 0xd,
	};
	const struct acpi_madt_nmi nmi = {
		.type = 4, .length = sizeof(nmi), .processor = 0xff, .lint = 1,
	};
	struct acpi_madt_lapic lapic = { .length = sizeof(lapic), .flags = 1 };
	uint32_t i;

	madt->header.length = sizeof(*madt);
	madt->lapic_address = LAPIC_ADDRESS;
	madt->flags = 1;
	for (i = 0; i < nr_vcpus; i++) {
		lapic.processor = i;
		lapic.apic_id = i;
		acpi_append(madt, &lapic, sizeof(lapic));
	}
	acpi_append(madt, &ioapic, sizeof(ioapic));
	acpi_append(madt, &sci, sizeof(sci));
	acpi_append(madt, &nmi, sizeof(nmi));
	acpi_finish(&madt->header, "APIC", 4, madt->header.length);
}

static void acpi_put_mcfg(uint8_t *area)
{
	struct acpi_mcfg *mcfg = (void *)(area + MCFG_AT);

	mcfg->address = PCI_ECAM;
	acpi_finish(&mcfg->header, "MCFG", 1, sizeof(*mcfg));
}

void acpi_setup(struct vm *vm)
{
	uint8_t *area = memory_at(vm, LOW_ACPI, AREA_SIZE);

	_Static_assert(XSDT_AT + sizeof(struct acpi_xsdt) <= FACS_AT, "XSDT overlaps");
	_Static_assert(sizeof(struct acpi_facs) == 64, "FACS has a wrong size");
	_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT has a wrong size");
	_Static_assert(FADT_AT + sizeof(struct acpi_fadt) <= MCFG_AT, "FADT overlaps");
	_Static_assert(MCFG_AT + sizeof(struct acpi_mcfg) <= MADT_AT, "MCFG overlaps");
	_Static_assert(MADT_AT + sizeof(struct acpi_madt) +
		       VCPUS_MAX * sizeof(struct acpi_madt_lapic) + 64 <= DSDT_AT, "MADT overlaps");
	if (!vm->config.acpi)
		return;
	acpi_put_rsdp(area, vm->pci);
	acpi_put_fadt(area);
	if (vm->pci)
		acpi_put_mcfg(area);
	acpi_put_dsdt(vm, area);
	acpi_put_madt(area, vm->config.nr_vcpus);
}
