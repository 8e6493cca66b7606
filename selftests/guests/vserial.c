// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-serial: port 0 is a console, port 1 is called "org.test.port". Says a line
 * on each, in VMs that fork, and what a guest must not say.
 *
 *	echo	then waits for a line on the console, and repeats it
 *	one	knows of one port only
 *	break	expects what is not there
 */
#include "cpu.h"
#include "guest.h"
#include "virtio.h"
#include "x86.h"

#define VIRTIO_ID_CONSOLE	3
#define FEATURE_MULTIPORT	(1ULL << 1)
#define NAME			"org.test.port"

#define DEVICE_READY	0
#define PORT_ADD	1
#define PORT_READY	3
#define CONSOLE_PORT	4
#define PORT_OPEN	6
#define PORT_NAME	7

/* Queues: in and out of port 0, of control, of port 1. */
#define IN(port)	((port) ? 4 : 0)
#define OUT(port)	((port) ? 5 : 1)
#define CONTROL_IN	2
#define CONTROL_OUT	3
#define QUEUES		6
/* Messages that the device keeps for a driver that takes none, at least. */
#define KEPT		16

const char guest_name[] = "vserial";

struct control {
	uint32_t id;
	uint16_t event, value;
} __packed;

static struct virtio dev;
static struct ring rings[QUEUES];
static uint16_t used[QUEUES];
static struct control message;
static char text[128], input[64];
/* Buffers that wait for what the device says of ports. */
static struct {
	struct control control;
	char name[24];
} __packed said[RING_SIZE];

static void offer(unsigned int queue, void *at, uint32_t size, uint16_t flags)
{
	uint16_t slot = used[queue] % RING_SIZE;

	rings[queue].desc[slot] = (struct desc){ (uint64_t)at, size, flags, 0 };
	ring_offer(&rings[queue], slot);
	virtio_set(&dev, VIRTIO_NOTIFY, queue);
}

static uint32_t wait(unsigned int queue, const char *what)
{
	uint16_t slot = used[queue]++ % RING_SIZE;

	/* There may be more already than is waited for. */
	for (int i = 0; (int16_t)(READ_ONCE(rings[queue].used_idx) - used[queue]) < 0; i++) {
		if (!check(i < 10000, "%s: no answer", what))
			guest_end();
		delay_ms(1);
	}
	return rings[queue].used[slot].len;
}

static void begin(uint64_t features)
{
	check(virtio_begin(&dev, features), "features refused");
	for (unsigned int i = 0; i < QUEUES; i++) {
		virtio_set_ring(&dev, i, &rings[i]);
		used[i] = 0;
	}
	virtio_ready(&dev);
}

static void tell(uint32_t port, uint16_t event, uint16_t value)
{
	message = (struct control){ port, event, value };
	offer(CONTROL_OUT, &message, sizeof(message), 0);
	wait(CONTROL_OUT, "a message");
}

/* The next thing that the device says. */
static void expect(uint32_t port, uint16_t event)
{
	uint32_t size = wait(CONTROL_IN, "a message of the device's");
	const struct control *control = &said[(used[CONTROL_IN] - 1) % RING_SIZE].control;

	check_eq("the event", control->event, event);
	check_eq("the port", control->id, port);
	check_eq("its value", control->value, 1);
	if (event != PORT_NAME) {
		check_eq("its size", size, sizeof(*control));
		return;
	}
	check_eq("its size", size, sizeof(*control) + strlen(NAME));
	check(!memcmp(said[(used[CONTROL_IN] - 1) % RING_SIZE].name, NAME, strlen(NAME)),
	      "another name");
}

static void listen(void)
{
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		rings[CONTROL_IN].desc[i] = (struct desc){ (uint64_t)&said[i], sizeof(said[i]),
							   DESC_WRITE, 0 };
		ring_offer(&rings[CONTROL_IN], (uint16_t)i);
	}
	virtio_set(&dev, VIRTIO_NOTIFY, CONTROL_IN);
}

