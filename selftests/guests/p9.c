// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-9p: a directory in which the host has put `hello`, `sub/inner`, a link
 * `out` to a directory outside, and a pipe `pipe`.
 *
 *	fork	forks with files open
 *	ro	the directory can only be read
 *	break	expects what is not there
 */
#include "cpu.h"
#include "guest.h"
#include "virtio.h"
#include "x86.h"

#define VIRTIO_ID_9P	9
#define MESSAGE_MAX	8192

#define R_ERROR		7
#define T_STATFS	8
#define T_LOPEN		12
#define T_LCREATE	14
#define T_SYMLINK	16
#define T_MKNOD		18
#define T_READLINK	22
#define T_GETATTR	24
#define T_SETATTR	26
#define T_XATTRWALK	30
#define T_READDIR	40
#define T_FSYNC		50
#define T_LINK		70
#define T_MKDIR		72
#define T_RENAMEAT	74
#define T_UNLINKAT	76
#define T_VERSION	100
#define T_ATTACH	104
#define T_WALK		110
#define T_CREATE	114
#define T_READ		116
#define T_WRITE		118
#define T_CLUNK		120
#define T_REMOVE	122

#define E_NOENT		2
#define E_BADF		9
#define E_EXIST		17
#define E_NOTDIR	20
#define E_ISDIR		21
#define E_INVAL		22
#define E_ROFS		30
#define E_NOTEMPTY	39
#define E_LOOP		40
#define E_PROTO		71
#define E_MSGSIZE	90
#define E_OPNOTSUPP	95

#define O_RDWR		2
#define O_TRUNC		01000

#define DMDIR		0x80000000U
#define ROOT		0
#define NOFID		0xffffffffU

const char guest_name[] = "p9";

static struct virtio dev;
static struct ring ring;
static uint16_t used;
static uint8_t out[MESSAGE_MAX] __aligned(4096);
static uint8_t in[MESSAGE_MAX] __aligned(4096);
/* Of @out: bytes so far; of @in: where the next is taken from. */
static uint32_t put, taken;
static uint32_t room = MESSAGE_MAX;

static void put_bytes(const void *bytes, size_t size)
{
	memcpy(out + put, bytes, size);
	put += (uint32_t)size;
}

static void put_number(uint64_t value, size_t size)
{
	put_bytes(&value, size);
}

static void put_string(const char *s)
{
	put_number(strlen(s), 2);
	put_bytes(s, strlen(s));
}

static uint64_t take(size_t size)
{
	uint64_t value = 0;

	memcpy(&value, in + taken, size);
	taken += (uint32_t)size;
	return value;
}

static void begin(void)
{
	check(virtio_begin(&dev, FEATURE_VERSION_1), "features refused");
	virtio_set_ring(&dev, 0, &ring);
	used = 0;
	virtio_ready(&dev);
}

static void offer(uint32_t size)
{
	memset(in, 0xee, sizeof(in));
	ring.desc[0] = (struct desc){ (uint64_t)out, size, DESC_NEXT, 1 };
	ring.desc[1] = (struct desc){ (uint64_t)in, room, DESC_WRITE, 0 };
	ring_offer(&ring, 0);
	virtio_set(&dev, VIRTIO_NOTIFY, 0);
}

static void message(uint8_t type)
{
	put = 0;
	put_number(0, 4);
	put_number(type, 1);
	put_number(type, 2);
}

/* 0, or the error that came back. */
static uint32_t send(void)
{
	uint32_t size = put, error;
	uint8_t type = out[4];

	memcpy(out, &size, 4);
	offer(size);
	if (!check(ring_wait(&ring, ++used), "message %u: no answer", type))
		guest_end();
	taken = 0;
	check_eq("the size of an answer", take(4), ring.used[(used - 1) % RING_SIZE].len);
	error = (uint32_t)take(1);
	check_eq("the tag", take(2), type);
	if (error == R_ERROR)
		return (uint32_t)take(4);
	check_eq("the answer's type", error, type + 1u);
	return 0;
}

static uint32_t version(uint32_t size, const char *text)
{
	message(T_VERSION);
	put_number(size, 4);
	put_string(text);
	return send();
}

static uint32_t attach(uint32_t fid)
{
	message(T_ATTACH);
	put_number(fid, 4);
	put_number(NOFID, 4);
	put_string("root");
	put_string("");
	put_number(0, 4);
	return send();
}

static uint32_t walk(uint32_t fid, uint32_t to, const char *name)
{
	message(T_WALK);
	put_number(fid, 4);
	put_number(to, 4);
	put_number(name ? 1 : 0, 2);
	if (name)
		put_string(name);
	return send();
}

