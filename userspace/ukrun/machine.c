// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options with which QEMU and StratoVirt are started and which say here what
 * is so anyway. What they would change otherwise is refused.
 */
#include <string.h>

#include "log.h"
#include "option.h"
#include "props.h"
#include "vm.h"

static void machine_option(struct vm *vm, const char *arg)
{
	struct props *props = NULL;

	props_add(&props, "-machine", arg, "type");
	props_word(props, "type", "microvm", NULL);
	props_word(props, "accel", "kvm", NULL);
	vm->config.acpi = props_bool(props, "acpi", vm->config.acpi);
	/* Of QEMU's microvm: all of them are there, or nobody can tell. */
	props_word(props, "pit", "on", NULL);
	props_word(props, "pic", "on", NULL);
	props_word(props, "rtc", "on", NULL);
	props_word(props, "isa-serial", "on", NULL);
	props_word(props, "pcie", "off", NULL);
	props_word(props, "usb", "off", NULL);
	props_word(props, "x-option-roms", "off", NULL);
	props_word(props, "dump-guest-core", "on off", NULL);
	props_word(props, "mem-share", "on off", NULL);
	props_finish(props);
}

static void machine_option_accel(struct vm *vm, const char *arg)
{
	(void)vm;
	if (strcmp(arg, "kvm"))
		die("-accel %s: ukrun has kvm", arg);
}

static void machine_option_cpu(struct vm *vm, const char *arg)
{
	(void)vm;
	if (strcmp(arg, "host") && strcmp(arg, "max"))
		die("-cpu %s: ukrun has host", arg);
}

static void machine_option_display(struct vm *vm, const char *arg)
{
	(void)vm;
	if (strcmp(arg, "none"))
		die("-display %s: ukrun has none", arg);
}

static void machine_option_nothing(struct vm *vm, const char *arg)
{
	(void)vm;
	(void)arg;
}

DECLARE_OPTION(machine, {
	"machine", "TYPE[,...]", "microvm; acpi=off: devices are on the command line",
	machine_option,
});
DECLARE_OPTION(M, { "M", "TYPE[,...]", "the same", machine_option });
DECLARE_OPTION(accel, { "accel", "kvm", "as it is anyway", machine_option_accel });
DECLARE_OPTION(cpu, { "cpu", "host", "as it is anyway", machine_option_cpu });
DECLARE_OPTION(display, { "display", "none", "as it is anyway", machine_option_display });
DECLARE_OPTION(enable_kvm, { "enable-kvm", NULL, "as it is anyway", machine_option_nothing });
DECLARE_OPTION(nodefaults, { "nodefaults", NULL, "as it is anyway", machine_option_nothing });
DECLARE_OPTION(no_user_config, {
	"no-user-config", NULL, "as it is anyway", machine_option_nothing,
});
DECLARE_OPTION(nographic, { "nographic", NULL, "as it is anyway", machine_option_nothing });
DECLARE_OPTION(no_reboot, { "no-reboot", NULL, "as it is anyway", machine_option_nothing });