static void meet_ports(void)
{
	listen();
	tell(0, DEVICE_READY, 1);
	expect(0, PORT_ADD);
	expect(1, PORT_ADD);
	tell(0, PORT_READY, 1);
	expect(0, CONSOLE_PORT);
	expect(0, PORT_OPEN);
	tell(1, PORT_READY, 1);
	expect(1, PORT_NAME);
	expect(1, PORT_OPEN);
	tell(0, PORT_OPEN, 1);
	tell(1, PORT_OPEN, 1);
}

static void write_text(unsigned int port, const char *who, const char *what)
{
	size_t size = 0;

	for (; *who; who++)
		text[size++] = *who;
	for (; *what; what++)
		text[size++] = *what;
	offer(OUT(port), text, (uint32_t)size, 0);
	wait(OUT(port), "a write");
}

static void check_nonsense(void)
{
	tell(99, PORT_OPEN, 1);
	tell(0xffffffff, PORT_READY, 1);
	tell(2, PORT_READY, 1);
	tell(0, 77, 1);
	tell(0, DEVICE_READY, 0);
	delay_ms(20);
	check_eq("answers to nonsense", rings[CONTROL_IN].used_idx, used[CONTROL_IN]);
	/* More than can wait, and nobody takes them. */
	begin(FEATURE_VERSION_1 | FEATURE_MULTIPORT);
	for (int i = 0; i < 100; i++)
		tell(0, DEVICE_READY, 1);
	listen();
	for (int i = 0; i < KEPT / 2; i++) {
		expect(0, PORT_ADD);
		expect(1, PORT_ADD);
	}
	check_eq("a device that is well", virtio_get(&dev, VIRTIO_STATUS) & STATUS_NEEDS_RESET, 0);
	begin(FEATURE_VERSION_1 | FEATURE_MULTIPORT);
	offer(CONTROL_OUT, &message, 7, 0);
	check(virtio_wait_status(&dev, STATUS_NEEDS_RESET), "a short message: the device goes on");
	begin(FEATURE_VERSION_1 | FEATURE_MULTIPORT);
	offer(OUT(0), (void *)(boot_state.memory - 4), 8, 0);
	check(virtio_wait_status(&dev, STATUS_NEEDS_RESET), "text behind memory: the device goes on");
	begin(FEATURE_VERSION_1 | FEATURE_MULTIPORT);
}

static void repeat_line(void)
{
	size_t size = 0;

	/* Wherever the host cuts it. */
	while (!size || text[size - 1] != '\n') {
		offer(IN(0), input, sizeof(input), DESC_WRITE);
		while (READ_ONCE(rings[IN(0)].used_idx) == used[IN(0)])
			delay_ms(1);
		uint32_t got = wait(IN(0), "input");

		if (!check(got && size + got < sizeof(text), "%u bytes of input", got))
			return;
		memcpy(text + size, input, got);
		size += got;
	}
	offer(OUT(0), text, (uint32_t)size, 0);
	wait(OUT(0), "a write");
}

void guest_main(void)
{
	long id;

	virtio_need(&dev, VIRTIO_ID_CONSOLE);
	if (arg_flag("one")) {
		begin(FEATURE_VERSION_1);
		write_text(0, "one", ": port 0\n");
		return;
	}
	begin(FEATURE_VERSION_1 | FEATURE_MULTIPORT);
	check_nonsense();
	meet_ports();
	write_text(0, "before", ": port 0\n");
	write_text(1, "before", ": port 1\n");
	if (arg_flag("echo"))
		repeat_line();
	id = guest_fork();
	write_text(0, id ? "parent" : "child", ": port 0\n");
	write_text(1, id ? "parent" : "child", ": port 1\n");
	if (id)
		guest_expect(id, 0);
	if (arg_flag("break"))
		check_eq("break", rings[CONTROL_IN].used_idx, 77);
}
