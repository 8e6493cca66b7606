// SPDX-License-Identifier: GPL-2.0-only
/*
 * A Solo5 guest: checks what its host promises, include/hvt_abi.h there.
 *
 *	mib=N		of memory
 *	exit=N		what to halt with
 *	bad=N		call N with an address that is no memory; 0: a call of no number
 *	fork		forks; parent and child each write to the disk
 *	disk=HEX	the first 8 bytes of the disk
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bare.h"
#include "x86.h"

#define PORT		0x500
#define WALLTIME	1
#define PUTS		2
#define POLL		3
#define BLOCK_WRITE	4
#define BLOCK_READ	5
#define NET_WRITE	6
#define NET_READ	7
#define HALT		8

#define OK		0
#define AGAIN		1
#define EINVAL		2
#define FAILED		100

#define HANDLE_DISK	1
#define HANDLE_NET	2
#define SECTOR		512
#define NS_PER_S	1000000000ULL
#define NS_PER_MS	1000000ULL
/* 2020: whoever runs this is later. */
#define NOT_BEFORE	(1577836800ULL * NS_PER_S)

struct entry {
	char name[68];
	uint32_t type;
	union {
		struct {
			uint64_t capacity;
			uint16_t block_size;
		} block;
		struct {
			uint8_t mac[6];
			uint16_t mtu;
		} net;
	};
	uint64_t host;
	bool attached;
};

struct manifest {
	uint32_t version, nr;
	struct entry entries[];
};

struct boot_info {
	uint64_t memory, kernel_end, tsc_hz;
	const char *cmdline;
	const struct manifest *manifest;
	uint32_t host_features, guest_features;
	uint64_t net_ring;
};

struct block_call {
	uint64_t handle, offset;
	void *data;
	uint64_t size;
	int32_t ret;
};

struct net_call {
	uint64_t handle;
	void *data;
	uint64_t size;
	int32_t ret;
};

void solo5_main(const struct boot_info *info, uint64_t rsp);
long bare_fork(void);

extern char _end[];

const char guest_name[] = "solo5";

