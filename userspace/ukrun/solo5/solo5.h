/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Solo5's hvt, version 2: its include/hvt_abi.h, mft_abi.h and elf_abi.h say
 * how guest and host talk.
 */
#ifndef UKRUN_SOLO5_H
#define UKRUN_SOLO5_H

#include <stdint.h>

#define SOLO5_NOTE_NAME		"Solo5"
#define SOLO5_NOTE_ABI		0x31494241	/* "ABI1" */
#define SOLO5_NOTE_MANIFEST	0x3154464d	/* "MFT1" */

#define SOLO5_ABI_HVT		1
#define SOLO5_ABI_VERSION	2

struct solo5_abi {
	uint32_t target, version, reserved[2];
};

/* What devices the guest wants, by name; told back with what they are. */
#define SOLO5_MANIFEST_VERSION	1
#define SOLO5_ENTRIES_MAX	64
#define SOLO5_NAME_SIZE		68

#define SOLO5_ENTRY_BLOCK	1
#define SOLO5_ENTRY_NET		2
#define SOLO5_ENTRY_FIRST	(1U << 30)

struct solo5_entry {
	char name[SOLO5_NAME_SIZE];
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
	uint64_t host;		/* the host's own: zero */
	uint8_t attached;
	uint8_t pad[7];
};

struct solo5_manifest {
	uint32_t version, nr_entries;
	struct solo5_entry entries[SOLO5_ENTRIES_MAX];
};

struct solo5_boot_info {
	uint64_t memory_size, kernel_end, tsc_hz, cmdline, manifest;
	/* Offers of rings, from later versions: none. */
	uint32_t host_features, guest_features;
	uint64_t net_ring;
};

#define SOLO5_CMDLINE_MAX	8191

/* A call is a 32-bit write of its arguments' address to SOLO5_PORT + its number. */
#define SOLO5_PORT		0x500

enum solo5_call {
	SOLO5_WALLTIME = 1,
	SOLO5_PUTS,
	SOLO5_POLL,
	SOLO5_BLOCK_WRITE,
	SOLO5_BLOCK_READ,
	SOLO5_NET_WRITE,
	SOLO5_NET_READ,
	SOLO5_HALT,
	SOLO5_CALLS,
};

struct solo5_walltime {
	uint64_t ns;
};

struct solo5_puts {
	uint64_t data, size;
};

struct solo5_poll {
	uint64_t timeout_ns, ready_set;
	int32_t ret;
};

struct solo5_block {
	uint64_t handle, offset, data, size;
	int32_t ret;
};

struct solo5_net {
	uint64_t handle, data, size;
	int32_t ret;
};

struct solo5_halt {
	uint64_t cookie;
	int32_t status;
};

/* Results, include/solo5.h. */
#define SOLO5_OK		0
#define SOLO5_AGAIN		1
#define SOLO5_EINVAL		2
#define SOLO5_EUNSPEC		3

#endif
