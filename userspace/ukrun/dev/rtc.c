// SPDX-License-Identifier: GPL-2.0-only
/*
 * MC146818: the host's time in UTC, and memory that tells of RAM as a BIOS
 * would. It makes no interrupts.
 */
#include <pthread.h>
#include <time.h>

#include "device.h"
#include "log.h"

#define RTC_PORT	0x70

#define RTC_SECONDS	0x00
#define RTC_MINUTES	0x02
#define RTC_HOURS	0x04
#define RTC_WEEKDAY	0x06
#define RTC_DAY		0x07
#define RTC_MONTH	0x08
#define RTC_YEAR	0x09
#define RTC_STATUS_A	0x0a
#define RTC_STATUS_B	0x0b
#define RTC_STATUS_C	0x0c
#define RTC_STATUS_D	0x0d
#define RTC_CENTURY	0x32

#define STATUS_A_32KHZ	0x26
#define STATUS_B_24H	0x02
#define STATUS_B_BINARY	0x04
#define STATUS_D_VALID	0x80

struct rtc {
	pthread_mutex_t lock;

	struct_group(state,
		uint8_t index;
		uint8_t ram[128];
		/* As of when the guest began to read. */
		struct tm now;
	);
};

static void rtc_latch(struct rtc *rtc)
{
	time_t now = time(NULL);

	gmtime_r(&now, &rtc->now);
}

static uint8_t rtc_number(const struct rtc *rtc, int value)
{
	if (rtc->ram[RTC_STATUS_B] & STATUS_B_BINARY)
		return value;
	return value / 10 << 4 | value % 10;
}

static uint8_t rtc_hours(const struct rtc *rtc)
{
	int hour = rtc->now.tm_hour;

	if (rtc->ram[RTC_STATUS_B] & STATUS_B_24H)
		return rtc_number(rtc, hour);
	return rtc_number(rtc, hour % 12 ?: 12) | (hour >= 12 ? 0x80 : 0);
}

/* Status A is what a guest looks at first: no second ends while it reads. */
static uint8_t rtc_get(struct rtc *rtc)
{
	switch (rtc->index) {
	case RTC_SECONDS:
		rtc_latch(rtc);
		return rtc_number(rtc, rtc->now.tm_sec);
	case RTC_MINUTES:
		return rtc_number(rtc, rtc->now.tm_min);
	case RTC_HOURS:
		return rtc_hours(rtc);
	case RTC_WEEKDAY:
		return rtc_number(rtc, rtc->now.tm_wday + 1);
	case RTC_DAY:
		return rtc_number(rtc, rtc->now.tm_mday);
	case RTC_MONTH:
		return rtc_number(rtc, rtc->now.tm_mon + 1);
	case RTC_YEAR:
		return rtc_number(rtc, rtc->now.tm_year % 100);
	case RTC_CENTURY:
		return rtc_number(rtc, rtc->now.tm_year / 100 + 19);
	case RTC_STATUS_A:
		rtc_latch(rtc);
		return STATUS_A_32KHZ;
	case RTC_STATUS_C:
		return 0;
	case RTC_STATUS_D:
		return STATUS_D_VALID;
	}
	return rtc->ram[rtc->index];
}

static uint64_t rtc_read(void *dev, uint64_t offset, unsigned int size)
{
	struct rtc *rtc = dev;
	uint8_t value = 0xff;

	(void)size;
	pthread_mutex_lock(&rtc->lock);
	if (offset)
		value = rtc_get(rtc);
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void rtc_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct rtc *rtc = dev;

	(void)size;
	pthread_mutex_lock(&rtc->lock);
	/* Bit 7 masks NMIs. Setting the time has no effect: it is the host's. */
	if (!offset)
		rtc->index = value & 0x7f;
	else
		rtc->ram[rtc->index] = value;
	pthread_mutex_unlock(&rtc->lock);
}

static void rtc_set_word(struct rtc *rtc, uint8_t at, uint64_t value)
{
	if (value > 0xffff)
		value = 0xffff;
	rtc->ram[at] = value;
	rtc->ram[at + 1] = value >> 8;
}

static void rtc_setup(struct vm *vm)
{
	static const struct io_ops ops = { rtc_read, rtc_write };
	struct rtc *rtc = xcalloc(1, sizeof(*rtc));
	uint64_t low = vm->memory.low, high = vm->memory.size - low;

	pthread_mutex_init(&rtc->lock, NULL);
	rtc_latch(rtc);
	rtc->ram[RTC_STATUS_B] = STATUS_B_24H;
	rtc_set_word(rtc, 0x15, 640);				/* KiB of the first MiB */
	rtc_set_word(rtc, 0x17, (low - LOW_END) >> 10);		/* KiB above it */
	rtc_set_word(rtc, 0x30, (low - LOW_END) >> 10);
	if (low > 16 << 20)
		rtc_set_word(rtc, 0x34, (low - (16 << 20)) >> 16);	/* 64 KiB above 16 MiB */
	/* 64 KiB above 4 GiB, three bytes. */
	rtc->ram[0x5b] = high >> 16;
	rtc->ram[0x5c] = high >> 24;
	rtc->ram[0x5d] = high >> 32;
	rtc->ram[0x5f] = vm->config.nr_vcpus - 1;
	io_add(vm, IO_PORT, RTC_PORT, 2, &ops, rtc);
	device_add_state(vm, &rtc->state, sizeof(rtc->state));
}

DECLARE_DEVICE(rtc, { .name = "rtc", .setup = rtc_setup });
