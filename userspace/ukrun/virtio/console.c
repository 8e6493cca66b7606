// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-serial: ports, consoles among them, each with a pair of queues, and a pair
 * more by which guest and host tell each other of ports. What a guest writes goes
 * where -chardev says, as from the serial port; input is the first VM's.
 */
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "chardev.h"
#include "log.h"
#include "props.h"
#include "virtio/virtio.h"

#define PORTS_MAX	7
#define QUEUES		(2 * (PORTS_MAX + 1))
#define QUEUE_CONTROL_IN 2	/* to the guest */
#define QUEUE_CONTROL_OUT 3
#define PENDING_MAX	64
#define INPUT_SIZE	256

struct port {
	struct bus *bus;
	unsigned int nr;
	const char *name;	/* null: none */
	bool is_console;
	struct console *console;
	/* Guards the input, which the main thread brings. */
	pthread_mutex_t lock;
	uint8_t input[INPUT_SIZE];
	size_t used;
	bool starved;		/* input waits for room */
};

struct bus {
	struct virtio *virtio;
	const char *id;
	struct virtio_console_config config;
	struct port *ports[PORTS_MAX];
	struct chain chain;

	struct_group(state,
		/* For the guest, until it has room for them. */
		struct virtio_console_control pending[PENDING_MAX];
		unsigned int nr_pending;
		/* The guest uses them. */
		_Atomic bool open[PORTS_MAX];
		/* Of the chain that was being written when the device was stopped. */
		size_t written[PORTS_MAX];
	);
};

/* Ports come to the last of them. */
static struct bus *last_bus;

