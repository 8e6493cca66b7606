// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "9p/message.h"

/* Numbers are as this machine has them: the smallest byte first. */
const uint8_t *p9_take_bytes(struct p9_in *in, size_t size)
{
	const uint8_t *at = in->at;

	if (size > in->left) {
		in->short_of = true;
		in->left = 0;
		return NULL;
	}
	in->at += size;
	in->left -= size;
	return at;
}

static uint64_t p9_take(struct p9_in *in, size_t size)
{
	const uint8_t *at = p9_take_bytes(in, size);
	uint64_t value = 0;

	if (at)
		memcpy(&value, at, size);
	return value;
}

uint8_t p9_take8(struct p9_in *in)
{
	return p9_take(in, sizeof(uint8_t));
}

uint16_t p9_take16(struct p9_in *in)
{
	return p9_take(in, sizeof(uint16_t));
}

uint32_t p9_take32(struct p9_in *in)
{
	return p9_take(in, sizeof(uint32_t));
}

uint64_t p9_take64(struct p9_in *in)
{
	return p9_take(in, sizeof(uint64_t));
}

void p9_take_string(struct p9_in *in, char *to, size_t room)
{
	uint16_t size = p9_take16(in);
	const uint8_t *at = p9_take_bytes(in, size);

	*to = '\0';
	if (!at || size >= room || memchr(at, '\0', size))
		return;
	memcpy(to, at, size);
	to[size] = '\0';
}

void p9_put_bytes(struct p9_out *out, const void *bytes, size_t size)
{
	if (out->full || size > out->room - out->used) {
		out->full = true;
		return;
	}
	memcpy(out->bytes + out->used, bytes, size);
	out->used += size;
}

void p9_put8(struct p9_out *out, uint8_t value)
{
	p9_put_bytes(out, &value, sizeof(value));
}

void p9_put16(struct p9_out *out, uint16_t value)
{
	p9_put_bytes(out, &value, sizeof(value));
}

void p9_put32(struct p9_out *out, uint32_t value)
{
	p9_put_bytes(out, &value, sizeof(value));
}

void p9_put64(struct p9_out *out, uint64_t value)
{
	p9_put_bytes(out, &value, sizeof(value));
}

void p9_put_string(struct p9_out *out, const char *text)
{
	size_t size = strlen(text);

	p9_put16(out, size);
	p9_put_bytes(out, text, size);
}

void p9_put_qid(struct p9_out *out, const struct p9_qid *qid)
{
	p9_put8(out, qid->type);
	p9_put32(out, qid->version);
	p9_put64(out, qid->path);
}

void p9_set32(struct p9_out *out, size_t at, uint32_t value)
{
	if (at + sizeof(value) <= out->used)
		memcpy(out->bytes + at, &value, sizeof(value));
}