static void call(unsigned int nr, volatile void *args)
{
	asm volatile("outl %0, %1" : : "a"((uint32_t)(uint64_t)args),
		     "d"((uint16_t)(PORT + nr)) : "memory");
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void put(const char *s)
{
	volatile struct {
		const char *data;
		uint64_t size;
	} puts = { s, length(s) };

	call(PUTS, &puts);
}

static uint64_t walltime(void)
{
	volatile uint64_t ns = 0;

	call(WALLTIME, &ns);
	return ns;
}

/* Returns the set of what is ready. */
static uint64_t poll(uint64_t timeout_ns)
{
	volatile struct {
		uint64_t timeout_ns, ready;
		int32_t ret;
	} poll = { timeout_ns, ~0ULL, -1 };

	call(POLL, &poll);
	/* There is one network at most. */
	check(poll.ret == !!poll.ready, "result of poll", (uint64_t)poll.ret);
	return poll.ready;
}

static int block(unsigned int nr, uint64_t handle, uint64_t offset, void *data, uint64_t size)
{
	volatile struct block_call block = { handle, offset, data, size, -1 };

	call(nr, &block);
	return block.ret;
}

static void check_boot(const struct boot_info *info, uint64_t rsp)
{
	check(info->memory == arg_number("mib=", 10) << 20, "memory", info->memory);
	check(info->kernel_end >= (uint64_t)_end && info->kernel_end < 0x200000 &&
	      !(info->kernel_end & 4095), "kernel_end", info->kernel_end);
	check(rsp == info->memory - 8, "RSP", rsp);
	check(info->tsc_hz > 10000000, "TSC", info->tsc_hz);
	check(!info->host_features && !info->net_ring, "offers", info->host_features);
	check(info->manifest->version == 1, "manifest", info->manifest->version);
}

/* The wait is as long as was asked for, by both clocks. */
static void check_clocks(const struct boot_info *info)
{
	uint64_t before = walltime(), tsc = rdtsc(), ns;

	check(before > NOT_BEFORE, "walltime", before);
	check(!poll(50 * NS_PER_MS), "ready without a device", 1);
	ns = walltime() - before;
	check(ns >= 50 * NS_PER_MS && ns < 20 * NS_PER_S, "ns of walltime", ns);
	ns = (rdtsc() - tsc) / (info->tsc_hz / 1000000) * 1000;
	check(ns >= 45 * NS_PER_MS && ns < 20 * NS_PER_S, "ns by the TSC", ns);
	poll(0);
}

static void check_disk(const struct entry *entry)
{
	static uint8_t sector[SECTOR], back[SECTOR];
	uint64_t size = entry->block.capacity, first = 0;

	check(entry->attached && entry->block.block_size == SECTOR, "the disk",
	      entry->block.block_size);
	check(block(BLOCK_READ, HANDLE_DISK, 0, sector, SECTOR) == OK, "reading", 0);
	for (unsigned int i = 0; i < 8; i++)
		first = first << 8 | sector[i];
	check(first == arg_number("disk=", 16), "the disk's first bytes", first);
	for (unsigned int i = 0; i < SECTOR; i++)
		sector[i] = (uint8_t)(i * 7 + 1);
	check(block(BLOCK_WRITE, HANDLE_DISK, size - SECTOR, sector, SECTOR) == OK, "writing", 0);
	check(block(BLOCK_READ, HANDLE_DISK, size - SECTOR, back, SECTOR) == OK, "reading", 1);
	for (unsigned int i = 0; i < SECTOR; i++)
		if (!check(back[i] == sector[i], "what was written", back[i]))
			break;
	check(block(BLOCK_READ, HANDLE_DISK, size, back, SECTOR) == EINVAL, "reading behind", 0);
	check(block(BLOCK_READ, HANDLE_DISK, -SECTOR, back, SECTOR) == EINVAL, "reading far", 0);
	check(block(BLOCK_WRITE, HANDLE_DISK, size - SECTOR, back, 2 * SECTOR) == EINVAL,
	      "writing beyond", 0);
	check(block(BLOCK_READ, HANDLE_DISK, 1, back, SECTOR) == EINVAL, "reading across", 0);
	check(block(BLOCK_READ, HANDLE_NET, 0, back, SECTOR) == EINVAL, "reading the net", 0);
	check(block(BLOCK_READ, 64, 0, back, SECTOR) == EINVAL, "reading handle 64", 0);
}

/* Who has 10.0.2.2? The host answers. */
static void check_net(const struct entry *entry)
{
	static uint8_t frame[60] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x08, 0x06,
		0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 2, 15,
		0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
	};
	static uint8_t answer[1514];
	volatile struct net_call net = { HANDLE_NET, answer, sizeof(answer), -1 };
	uint64_t until = walltime() + 20 * NS_PER_S;

	check(entry->attached && entry->net.mtu == 1500, "the network", entry->net.mtu);
	for (unsigned int i = 0; i < 6; i++)
		frame[6 + i] = frame[22 + i] = entry->net.mac[i];
	call(NET_READ, &net);
	check(net.ret == AGAIN, "a frame that nobody sent", (uint64_t)net.ret);
	net = (struct net_call){ HANDLE_NET, frame, sizeof(frame), -1 };
	call(NET_WRITE, &net);
	check(net.ret == OK, "sending", (uint64_t)net.ret);
	do {
		if (!(poll(NS_PER_S) & 1 << HANDLE_NET))
			continue;
		net = (struct net_call){ HANDLE_NET, answer, sizeof(answer), -1 };
		call(NET_READ, &net);
		if (check(net.ret == OK, "receiving", (uint64_t)net.ret) &&
		    answer[12] == 8 && answer[13] == 6 && answer[21] == 2) {
			check(answer[28] == 10 && answer[31] == 2, "whose answer", answer[31]);
			put("solo5: 10.0.2.2 answers\n");
			return;
		}
	} while (walltime() < until);
	check(false, "no answer", 0);
}

/* What one writes the other does not see. */
static void check_fork(void)
{
	static uint8_t sector[SECTOR];
	long id = bare_fork();

	check(id >= 0, "fork", (uint64_t)id);
	for (unsigned int i = 0; i < SECTOR; i++)
		sector[i] = (uint8_t)(id ? 0xaa : 0x55);
	check(block(BLOCK_WRITE, HANDLE_DISK, 0, sector, SECTOR) == OK, "writing", 0);
	poll(300 * NS_PER_MS);
	check(block(BLOCK_READ, HANDLE_DISK, 0, sector, SECTOR) == OK, "reading", 0);
	check(sector[0] == (id ? 0xaa : 0x55), "the other's disk", sector[0]);
	put(failures ? "" : id ? "solo5: parent has its disk\n" : "solo5: child has its disk\n");
}

static void halt(int status)
{
	volatile struct {
		uint64_t cookie;
		int32_t status;
	} halt = { 0, status };

	call(HALT, &halt);
	for (;;)
		asm volatile("cli; hlt");
}

void solo5_main(const struct boot_info *info, uint64_t rsp)
{
	const struct manifest *manifest = info->manifest;

	cmdline = info->cmdline;
	put("solo5: command line '");
	put(cmdline);
	put("'\n");
	check_boot(info, rsp);
	check_clocks(info);
	if (manifest->nr > HANDLE_NET) {
		check_disk(&manifest->entries[HANDLE_DISK]);
		check_net(&manifest->entries[HANDLE_NET]);
	}
	if (arg("bad=")) {
		call((unsigned int)arg_number("bad=", 10), (void *)0xf0000000);
		check(false, "a call with no memory came back", 0);
	}
	if (arg("fork") && !failures)
		check_fork();
	check(!arg("break"), "told to break", 0);
	put(failures ? "solo5: failed\n" : "solo5: ok\n");
	halt(failures ? FAILED : (int)arg_number("exit=", 10));
}
