/* SPDX-License-Identifier: GPL-2.0-only */
/* What an input begins with; guest memory follows, from address 0 on. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdint.h>

enum target {
	TARGET_BLK,
	TARGET_BLK_READ_ONLY,
	TARGET_BLK_FORKED,	/* writes go to the temporary file */
	TARGET_BLK_KEEPS,	/* a child wants the old content */
	TARGET_NET,
	TARGET_RNG,
	TARGET_9P,	/* a session with two handles: 0 the root, 1 a file that is open */
	TARGET_SERIAL,	/* a console and a port, with input */
	TARGET_BALLOON,
	TARGET_VSOCK,	/* events */
	NR_TARGETS,
};

struct input {
	uint8_t target;
	uint8_t event_idx;	/* bit 1: discards are carried out */
	uint8_t size_log;
	uint8_t pad;
	uint16_t desc, avail, used;
	uint16_t next_avail;
};

#endif
