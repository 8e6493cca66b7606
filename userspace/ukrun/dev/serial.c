// SPDX-License-Identifier: GPL-2.0-only
/* COM1: a 16550A whose wire is the console. */
#include <linux/serial_reg.h>
#include <pthread.h>
#include <stdbool.h>

#include "boot/aml.h"
#include "device.h"
#include "log.h"

#define SERIAL_PORT	0x3f8
#define SERIAL_IRQ	4
#define FIFO_SIZE	16

struct serial {
	struct vm *vm;
	struct console *console;
	pthread_mutex_t lock;

	struct_group(state,
		uint8_t ier, fcr, lcr, mcr, scr;
		uint8_t divisor[2];
		uint8_t lsr_errors;	/* bits that reading LSR clears */
		uint8_t msr_delta;
		bool thr_pending;	/* the transmitter has become empty since IIR told so */
		bool irq_level;
		uint8_t fifo[FIFO_SIZE];
		unsigned int fifo_head, fifo_used;
		bool starved;		/* input waits for room */
		/* Reads of LSR with nothing in between. */
		unsigned int lsr_polls;
	);
};

/* More than anybody needs who waits for the transmitter, which is always ready. */
#define LISTENING_POLLS	16

/*
 * Drivers empty the FIFO when they begin. What comes from a pipe is there
 * from the start and would be lost, so it stays outside until somebody
 * listens: by interrupts, or by asking again and again.
 */
static bool serial_listens(const struct serial *serial)
{
	return serial->ier & UART_IER_RDI || serial->lsr_polls >= LISTENING_POLLS;
}

static void serial_feed(struct serial *serial)
{
	if (!serial->starved || !serial_listens(serial))
		return;
	serial->starved = false;
	loop_wake(serial->vm);
}

static unsigned int serial_room(const struct serial *serial)
{
	unsigned int size = serial->fcr & UART_FCR_ENABLE_FIFO ? FIFO_SIZE : 1;

	return serial->fifo_used < size ? size - serial->fifo_used : 0;
}

static void serial_put(struct serial *serial, uint8_t byte)
{
	if (!serial_room(serial)) {
		serial->lsr_errors |= UART_LSR_OE;
		return;
	}
	serial->fifo[(serial->fifo_head + serial->fifo_used++) % FIFO_SIZE] = byte;
}

static uint8_t serial_take(struct serial *serial)
{
	uint8_t byte = serial->fifo[serial->fifo_head];

	if (!serial->fifo_used)
		return 0;
	serial->fifo_head = (serial->fifo_head + 1) % FIFO_SIZE;
	serial->fifo_used--;
	serial_feed(serial);
	return byte;
}

static unsigned int serial_trigger(const struct serial *serial)
{
	static const unsigned int levels[] = { 1, 4, 8, 14 };

	return serial->fcr & UART_FCR_ENABLE_FIFO ? levels[serial->fcr >> 6] : 1;
}