static uint32_t lopen(uint32_t fid, uint32_t flags)
{
	message(T_LOPEN);
	put_number(fid, 4);
	put_number(flags, 4);
	return send();
}

static uint32_t lcreate(uint32_t fid, const char *name, uint32_t flags)
{
	message(T_LCREATE);
	put_number(fid, 4);
	put_string(name);
	put_number(flags, 4);
	put_number(0644, 4);
	put_number(0, 4);
	return send();
}

static uint32_t clunk(uint32_t fid)
{
	message(T_CLUNK);
	put_number(fid, 4);
	return send();
}

static uint32_t remove(uint32_t fid)
{
	message(T_REMOVE);
	put_number(fid, 4);
	return send();
}

/* As 9P2000 makes directories. */
static uint32_t create(uint32_t fid, const char *name, uint32_t mode)
{
	message(T_CREATE);
	put_number(fid, 4);
	put_string(name);
	put_number(mode, 4);
	put_number(0, 1);
	put_string("");
	return send();
}

static uint32_t read_at(uint8_t type, uint32_t fid, uint64_t offset, uint32_t count)
{
	message(type);
	put_number(fid, 4);
	put_number(offset, 8);
	put_number(count, 4);
	return send();
}

static uint32_t write_at(uint32_t fid, uint64_t offset, const char *text)
{
	message(T_WRITE);
	put_number(fid, 4);
	put_number(offset, 8);
	put_number(strlen(text), 4);
	put_bytes(text, strlen(text));
	return send();
}

static uint32_t unlink(uint32_t dir, const char *name)
{
	message(T_UNLINKAT);
	put_number(dir, 4);
	put_string(name);
	put_number(0, 4);
	return send();
}

static uint32_t rename(uint32_t dir, const char *from, uint32_t to_dir, const char *to)
{
	message(T_RENAMEAT);
	put_number(dir, 4);
	put_string(from);
	put_number(to_dir, 4);
	put_string(to);
	return send();
}

static uint32_t link(uint32_t dir, uint32_t fid, const char *name)
{
	message(T_LINK);
	put_number(dir, 4);
	put_number(fid, 4);
	put_string(name);
	return send();
}

/* Name, what it is or where it leads to, mode, and the group. */
static uint32_t make(uint8_t type, const char *name, const char *target, uint32_t mode)
{
	message(type);
	put_number(ROOT, 4);
	put_string(name);
	if (target)
		put_string(target);
	else
		put_number(mode, 4);
	if (type == T_MKNOD)
		put_number(0, 8);
	put_number(0, 4);
	return send();
}

static void expect_text(const char *what, uint32_t fid, const char *text)
{
	check_eq(what, read_at(T_READ, fid, 0, 4096), 0);
	check_eq(what, take(4), strlen(text));
	check(!memcmp(in + taken, text, strlen(text)), "%s: other text", what);
}

static void session(void)
{
	check_eq("version", version(MESSAGE_MAX, "9P2000.L"), 0);
	check_eq("attach", attach(ROOT), 0);
}

/* How often it is there, and how many there are in all. */
static unsigned int count_entries(uint32_t fid, const char *name, unsigned int *all)
{
	uint64_t offset = 0;
	unsigned int found = 0;

	*all = 0;
	for (;;) {
		uint32_t size, end;

		/* Room for two or three. */
		if (!check(!read_at(T_READDIR, fid, offset, 100), "readdir fails"))
			return 0;
		size = (uint32_t)take(4);
		if (!size)
			return found;
		check(size <= 100, "more than asked for: %u", size);
		for (end = taken + size; taken < end;) {
			uint16_t length;

			take(8);
			take(5);
			offset = take(8);
			take(1);
			length = (uint16_t)take(2);
			found += length == strlen(name) && !memcmp(in + taken, name, length);
			taken += length;
			++*all;
		}
	}
}

