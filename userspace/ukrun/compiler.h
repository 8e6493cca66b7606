/* SPDX-License-Identifier: GPL-2.0-only */
/* Spellings of the kernel. */
#ifndef UKRUN_COMPILER_H
#define UKRUN_COMPILER_H

#define __packed		__attribute__((packed))
#define __noreturn		__attribute__((noreturn))
#define __printf(fmt, args)	__attribute__((format(printf, fmt, args)))
#define __section(name)		__attribute__((section(name)))
#define __used			__attribute__((used))

/* Members that are also one member @name, to be copied together. */
#define struct_group(name, ...)	union {					\
		struct { __VA_ARGS__ };					\
		struct { __VA_ARGS__ } name;				\
	}

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

#endif
