// SPDX-License-Identifier: GPL-2.0-only
/* Entry, arguments, checks, and the calls of ukrun. */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#include <stdarg.h>

unsigned int guest_failures;

static bool by_port;

void vprintf(const char *fmt, va_list args);
void console_init(void);
void console_lock(void);
void console_unlock(void);
void guest_start(void);

void *memcpy(void *to, const void *from, size_t len)
{
	void *ret = to;

	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
	return ret;
}

void *memset(void *to, int c, size_t len)
{
	void *ret = to;

	asm volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(c) : "memory");
	return ret;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;

	for (; len; len--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void spin_lock(struct spinlock *lock)
{
	while (__atomic_exchange_n(&lock->locked, 1, __ATOMIC_ACQUIRE))
		cpu_pause();
}

void spin_unlock(struct spinlock *lock)
{
	__atomic_store_n(&lock->locked, 0, __ATOMIC_RELEASE);
}

/* The word at *@s, its length; *@s is moved behind it. */
static const char *next_word(const char **s, size_t *len)
{
	const char *word = *s;

	while (*word == ' ')
		word++;
	for (*len = 0; word[*len] && word[*len] != ' ';)
		++*len;
	*s = word + *len;
	return *len ? word : NULL;
}

static uint64_t to_number(const char *s, size_t len)
{
	uint64_t n = 0;

	for (; len && *s >= '0' && *s <= '9'; len--, s++)
		n = n * 10 + (uint64_t)(*s - '0');
	return n;
}

bool arg_flag(const char *name)
{
	const char *s = (const char *)boot_state.cmdline, *word;
	size_t len;

	while ((word = next_word(&s, &len)))
		if (len == strlen(name) && !memcmp(word, name, len))
			return true;
	return false;
}

uint64_t arg_number(const char *name, uint64_t otherwise)
{
	const char *s = (const char *)boot_state.cmdline, *word;
	size_t len, n = strlen(name);

	while ((word = next_word(&s, &len)))
		if (len > n && word[n] == '=' && !memcmp(word, name, n))
			return to_number(word + n + 1, len - n - 1);
	return otherwise;
}

uint64_t arg_positional(unsigned int index, uint64_t otherwise)
{
	const char *s = (const char *)boot_state.cmdline, *word;
	size_t len;

	while ((word = next_word(&s, &len)))
		if (*word >= '0' && *word <= '9' && !index--)
			return to_number(word, len);
	return otherwise;
}

void guest_fail(unsigned int line, const char *fmt, ...)
{
	va_list args;

	__atomic_add_fetch(&guest_failures, 1, __ATOMIC_RELAXED);
	console_lock();
	va_start(args, fmt);
	for (const char *s = guest_name; *s; s++)
		putchar_raw(*s);
	for (const char *s = ": FAIL line "; *s; s++)
		putchar_raw(*s);
	if (line >= 1000)
		putchar_raw((char)('0' + line / 1000));
	putchar_raw((char)('0' + line / 100 % 10));
	putchar_raw((char)('0' + line / 10 % 10));
	putchar_raw((char)('0' + line % 10));
	putchar_raw(':');
	putchar_raw(' ');
	vprintf(fmt, args);
	putchar_raw('\n');
	va_end(args);
	console_unlock();
}

bool guest_uses_port(void)
{
	return by_port;
}

long guest_call(long call, long arg1, long arg2, long *status)
{
	long ret = (long)KVMFORK_CALL_MAGIC;

	if (by_port)
		asm volatile("outl %%eax, %%dx" : "+a"(ret), "+S"(arg1)
			     : "D"(call), "c"(arg2), "d"(KVMFORK_PORT)
			     : "memory");
	else
		asm volatile("ud2" : "+a"(ret), "+S"(arg1)
			     : "D"(call), "c"(arg2) : "memory");
	if (status)
		*status = arg1;
	return ret;
}

long guest_fork(void)
{
	long ret = 0;

	if (by_port)
		asm volatile("outl %%eax, %%dx" : "+a"(ret) : "d"(KVMFORK_PORT)
			     : "memory");
	else
		ret = kvmfork_fork();
	/* The parent's failures are its own. */
	if (!ret)
		guest_failures = 0;
	return ret;
}

long guest_getid(void)
{
	return guest_call(KVMFORK_CALL_GETID, 0, 0, NULL);
}

long guest_getparent(void)
{
	return guest_call(KVMFORK_CALL_GETPARENT, 0, 0, NULL);
}

long guest_wait(long id, long flags, long *status)
{
	return guest_call(KVMFORK_CALL_WAIT, id, flags, status);
}

long guest_kill(long id)
{
	return guest_call(KVMFORK_CALL_KILL, id, 0, NULL);
}

void guest_expect(long id, long want)
{
	long status = -1, got = guest_wait(id, 0, &status);

	if (check(got == id, "wait for VM %ld returned %ld", id, got))
		check(status == want, "VM %ld ended with %ld, expected %ld",
		      id, status, want);
}

static unsigned int exit_status;

/* With --fork-on=off the call is a #UD like others. */
static void exit_by_port(struct trap_frame *frame)
{
	(void)frame;
	for (;;)
		outb(0xf4, (uint8_t)exit_status);
}

void guest_exit(unsigned int status)
{
	exit_status = status;
	if (!by_port)
		trap_set(VECTOR_UD, exit_by_port);
	guest_call(KVMFORK_CALL_EXIT, status, 0, NULL);
	/* A port that nobody listens to. */
	exit_by_port(NULL);
	for (;;)
		;
}

void guest_end(void)
{
	if (guest_failures)
		say("%u checks failed", guest_failures);
	else
		say("ok");
	guest_exit(guest_failures ? GUEST_FAILED : 0);
}

void guest_start(void)
{
	console_init();
	by_port = arg_flag("port");
	cpu_tables_init();
	guest_main();
	guest_end();
}