static void check_files(void)
{
	unsigned int all;

	check_eq("walk", walk(ROOT, 1, "hello"), 0);
	check_eq("open", lopen(1, 0), 0);
	expect_text("a file of the host's", 1, "hello from the host\n");
	check_eq("a write to what is read", write_at(1, 0, "x"), E_BADF);
	check_eq("clunk", clunk(1), 0);
	check_eq("clunk again", clunk(1), E_BADF);
	check_eq("clone", walk(ROOT, 1, NULL), 0);
	check_eq("create", lcreate(1, "made", O_RDWR), 0);
	check_eq("write", write_at(1, 0, "words of the guest"), 0);
	check_eq("all of it", take(4), 18);
	expect_text("what was written", 1, "words of the guest");
	message(T_GETATTR);
	put_number(1, 4);
	put_number(0x7ff, 8);
	check_eq("getattr", send(), 0);
	taken += 8 + 13;
	check_eq("a regular file", take(4) & 0170000, 0100000);
	taken += 4 + 4 + 8 + 8;
	check_eq("its size", take(8), 18);
	message(T_SETATTR);
	put_number(1, 4);
	put_number(1, 4);	/* the mode */
	put_number(04755, 4);
	put_number(0, 4 + 4);
	put_number(0, 8);
	put_number(0, 8);
	put_number(0, 8);
	put_number(0, 8);
	put_number(0, 8);
	check_eq("setattr", send(), 0);
	message(T_GETATTR);
	put_number(1, 4);
	put_number(0x7ff, 8);
	check_eq("getattr again", send(), 0);
	taken += 8 + 13;
	check_eq("runs as nobody else", take(4) & 07777, 0755);
	check_eq("rename", rename(ROOT, "made", ROOT, "renamed"), 0);
	check_eq("the old name", walk(ROOT, 2, "made"), E_NOENT);
	check_eq("a second name", link(ROOT, 1, "second"), 0);
	check_eq("unlink", unlink(ROOT, "second"), 0);
	check_eq("unlink", unlink(ROOT, "renamed"), 0);
	expect_text("a file without a name", 1, "words of the guest");
	check_eq("clunk", clunk(1), 0);
	check_eq("mkdir", make(T_MKDIR, "dir", NULL, 0755), 0);
	check_eq("mkdir again", make(T_MKDIR, "dir", NULL, 0755), E_EXIST);
	check_eq("symlink", make(T_SYMLINK, "link", "/anywhere/at all", 0), 0);
	check_eq("walk to a link", walk(ROOT, 2, "link"), 0);
	message(T_READLINK);
	put_number(2, 4);
	check_eq("readlink", send(), 0);
	check_eq("where it leads to", take(2), 16);
	check(!memcmp(in + taken, "/anywhere/at all", 16), "the link leads elsewhere");
	check_eq("clunk", clunk(2), 0);
	check_eq("clone", walk(ROOT, 2, NULL), 0);
	check_eq("open", lopen(2, 0), 0);
	check_eq("names of hello", count_entries(2, "hello", &all), 1);
	check_eq("names of dir", count_entries(2, "dir", &all), 1);
	check_eq("names in all", all, 8);
	check_eq("read of a directory", read_at(T_READ, 2, 0, 100), E_ISDIR);
	check_eq("clunk", clunk(2), 0);
}

/* What is of 9P2000, and Unikraft's. */
static void check_old(void)
{
	check_eq("clone", walk(ROOT, 2, NULL), 0);
	check_eq("a file by create", create(2, "oldfile", 0644), E_OPNOTSUPP);
	check_eq("create with a name that is there", create(2, "dir", DMDIR | 0755), E_EXIST);
	check_eq("create", create(2, "olddir", DMDIR | 0755), 0);
	check_eq("it is a directory", take(1), 0x80);
	check_eq("and open", read_at(T_READDIR, 2, 0, 100), 0);
	check_eq("clone", walk(ROOT, 3, "olddir"), 0);
	check_eq("a file in it", lcreate(3, "file", O_RDWR), 0);
	check_eq("remove what is not empty", remove(2), E_NOTEMPTY);
	check_eq("the handle is gone", clunk(2), E_BADF);
	check_eq("a second name", walk(ROOT, 2, "olddir"), 0);
	check_eq("moved", rename(2, "file", ROOT, "moved"), 0);
	check_eq("remove by the name of now", remove(3), 0);
	check_eq("it is gone", walk(ROOT, 3, "moved"), E_NOENT);
	check_eq("remove a directory", remove(2), 0);
	check_eq("it is gone", walk(ROOT, 2, "olddir"), E_NOENT);
	check_eq("a link", walk(ROOT, 2, "link"), 0);
	check_eq("is removed, not what it leads to", remove(2), 0);
	check_eq("a link", make(T_SYMLINK, "link", "/anywhere/at all", 0), 0);
	check_eq("clone", walk(ROOT, 2, NULL), 0);
	check(remove(2), "the root is removed");
	check_eq("a file", walk(ROOT, 2, "moved"), E_NOENT);
}