/* The most urgent cause. */
static uint8_t serial_iir(const struct serial *serial)
{
	if (serial->ier & UART_IER_RLSI && serial->lsr_errors)
		return UART_IIR_RLSI;
	if (serial->ier & UART_IER_RDI && serial->fifo_used >= serial_trigger(serial))
		return UART_IIR_RDI;
	/* Fewer than the trigger level: at once what a real one says 4 characters later. */
	if (serial->ier & UART_IER_RDI && serial->fifo_used)
		return UART_IIR_RX_TIMEOUT;
	if (serial->ier & UART_IER_THRI && serial->thr_pending)
		return UART_IIR_THRI;
	if (serial->ier & UART_IER_MSI && serial->msr_delta)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

/* OUT2 gates the interrupt on a PC, and in loopback nothing leaves the chip. */
static void serial_update_irq(struct serial *serial)
{
	bool level = serial_iir(serial) != UART_IIR_NO_INT && serial->mcr & UART_MCR_OUT2 &&
		     !(serial->mcr & UART_MCR_LOOP);

	if (level == serial->irq_level)
		return;
	serial->irq_level = level;
	kvm_irq_line(serial->vm, SERIAL_IRQ, level);
}

static uint8_t serial_msr(const struct serial *serial)
{
	uint8_t mcr = serial->mcr;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	return (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static void serial_set_mcr(struct serial *serial, uint8_t value)
{
	uint8_t before = serial_msr(serial), changed;

	serial->mcr = value & (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 |
			       UART_MCR_LOOP);
	changed = before ^ serial_msr(serial);
	/* Of RI only the end counts. */
	if (changed & UART_MSR_RI && serial_msr(serial) & UART_MSR_RI)
		changed &= ~UART_MSR_RI;
	serial->msr_delta |= changed >> 4;
}

static void serial_set_fcr(struct serial *serial, uint8_t value)
{
	/* Turning the FIFO on or off empties it. */
	if (value & UART_FCR_CLEAR_RCVR || (value ^ serial->fcr) & UART_FCR_ENABLE_FIFO) {
		serial->fifo_used = 0;
		serial_feed(serial);
	}
	if (value & UART_FCR_CLEAR_XMIT)
		serial->thr_pending = true;
	serial->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK);
}

static uint8_t serial_get(struct serial *serial, unsigned int reg)
{
	uint8_t value;

	switch (reg) {
	case UART_RX:
		if (serial->lcr & UART_LCR_DLAB)
			return serial->divisor[0];
		return serial_take(serial);
	case UART_IER:
		return serial->lcr & UART_LCR_DLAB ? serial->divisor[1] : serial->ier;
	case UART_IIR:
		value = serial_iir(serial);
		if (value == UART_IIR_THRI)
			serial->thr_pending = false;
		return value | (serial->fcr & UART_FCR_ENABLE_FIFO ? 0xc0 : 0);
	case UART_LCR:
		return serial->lcr;
	case UART_MCR:
		return serial->mcr;
	case UART_LSR:
		value = UART_LSR_THRE | UART_LSR_TEMT | serial->lsr_errors |
			(serial->fifo_used ? UART_LSR_DR : 0);
		serial->lsr_errors = 0;
		if (serial->lsr_polls < LISTENING_POLLS)
			serial->lsr_polls++;
		serial_feed(serial);
		return value;
	case UART_MSR:
		value = serial_msr(serial) | serial->msr_delta;
		serial->msr_delta = 0;
		return value;
	default:
		return serial->scr;
	}
}

static void serial_set(struct serial *serial, unsigned int reg, uint8_t value)
{
	if (serial->lsr_polls < LISTENING_POLLS)
		serial->lsr_polls = 0;
	switch (reg) {
	case UART_TX:
		if (serial->lcr & UART_LCR_DLAB) {
			serial->divisor[0] = value;
			break;
		}
		/* Out of the chip it goes in serial_write(). */
		if (serial->mcr & UART_MCR_LOOP)
			serial_put(serial, value);
		serial->thr_pending = true;
		break;
	case UART_IER:
		if (serial->lcr & UART_LCR_DLAB) {
			serial->divisor[1] = value;
			break;
		}
		/* Switched on while the transmitter is empty, it interrupts at once. */
		if (value & ~serial->ier & UART_IER_THRI)
			serial->thr_pending = true;
		serial->ier = value & 0x0f;
		serial_feed(serial);
		break;
	case UART_FCR:
		serial_set_fcr(serial, value);
		break;
	case UART_LCR:
		serial->lcr = value;
		break;
	case UART_MCR:
		serial_set_mcr(serial, value);
		break;
	case UART_SCR:
		serial->scr = value;
		break;
	}
}

static uint64_t serial_read(void *dev, uint64_t offset, unsigned int size)
{
	struct serial *serial = dev;
	uint64_t value = 0;
	unsigned int i;

	pthread_mutex_lock(&serial->lock);
	for (i = 0; i < size; i++)
		value |= (uint64_t)serial_get(serial, offset + i) << (8 * i);
	serial_update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
	return value;
}

static bool serial_transmits(struct serial *serial, unsigned int reg)
{
	bool transmits;

	pthread_mutex_lock(&serial->lock);
	transmits = reg == UART_TX && !(serial->lcr & UART_LCR_DLAB) &&
		    !(serial->mcr & UART_MCR_LOOP);
	pthread_mutex_unlock(&serial->lock);
	return transmits;
}

/*
 * Whoever reads the console may be slow: it is written without the lock, which
 * the main thread takes as well, and before the guest hears that the
 * transmitter is empty.
 */
static void serial_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct serial *serial = dev;
	unsigned int i;
	uint8_t byte;

	for (i = 0; i < size; i++) {
		byte = value >> (8 * i);
		if (serial_transmits(serial, offset + i))
			console_write(serial->vm, serial->console, &byte, 1);
		pthread_mutex_lock(&serial->lock);
		serial_set(serial, offset + i, byte);
		serial_update_irq(serial);
		pthread_mutex_unlock(&serial->lock);
	}
}

static void serial_receive(void *dev, uint8_t byte)
{
	struct serial *serial = dev;

	pthread_mutex_lock(&serial->lock);
	/* In loopback the wire is cut. */
	if (!(serial->mcr & UART_MCR_LOOP))
		serial_put(serial, byte);
	serial_update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
}

static void serial_receive_break(void *dev)
{
	struct serial *serial = dev;

	pthread_mutex_lock(&serial->lock);
	serial_put(serial, 0);
	serial->lsr_errors |= UART_LSR_BI;
	serial_update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
}

static size_t serial_get_room(void *dev)
{
	struct serial *serial = dev;
	size_t room;

	pthread_mutex_lock(&serial->lock);
	room = serial_listens(serial) ? serial_room(serial) : 0;
	serial->starved = !room;
	pthread_mutex_unlock(&serial->lock);
	return room;
}

static void serial_describe(struct vm *vm, void *dev, struct aml *aml)
{
	size_t device = aml_device_begin(aml, "COM1");
	struct aml resources = {};

	(void)vm;
	(void)dev;
	aml_name_eisa(aml, "_HID", "PNP0501");
	aml_name_number(aml, "_UID", 0);
	aml_resource_ports(&resources, SERIAL_PORT, 8);
	aml_resource_irq(&resources, SERIAL_IRQ);
	aml_name_resources(aml, &resources);
	aml_end(aml, device);
}

static void serial_setup(struct vm *vm)
{
	static const struct device_type type = { .name = "serial", .describe = serial_describe };
	static const struct io_ops ops = { serial_read, serial_write };
	struct serial *serial = xcalloc(1, sizeof(*serial));

	serial->vm = vm;
	serial->divisor[0] = 12;	/* 9600 */
	pthread_mutex_init(&serial->lock, NULL);
	/* Another device may have the terminal (-chardev stdio). */
	serial->console = vm->console.dev ? console_create(NULL) : &vm->console;
	serial->console->receive = serial_receive;
	serial->console->receive_break = serial_receive_break;
	serial->console->room = serial_get_room;
	serial->console->dev = serial;
	io_add(vm, IO_PORT, SERIAL_PORT, 8, &ops, serial);
	device_add(vm, &type, serial);
	device_add_state(vm, &serial->state, sizeof(serial->state));
}

DECLARE_DEVICE(serial, { .name = "serial", .setup = serial_setup });
