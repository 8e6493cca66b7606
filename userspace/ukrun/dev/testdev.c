// SPDX-License-Identifier: GPL-2.0-only
/*
 * -device pc-testdev, hw/misc/pc-testdev.c of QEMU's tree: a port that remembers,
 * memory behind no RAM, and interrupt lines for the guest to raise. The tests of
 * kvm-unit-tests want it, nobody else.
 */
#include <pthread.h>
#include <string.h>

#include "device.h"
#include "log.h"
#include "props.h"

#define TEST_PORT	0xe0
#define TEST_PORT_SIZE	4
#define TEST_IRQ_PORT	0x2000
#define TEST_IRQS	24
#define TEST_MEMORY	0xff000000
#define TEST_MEMORY_SIZE 0x10000

struct testdev {
	struct vm *vm;
	pthread_mutex_t lock;

	struct_group(state,
		uint32_t port;
		uint8_t memory[TEST_MEMORY_SIZE];
	);
};

static uint64_t testdev_port_read(void *dev, uint64_t offset, unsigned int size)
{
	struct testdev *testdev = dev;
	uint64_t value;

	(void)size;
	pthread_mutex_lock(&testdev->lock);
	value = testdev->port >> (8 * offset);
	pthread_mutex_unlock(&testdev->lock);
	return value;
}

static void testdev_port_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct testdev *testdev = dev;
	uint32_t mask = size < 4 ? (1U << (8 * size)) - 1 : ~0U;

	pthread_mutex_lock(&testdev->lock);
	mask <<= 8 * offset;
	testdev->port = (testdev->port & ~mask) | ((uint32_t)value << (8 * offset) & mask);
	pthread_mutex_unlock(&testdev->lock);
}

static void testdev_irq_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct testdev *testdev = dev;

	(void)size;
	if (offset < TEST_IRQS)
		kvm_irq_line(testdev->vm, offset, value);
}

static uint64_t testdev_memory_read(void *dev, uint64_t offset, unsigned int size)
{
	struct testdev *testdev = dev;
	uint64_t value = 0;

	pthread_mutex_lock(&testdev->lock);
	memcpy(&value, testdev->memory + offset, size);
	pthread_mutex_unlock(&testdev->lock);
	return value;
}

static void testdev_memory_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct testdev *testdev = dev;

	pthread_mutex_lock(&testdev->lock);
	memcpy(testdev->memory + offset, &value, size);
	pthread_mutex_unlock(&testdev->lock);
}

static void testdev_create(struct vm *vm, struct props *props)
{
	static const struct io_ops port = { testdev_port_read, testdev_port_write };
	static const struct io_ops irq = { NULL, testdev_irq_write };
	static const struct io_ops memory = { testdev_memory_read, testdev_memory_write };
	struct testdev *testdev = xcalloc(1, sizeof(*testdev));

	props_get(props, "id");
	testdev->vm = vm;
	pthread_mutex_init(&testdev->lock, NULL);
	io_add(vm, IO_PORT, TEST_PORT, TEST_PORT_SIZE, &port, testdev);
	/* A line is raised by an access of 4 bytes, too, also the last one. */
	io_add(vm, IO_PORT, TEST_IRQ_PORT, TEST_IRQS + 3, &irq, testdev);
	io_add(vm, IO_MMIO, TEST_MEMORY, TEST_MEMORY_SIZE, &memory, testdev);
	device_add_state(vm, &testdev->state, sizeof(testdev->state));
}

DECLARE_DEVICE(testdev, {
	.name = "test device",
	.model = "pc-testdev",
	.create = testdev_create,
});
