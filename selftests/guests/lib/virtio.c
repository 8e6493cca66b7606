// SPDX-License-Identifier: GPL-2.0-only
#include "cpu.h"
#include "guest.h"
#include "virtio.h"
#include "x86.h"

#define VECTOR_BASE	0x20
#define WAIT_MS		20000

static struct virtio *irq_dev;

static uint64_t number(const char **s)
{
	bool hex = (*s)[0] == '0' && (*s)[1] == 'x';
	uint64_t n = 0;

	if (hex)
		*s += 2;
	for (;; (*s)++) {
		char c = **s;

		if (c >= '0' && c <= '9')
			n = n * (hex ? 16 : 10) + (uint64_t)(c - '0');
		else if (hex && c >= 'a' && c <= 'f')
			n = n * 16 + (uint64_t)(c - 'a' + 10);
		else
			return n;
	}
}

/* virtio_mmio.device=SIZE@BASE:IRQ, as Linux has it. */
bool virtio_find(struct virtio *dev, unsigned int index)
{
	static const char word[] = "virtio_mmio.device=512@";
	const char *s = (const char *)boot_state.cmdline;

	for (; *s; s++) {
		if (memcmp(s, word, sizeof(word) - 1) || index--)
			continue;
		s += sizeof(word) - 1;
		dev->slot = 0;
		dev->base = number(&s);
		s++;
		dev->irq = (unsigned int)number(&s);
		dev->legacy = virtio_get(dev, VIRTIO_VERSION) == 1;
		dev->id = virtio_get(dev, VIRTIO_ID);
		return true;
	}
	return virtio_pci_find(dev, index);
}

void virtio_need(struct virtio *dev, uint32_t id)
{
	unsigned int index;

	for (index = 0; virtio_find(dev, index); index++)
		if (dev->id == id)
			return;
	check(false, "there is no device %u", id);
	guest_end();
}

uint32_t virtio_get(struct virtio *dev, unsigned int reg)
{
	if (dev->slot)
		return virtio_pci_get(dev, reg);
	return *(volatile uint32_t *)(dev->base + reg);
}

void virtio_set(struct virtio *dev, unsigned int reg, uint32_t value)
{
	if (dev->slot)
		virtio_pci_set(dev, reg, value);
	else
		*(volatile uint32_t *)(dev->base + reg) = value;
}

uint64_t virtio_features(struct virtio *dev)
{
	uint64_t features;

	virtio_set(dev, VIRTIO_FEATURES_SEL, 0);
	features = virtio_get(dev, VIRTIO_FEATURES);
	virtio_set(dev, VIRTIO_FEATURES_SEL, 1);
	return features | (uint64_t)virtio_get(dev, VIRTIO_FEATURES) << 32;
}

bool virtio_begin(struct virtio *dev, uint64_t features)
{
	uint32_t status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

	virtio_set(dev, VIRTIO_STATUS, 0);
	check_eq("status after a reset", virtio_get(dev, VIRTIO_STATUS), 0);
	virtio_set(dev, VIRTIO_STATUS, status);
	virtio_set(dev, VIRTIO_DRIVER_SEL, 0);
	virtio_set(dev, VIRTIO_DRIVER, (uint32_t)features);
	if (dev->legacy) {
		virtio_set(dev, VIRTIO_PAGE_SIZE, PAGE_SIZE);
		return true;
	}
	virtio_set(dev, VIRTIO_DRIVER_SEL, 1);
	virtio_set(dev, VIRTIO_DRIVER, (uint32_t)(features >> 32));
	virtio_set(dev, VIRTIO_STATUS, status | STATUS_FEATURES_OK);
	return virtio_get(dev, VIRTIO_STATUS) & STATUS_FEATURES_OK;
}

static void set_address(struct virtio *dev, unsigned int reg, const volatile void *at)
{
	virtio_set(dev, reg, (uint32_t)(uint64_t)at);
	virtio_set(dev, reg + 4, (uint32_t)((uint64_t)at >> 32));
}

void virtio_set_ring(struct virtio *dev, unsigned int queue, struct ring *ring)
{
	memset(ring, 0, sizeof(*ring));
	virtio_set(dev, VIRTIO_QUEUE_SEL, queue);
	virtio_set(dev, VIRTIO_QUEUE_NUM, RING_SIZE);
	if (dev->legacy) {
		virtio_set(dev, VIRTIO_QUEUE_ALIGN, PAGE_SIZE);
		virtio_set(dev, VIRTIO_QUEUE_PFN, (uint32_t)((uint64_t)ring / PAGE_SIZE));
		return;
	}
	set_address(dev, VIRTIO_QUEUE_DESC, ring->desc);
	set_address(dev, VIRTIO_QUEUE_AVAIL, &ring->avail_flags);
	set_address(dev, VIRTIO_QUEUE_USED, &ring->used_flags);
	virtio_set(dev, VIRTIO_QUEUE_READY, 1);
}

void virtio_ready(struct virtio *dev)
{
	virtio_set(dev, VIRTIO_STATUS, virtio_get(dev, VIRTIO_STATUS) | STATUS_DRIVER_OK);
}

static void handle_irq(struct trap_frame *frame)
{
	uint32_t cause = virtio_get(irq_dev, VIRTIO_INTERRUPTS);

	(void)frame;
	virtio_set(irq_dev, VIRTIO_ACK, cause);
	if (cause & INTERRUPT_QUEUE)
		irq_dev->queue_irqs++;
	if (cause & INTERRUPT_CONFIG)
		irq_dev->config_irqs++;
	pic_eoi(irq_dev->irq);
}

void virtio_irq_init(struct virtio *dev)
{
	irq_dev = dev;
	pic_init(VECTOR_BASE);
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_LVT0, 0x700);
	trap_set(VECTOR_BASE + dev->irq, handle_irq);
	/* The second 8259 hangs on line 2 of the first. */
	pic_mask((uint16_t)~(1U << dev->irq | 1U << 2));
}

void ring_offer(struct ring *ring, uint16_t head)
{
	uint16_t idx = READ_ONCE(ring->avail_idx);

	ring->avail[idx % RING_SIZE] = head;
	asm volatile("" : : : "memory");
	WRITE_ONCE(ring->avail_idx, (uint16_t)(idx + 1));
	asm volatile("mfence" : : : "memory");
}

bool ring_wait(const struct ring *ring, uint16_t idx)
{
	uint64_t end = rdtsc() + WAIT_MS * tsc_per_ms();

	while (READ_ONCE(ring->used_idx) != idx)
		if (rdtsc() > end)
			return false;
	return true;
}

bool virtio_wait_status(struct virtio *dev, uint32_t status)
{
	uint64_t end = rdtsc() + WAIT_MS * tsc_per_ms();

	while (!(virtio_get(dev, VIRTIO_STATUS) & status))
		if (rdtsc() > end)
			return false;
	return true;
}