/* The guest must not get out, whatever it makes of names and links. */
static void check_inside(void)
{
	static const char *const names[] = {
		"/", "/etc", "sub/inner", "../outside", ".", "", "sub/..",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		check_eq(names[i], walk(ROOT, 3, names[i]), E_NOENT);
		check(lcreate(ROOT, names[i], O_RDWR), "%s is created", names[i]);
		check(make(T_MKDIR, names[i], NULL, 0755), "%s is made", names[i]);
		check(make(T_SYMLINK, names[i], "x", 0), "%s is a link", names[i]);
		check(unlink(ROOT, names[i]), "%s is removed", names[i]);
		check(rename(ROOT, "hello", ROOT, names[i]), "hello becomes %s", names[i]);
		check(rename(ROOT, names[i], ROOT, "taken"), "%s is taken", names[i]);
	}
	check(rename(ROOT, "hello", ROOT, ".."), "hello is moved up");
	check_eq("above the root", walk(ROOT, 3, ".."), 0);
	check_eq("is the root", walk(3, 4, "hello"), 0);
	check_eq("clunk", clunk(3), 0);
	check_eq("clunk", clunk(4), 0);
	check_eq("a link that leads out", walk(ROOT, 3, "out"), 0);
	check_eq("has nothing below", walk(3, 4, "secret"), E_NOTDIR);
	check_eq("and is not opened", lopen(3, 0), E_LOOP);
	check_eq("nor created in", lcreate(3, "x", O_RDWR), E_NOTDIR);
	check_eq("clunk", clunk(3), 0);
	check_eq("opened by creating", walk(ROOT, 3, NULL), 0);
	check_eq("a link, opened by creating", lcreate(3, "out", O_RDWR), E_LOOP);
	check_eq("clunk", clunk(3), 0);
	check_eq("a pipe", walk(ROOT, 3, "pipe"), 0);
	check_eq("is not opened", lopen(3, 0), E_OPNOTSUPP);
	check_eq("clunk", clunk(3), 0);
	check(make(T_MKNOD, "null", NULL, 020666), "a device is made");
}

static void check_read_only(void)
{
	check_eq("create", lcreate(ROOT, "made", O_RDWR), E_ROFS);
	check_eq("mkdir", make(T_MKDIR, "dir", NULL, 0755), E_ROFS);
	check_eq("unlink", unlink(ROOT, "hello"), E_ROFS);
	check_eq("walk", walk(ROOT, 1, "hello"), 0);
	check_eq("remove", remove(1), E_ROFS);
	check_eq("create", create(ROOT, "dir", DMDIR | 0755), E_ROFS);
	check_eq("rename", rename(ROOT, "hello", ROOT, "other"), E_ROFS);
	check_eq("walk", walk(ROOT, 1, "hello"), 0);
	check_eq("open to write", lopen(1, O_RDWR), E_ROFS);
	check_eq("open to truncate", lopen(1, O_TRUNC), E_ROFS);
	check_eq("open", lopen(1, 0), 0);
	expect_text("a file of the host's", 1, "hello from the host\n");
}

