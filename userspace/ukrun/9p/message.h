/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The bytes of 9P messages. What is taken from one that is too short is zero or
 * empty, and what is put into one that is full is lost: both are remembered, so
 * that it is enough to ask at the end.
 */
#ifndef UKRUN_9P_MESSAGE_H
#define UKRUN_9P_MESSAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* size[4] type[1] tag[2] */
#define P9_HEADER	7

/* type[1] version[4] path[8] */
#define P9_QID_SIZE	13U

/* Of a qid's type. */
#define P9_QID_DIR	0x80
#define P9_QID_SYMLINK	0x02
#define P9_QID_FILE	0x00

struct p9_qid {
	uint8_t type;
	uint32_t version;
	uint64_t path;
};

/* A request, behind its header. */
struct p9_in {
	const uint8_t *at;
	size_t left;
	bool short_of;
};

/* An answer, header included. */
struct p9_out {
	uint8_t *bytes;
	size_t used, room;
	bool full;
};

uint8_t p9_take8(struct p9_in *in);
uint16_t p9_take16(struct p9_in *in);
uint32_t p9_take32(struct p9_in *in);
uint64_t p9_take64(struct p9_in *in);
/* Null when there are not so many bytes left. */
const uint8_t *p9_take_bytes(struct p9_in *in, size_t size);
/* A string, which gets its NUL. Empty when it has one of its own, or is longer than @room. */
void p9_take_string(struct p9_in *in, char *to, size_t room);

void p9_put8(struct p9_out *out, uint8_t value);
void p9_put16(struct p9_out *out, uint16_t value);
void p9_put32(struct p9_out *out, uint32_t value);
void p9_put64(struct p9_out *out, uint64_t value);
void p9_put_bytes(struct p9_out *out, const void *bytes, size_t size);
void p9_put_string(struct p9_out *out, const char *text);
void p9_put_qid(struct p9_out *out, const struct p9_qid *qid);
/* Overwrite what was put at @at. */
void p9_set32(struct p9_out *out, size_t at, uint32_t value);

#endif
