// SPDX-License-Identifier: GPL-2.0-only
/* Ports at which a guest ends its VM, and a keyboard controller that does just that. */
#include <pthread.h>

#include "boot/acpi.h"
#include "device.h"
#include "log.h"

#define DEBUG_EXIT_PORT		0xf4
#define KEYBOARD_DATA_PORT	0x60
#define KEYBOARD_PORT		0x64
#define KEYBOARD_RESET		0xfe
#define BOCHS_PORT		0x8900

#define PM_SLEEP_ENABLE		(1 << 13)
#define PM_SLEEP_TYPE(value)	((value) >> 10 & 7)
#define PM_SLEEP_S5		0	/* as \_S5 in the DSDT */
#define PM_ACPI_ENABLED		1

/* Of PM1: the power button, pressed by exit_press(). */
#define PM_BUTTON	(1 << 8)

struct exit_device {
	struct vm *vm;
	pthread_mutex_t pm_lock;

	struct_group(state,
		_Atomic uint32_t bochs_matched;
		uint16_t pm_status, pm_enable;
	);
};

/* As QEMU's isa-debug-exit. */
static void debug_exit_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct exit_device *exit = dev;

	(void)offset;
	(void)size;
	vm_log(exit->vm, "debug exit with 0x%llx", (unsigned long long)value);
	vm_end(exit->vm, (value << 1 | 1) & 0xff);
}

static uint64_t debug_exit_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0;
}

static uint64_t pm_event_read(void *dev, uint64_t offset, unsigned int size)
{
	struct exit_device *exit = dev;
	uint32_t value;

	(void)size;
	pthread_mutex_lock(&exit->pm_lock);
	value = exit->pm_status | (uint32_t)exit->pm_enable << 16;
	pthread_mutex_unlock(&exit->pm_lock);
	return value >> (8 * offset);
}

static void pm_update_irq(struct exit_device *exit)
{
	kvm_irq_line(exit->vm, ACPI_SCI_IRQ, exit->pm_status & exit->pm_enable);
}

static void pm_event_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	uint32_t mask = (size < 4 ? (1U << (8 * size)) - 1 : ~0U) << (8 * offset);
	struct exit_device *exit = dev;

	value <<= 8 * offset;
	pthread_mutex_lock(&exit->pm_lock);
	/* A one takes away what has happened. */
	exit->pm_status &= ~(value & mask);
	exit->pm_enable = (exit->pm_enable & ~(mask >> 16)) | (value & mask) >> 16;
	pm_update_irq(exit);
	pthread_mutex_unlock(&exit->pm_lock);
}

static void exit_press(struct vm *vm, void *dev)
{
	struct exit_device *exit = dev;

	(void)vm;
	pthread_mutex_lock(&exit->pm_lock);
	exit->pm_status |= PM_BUTTON;
	pm_update_irq(exit);
	pthread_mutex_unlock(&exit->pm_lock);
}

static uint64_t pm_control_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)size;
	return offset ? 0 : PM_ACPI_ENABLED;
}

static void pm_control_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct exit_device *exit = dev;

	if (offset || size < 2 || !(value & PM_SLEEP_ENABLE) || PM_SLEEP_TYPE(value) != PM_SLEEP_S5)
		return;
	vm_log(exit->vm, "power off");
	vm_end(exit->vm, 0);
}

/* Nothing typed, ready for a command: so that nobody waits for it. */
static uint64_t keyboard_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0;
}

static void keyboard_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct exit_device *exit = dev;

	(void)offset;
	(void)size;
	if ((value & 0xff) != KEYBOARD_RESET)
		return;
	vm_log(exit->vm, "reset, which ends the VM");
	vm_end(exit->vm, 0);
}

/* The word "Shutdown", a byte at a time. */
static void bochs_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	static const char word[] = "Shutdown";
	struct exit_device *exit = dev;
	uint8_t byte = value;

	(void)offset;
	(void)size;
	if (byte == word[exit->bochs_matched])
		exit->bochs_matched++;
	else
		exit->bochs_matched = byte == word[0];
	if (exit->bochs_matched < sizeof(word) - 1)
		return;
	exit->bochs_matched = 0;
	vm_log(exit->vm, "shutdown");
	vm_end(exit->vm, 0);
}

static const struct io_ops debug_exit_ops = { debug_exit_read, debug_exit_write };
static const struct io_ops pm_event_ops = { pm_event_read, pm_event_write };
static const struct io_ops pm_control_ops = { pm_control_read, pm_control_write };
static const struct io_ops keyboard_data_ops = { keyboard_read, NULL };
static const struct io_ops keyboard_ops = { keyboard_read, keyboard_write };
static const struct io_ops bochs_ops = { NULL, bochs_write };

static void exit_setup(struct vm *vm)
{
	static const struct device_type type = { .name = "exit", .press = exit_press };
	struct exit_device *exit = xcalloc(1, sizeof(*exit));

	exit->vm = vm;
	pthread_mutex_init(&exit->pm_lock, NULL);
	device_add(vm, &type, exit);
	io_add(vm, IO_PORT, DEBUG_EXIT_PORT, 4, &debug_exit_ops, exit);
	io_add(vm, IO_PORT, ACPI_PM_EVENT_PORT, 4, &pm_event_ops, exit);
	io_add(vm, IO_PORT, ACPI_PM_CONTROL_PORT, 2, &pm_control_ops, exit);
	io_add(vm, IO_PORT, KEYBOARD_DATA_PORT, 1, &keyboard_data_ops, exit);
	io_add(vm, IO_PORT, KEYBOARD_PORT, 1, &keyboard_ops, exit);
	io_add(vm, IO_PORT, BOCHS_PORT, 1, &bochs_ops, exit);
	device_add_state(vm, &exit->state, sizeof(exit->state));
}

DECLARE_DEVICE(exit, { .name = "exit ports", .setup = exit_setup });