/* Messages that are whole as messages go, and nonsense. */
static void check_nonsense(void)
{
	unsigned int type, size;

	check_eq("a small message", version(100, "9P2000.L"), E_MSGSIZE);
	check_eq("another version", version(MESSAGE_MAX, "9P2000.u"), 0);
	taken += 4;
	check_eq("is unknown", take(2), 7);
	session();
	for (type = 0; type < 256; type++) {
		if (type == T_VERSION)
			continue;
		message((uint8_t)type);
		check(send(), "an empty message %u is taken", type);
		for (size = 1; size < 64; size += 7) {
			message((uint8_t)type);
			memset(out + put, 0xff, size);
			put += size;
			check(send(), "message %u with %u bytes of ones is taken", type, size);
		}
	}
	check_eq("an unknown handle", walk(77, 78, "hello"), E_BADF);
	check_eq("a handle twice", walk(ROOT, ROOT + 5, "hello"), 0);
	check_eq("a handle twice", walk(ROOT, ROOT + 5, "sub"), E_BADF);
	check_eq("attach with a handle that is there", attach(5), E_BADF);
	check_eq("a read before open", read_at(T_READ, 5, 0, 10), E_BADF);
	check_eq("open", lopen(5, 0), 0);
	check_eq("open again", lopen(5, 0), 16);
	check_eq("a walk from and to what is open", walk(5, 5, NULL), 16);
	check_eq("an offset below zero", read_at(T_READ, 5, ~0ULL, 10), E_INVAL);
	check_eq("a read far behind the end", read_at(T_READ, 5, 1ULL << 40, 10), 0);
	check_eq("nothing is there", take(4), 0);
	check_eq("a read of more than there is room for", read_at(T_READ, 5, 0, 0xffffffff), 0);
	check_eq("readdir of a file", read_at(T_READDIR, 5, 0, 100), E_NOTDIR);
	message(T_WRITE);
	put_number(5, 4);
	put_number(0, 8);
	put_number(1000, 4);
	check_eq("a write of what is not there", send(), E_PROTO);
	message(T_WALK);
	put_number(ROOT, 4);
	put_number(6, 4);
	put_number(17, 2);
	check_eq("17 names", send(), E_PROTO);
	message(T_WALK);
	put_number(ROOT, 4);
	put_number(6, 4);
	put_number(1, 2);
	put_number(0xffff, 2);
	check(send(), "a name that is longer than its message");
	check_eq("extended attributes", read_at(T_XATTRWALK, 5, 0, 0), E_OPNOTSUPP);
	/* Of two names the first is there: no error, no handle. */
	message(T_WALK);
	put_number(ROOT, 4);
	put_number(6, 4);
	put_number(2, 2);
	put_string("sub");
	put_string("nowhere");
	check_eq("half a walk", send(), 0);
	check_eq("is one step", take(2), 1);
	check_eq("and no handle", clunk(6), E_BADF);
	room = 20;
	check_eq("an answer that has no room", walk(ROOT, 6, "sub"), E_MSGSIZE);
	check_eq("a read that has none", read_at(T_READ, 5, 0, 100), 0);
	check_eq("is what fits", take(4), 9);
	room = MESSAGE_MAX;
	check_eq("a device that is well", virtio_get(&dev, VIRTIO_STATUS) & STATUS_NEEDS_RESET, 0);
}

/* What is no message stops the device, until it is reset. */
static void refused(const char *what, uint32_t said, uint32_t size)
{
	message(T_VERSION);
	put_number(MESSAGE_MAX, 4);
	put_string("9P2000.L");
	memcpy(out, &said, 4);
	offer(size);
	check(virtio_wait_status(&dev, STATUS_NEEDS_RESET), "%s: the device goes on", what);
	check_eq(what, ring.used_idx, used);
	room = MESSAGE_MAX;
	begin();
	session();
}

static void check_hostile(void)
{
	refused("a message of other size", 22, 21);
	refused("a message that says it is endless", 0xffffffff, 21);
	refused("a message that says it is nothing", 0, 21);
	refused("half a header", 4, 4);
	room = 10;
	refused("no room for an error", 21, 21);
}

static void live_on(const char *who)
{
	unsigned int all;

	expect_text(who, 1, "kept");
	check_eq(who, walk(ROOT, 10, NULL), 0);
	check_eq(who, lcreate(10, who, O_RDWR), 0);
	check_eq(who, write_at(10, 0, who), 0);
	delay_ms(200);
	expect_text(who, 10, who);
	/* Each from where it was, though both read at once. */
	for (int i = 0; i < 20; i++) {
		check_eq(who, count_entries(2, "hello", &all), 1);
		check(all >= 6, "%s: only %u names", who, all);
	}
	check_eq("what the parent had, and clunks", clunk(1), 0);
	check_eq("is gone here", clunk(1), E_BADF);
}

static void check_fork(void)
{
	long id;

	check_eq("clone", walk(ROOT, 1, NULL), 0);
	check_eq("create", lcreate(1, "nameless", O_RDWR), 0);
	check_eq("write", write_at(1, 0, "kept"), 0);
	check_eq("unlink", unlink(ROOT, "nameless"), 0);
	check_eq("clone", walk(ROOT, 2, NULL), 0);
	check_eq("open", lopen(2, 0), 0);
	check_eq("readdir", read_at(T_READDIR, 2, 0, 60), 0);
	id = guest_fork();
	live_on(id ? "parent" : "child");
	if (id)
		guest_expect(id, 0);
}

void guest_main(void)
{
	virtio_need(&dev, VIRTIO_ID_9P);
	check_eq("the tag's length", virtio_get(&dev, VIRTIO_CONFIG) & 0xffff, 3);
	begin();
	session();
	if (arg_flag("ro")) {
		check_read_only();
	} else if (arg_flag("fork")) {
		check_fork();
	} else {
		check_files();
		check_old();
		check_inside();
		check_nonsense();
		check_hostile();
	}
	if (arg_flag("break"))
		check_eq("break", walk(ROOT, 20, "nowhere"), 0);
}