static bool bus_has_ports(const struct bus *bus)
{
	return virtio_has(bus->virtio, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* A guest that knows of one port only says no more of it. */
static bool port_is_open(const struct port *port)
{
	const struct bus *bus = port->bus;

	return virtio_is_running(bus->virtio) &&
	       (bus_has_ports(bus) ? bus->open[port->nr] : !port->nr);
}

/* Those of port 0 come first, then the control queues, then the others'. */
static unsigned int port_queue_in(const struct port *port)
{
	return port->nr ? 2 + 2 * port->nr : 0;
}

static void port_receive(void *dev, uint8_t byte)
{
	struct port *port = dev;

	pthread_mutex_lock(&port->lock);
	if (port->used < INPUT_SIZE)
		port->input[port->used++] = byte;
	pthread_mutex_unlock(&port->lock);
	event_signal(port->bus->virtio->queues[port_queue_in(port)].kick_fd);
}

/* There is no such thing on this wire. */
static void port_receive_break(void *dev)
{
	(void)dev;
}

static size_t port_room(void *dev)
{
	struct port *port = dev;
	size_t room;

	pthread_mutex_lock(&port->lock);
	room = port_is_open(port) ? INPUT_SIZE - port->used : 0;
	port->starved = !room;
	pthread_mutex_unlock(&port->lock);
	return room;
}

/* Give the guest what has come. */
static void port_feed(struct port *port, struct queue *queue)
{
	struct chain *chain = &port->bus->chain;
	struct iovec *iov;
	size_t size;

	pthread_mutex_lock(&port->lock);
	while (port->used && port_is_open(port) && queue_pop(queue, chain)) {
		iov = &chain->iov[chain->nr_out];
		size = iov_put(&iov, &chain->nr_in, port->input, port->used);
		if (!size) {
			virtio_break(port->bus->virtio, "a buffer for input that cannot be written");
			break;
		}
		port->used -= size;
		memmove(port->input, port->input + size, port->used);
		queue_push(queue, chain->head, size);
	}
	if (port->starved && port_is_open(port) && port->used < INPUT_SIZE)
		loop_wake(port->bus->virtio->vm);
	pthread_mutex_unlock(&port->lock);
}

/* Until whoever reads has time. False: the device is to stop. */
static bool port_wait(const struct port *port)
{
	struct pollfd fds[] = {
		{ .fd = port->bus->virtio->worker.stop_fd, .events = POLLIN },
		{ .fd = port->console->fd, .events = POLLOUT },
	};

	while (!console_is_ready(port->console)) {
		poll(fds, ARRAY_SIZE(fds), -1);
		if (fds[0].revents)
			return false;
	}
	return true;
}

/* False: what is left is for when the device goes on, here or in a copy. */
static bool port_write(struct port *port, struct chain *chain)
{
	struct bus *bus = port->bus;
	size_t *written = &bus->written[port->nr];
	struct iovec *iov = chain->iov;
	uint8_t piece[CONSOLE_PIECE];
	size_t size;

	iov_skip(&iov, &chain->nr_out, *written);
	while ((size = iov_take(&iov, &chain->nr_out, piece, sizeof(piece)))) {
		if (!port_wait(port))
			return false;
		console_write(bus->virtio->vm, port->console, piece, size);
		*written += size;
	}
	*written = 0;
	return true;
}

static void port_drain(struct port *port, struct queue *queue)
{
	struct chain *chain = &port->bus->chain;

	while (queue_pop(queue, chain)) {
		if (!port_write(port, chain)) {
			queue_unpop(queue);
			return;
		}
		queue_push(queue, chain->head, 0);
	}
}

/* A guest that lets too many wait does without. */
static void bus_say(struct bus *bus, unsigned int port, uint16_t event)
{
	if (bus->nr_pending < PENDING_MAX)
		bus->pending[bus->nr_pending++] = (struct virtio_console_control){
			.id = port, .event = event, .value = 1,
		};
}

static void bus_deliver(struct bus *bus, struct queue *queue)
{
	struct chain *chain = &bus->chain;
	struct virtio_console_control *first = bus->pending;
	struct iovec *iov;
	const char *name;
	size_t size;

	while (bus->nr_pending && queue_pop(queue, chain)) {
		iov = &chain->iov[chain->nr_out];
		size = iov_put(&iov, &chain->nr_in, first, sizeof(*first));
		if (first->event == VIRTIO_CONSOLE_PORT_NAME) {
			name = bus->ports[first->id]->name;
			size += iov_put(&iov, &chain->nr_in, name, strlen(name));
		}
		queue_push(queue, chain->head, size);
		memmove(first, first + 1, --bus->nr_pending * sizeof(*first));
	}
}

static void bus_introduce(struct bus *bus, const struct port *port)
{
	if (port->is_console)
		bus_say(bus, port->nr, VIRTIO_CONSOLE_CONSOLE_PORT);
	if (port->name)
		bus_say(bus, port->nr, VIRTIO_CONSOLE_PORT_NAME);
	bus_say(bus, port->nr, VIRTIO_CONSOLE_PORT_OPEN);
}

static void bus_hear(struct bus *bus, const struct virtio_console_control *message)
{
	struct port *port = message->id < PORTS_MAX ? bus->ports[message->id] : NULL;
	unsigned int i;

	switch (message->event) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		for (i = 0; i < PORTS_MAX && message->value; i++)
			if (bus->ports[i])
				bus_say(bus, i, VIRTIO_CONSOLE_PORT_ADD);
		break;
	case VIRTIO_CONSOLE_PORT_READY:
		if (port && message->value)
			bus_introduce(bus, port);
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		if (!port)
			break;
		bus->open[port->nr] = message->value;
		port_feed(port, &bus->virtio->queues[port_queue_in(port)]);
		break;
	}
}

static void bus_listen(struct bus *bus, struct queue *queue)
{
	struct virtio_console_control message;
	struct chain *chain = &bus->chain;
	struct iovec *iov;

	while (queue_pop(queue, chain)) {
		iov = chain->iov;
		if (iov_take(&iov, &chain->nr_out, &message, sizeof(message)) != sizeof(message)) {
			virtio_break(bus->virtio, "a message about ports that is short");
			return;
		}
		queue_push(queue, chain->head, 0);
		bus_hear(bus, &message);
	}
}

static void bus_tell_all(struct bus *bus)
{
	unsigned int i;

	for (i = 0; i < QUEUES; i++)
		virtio_tell(bus->virtio, &bus->virtio->queues[i]);
}

static void bus_kicked(struct virtio *virtio, struct queue *queue)
{
	unsigned int index = queue - virtio->queues;
	struct bus *bus = virtio->dev;
	struct port *port = bus->ports[index < 2 ? 0 : (index - 2) / 2];

	if (index == QUEUE_CONTROL_OUT)
		bus_listen(bus, queue);
	else if (index == QUEUE_CONTROL_IN)
		bus_deliver(bus, queue);
	else if (port && index & 1)
		port_drain(port, queue);
	else if (port)
		port_feed(port, queue);
	/* What was heard may want an answer. */
	bus_deliver(bus, &virtio->queues[QUEUE_CONTROL_IN]);
	if (virtio->queues[QUEUE_CONTROL_IN].error)
		virtio_break(virtio, virtio->queues[QUEUE_CONTROL_IN].error);
	bus_tell_all(bus);
}

static void bus_reset(struct virtio *virtio)
{
	struct bus *bus = virtio->dev;

	memset(&bus->state, 0, sizeof(bus->state));
}

static int bus_forked(struct virtio *virtio)
{
	struct bus *bus = virtio->dev;
	struct port *port;
	unsigned int i;

	for (i = 0; i < PORTS_MAX; i++) {
		port = bus->ports[i];
		if (!port)
			continue;
		port->used = 0;
		/* The terminal is every VM's, and has been seen to. */
		if (port->console != &virtio->vm->console)
			console_forked(virtio->vm, port->console);
	}
	return 0;
}

static void bus_create(struct vm *vm, struct props *props)
{
	static const struct virtio_class class = {
		.name = "virtio-serial",
		.id = VIRTIO_ID_CONSOLE,
		.features = VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT),
		.nr_queues = QUEUES,
		.queue_size = 128,
		.kicked = bus_kicked,
		.reset = bus_reset,
		.forked = bus_forked,
	};
	struct bus *bus = xcalloc(1, sizeof(*bus));

	bus->id = props_get(props, "id") ?: "serial";
	/* QEMU's: there are as many as there are. */
	props_get(props, "max_ports");
	bus->config.max_nr_ports = PORTS_MAX;
	bus->virtio = virtio_create(vm, &class, bus, bus->id, 0, &bus->config,
				    sizeof(bus->config));
	device_add_state(vm, &bus->state, sizeof(bus->state));
	last_bus = bus;
}

