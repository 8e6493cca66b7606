/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the test guests share: the console, checks, arguments, the calls of
 * ukrun, memory.
 */
#ifndef _GUEST_H
#define _GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvmfork/guest.h>

#define PAGE_SIZE	4096UL
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define __packed	__attribute__((packed))
#define __aligned(n)	__attribute__((aligned(n)))
#define __printf(f, a)	__attribute__((format(printf, f, a)))
#define __noreturn	__attribute__((noreturn))

#define READ_ONCE(x)	(*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#define EAGAIN	11
#define ECHILD	10
#define ESRCH	3

/* As found at the entry point; laid out by crt0.S. */
struct boot_state {
	uint64_t cmdline;
	uint64_t memory;
	uint64_t cpus;
	uint64_t rsp;
	uint64_t rflags;
	uint64_t cr0;
	uint64_t cr3;
	uint64_t cr4;
	uint64_t cs;
	uint64_t ss;
	struct {
		uint16_t limit;
		uint64_t base;
	} __packed gdtr;
} __packed;

extern struct boot_state boot_state;
/* Of the linker: the first byte after the image. */
extern char _end[];

/* Each guest's name, for its messages, and its body. */
extern const char guest_name[];
void guest_main(void);

/* Console. Prints whole lines, so that those of vCPUs do not mix. */
void putchar_raw(char c);
__printf(1, 2)
void printf(const char *fmt, ...);
/* printf() with the guest's name before it. */
#define say(fmt, ...)	printf("%s: " fmt "\n", guest_name, ##__VA_ARGS__)

/*
 * A check that fails prints what it found and goes on; guest_end() gives the
 * number of them to whoever waits.
 */
extern unsigned int guest_failures;
__printf(2, 3)
void guest_fail(unsigned int line, const char *fmt, ...);
#define check(cond, fmt, ...)						\
({									\
	bool __ok = (cond);						\
									\
	if (!__ok)							\
		guest_fail(__LINE__, fmt, ##__VA_ARGS__);		\
	__ok;								\
})
#define check_eq(what, got, want)					\
do {									\
	uint64_t __got = (uint64_t)(got), __want = (uint64_t)(want);	\
									\
	check(__got == __want, "%s: expected 0x%lx, got 0x%lx",		\
	      what, __want, __got);					\
} while (0)

/* Status of a guest with failed checks. */
#define GUEST_FAILED	254
/* Prints the verdict, ends this VM with 0 or GUEST_FAILED. */
__noreturn void guest_end(void);
__noreturn void guest_exit(unsigned int status);

/* Arguments: words, or name=number. */
bool arg_flag(const char *name);
uint64_t arg_number(const char *name, uint64_t otherwise);
/* The argument at @index that is a bare number, or @otherwise. */
uint64_t arg_positional(unsigned int index, uint64_t otherwise);

/* The calls of guest.h, by ud2, or by the port when the arguments say `port`. */
long guest_call(long call, long arg1, long arg2, long *status);
/* A bare fork: RAX is zero. */
long guest_fork(void);
long guest_getid(void);
long guest_getparent(void);
long guest_wait(long id, long flags, long *status);
long guest_kill(long id);
bool guest_uses_port(void);

/* Waits for @id and checks that it ended with @want. */
void guest_expect(long id, long want);

void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int c, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *s);

struct spinlock {
	unsigned int locked;
};

void spin_lock(struct spinlock *lock);
void spin_unlock(struct spinlock *lock);

#endif