/* A port that is no console does not take number 0, which is one for a guest that knows no others. */
static void port_create(struct vm *vm, struct props *props, bool is_console)
{
	const char *chardev = props_need(props, "chardev"), *on = props_get(props, "bus");
	struct port *port = xcalloc(1, sizeof(*port));
	struct bus *bus = last_bus;

	if (!bus)
		die("-device: a port needs -device virtio-serial-device before it");
	if (on && (strncmp(on, bus->id, strlen(bus->id)) || strcmp(on + strlen(bus->id), ".0")))
		die("-device: bus=%s: the last virtio-serial-device is %s.0", on, bus->id);
	port->nr = !is_console;
	while (port->nr < PORTS_MAX && bus->ports[port->nr])
		port->nr++;
	if (port->nr == PORTS_MAX)
		die("-device: no more than %d ports fit a virtio-serial-device", PORTS_MAX);
	props_get(props, "id");
	port->name = props_get(props, "name");
	port->is_console = is_console;
	port->bus = bus;
	pthread_mutex_init(&port->lock, NULL);
	port->console = chardev_open(vm, chardev);
	port->console->receive = port_receive;
	port->console->receive_break = port_receive_break;
	port->console->room = port_room;
	port->console->dev = port;
	bus->ports[port->nr] = port;
}

static void console_port_create(struct vm *vm, struct props *props)
{
	port_create(vm, props, true);
}

static void serial_port_create(struct vm *vm, struct props *props)
{
	port_create(vm, props, false);
}

DECLARE_DEVICE(virtio_serial, {
	.name = "virtio-serial",
	.model = "virtio-serial-device",
	.create = bus_create,
});

DECLARE_DEVICE(virtconsole, {
	.name = "virtconsole",
	.model = "virtconsole",
	.create = console_port_create,
});

DECLARE_DEVICE(virtserialport, {
	.name = "virtserialport",
	.model = "virtserialport",
	.create = serial_port_create,
});
