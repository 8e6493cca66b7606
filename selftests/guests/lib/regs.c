// SPDX-License-Identifier: GPL-2.0-only
#include "guest.h"
#include "regs.h"
#include "x86.h"

#define EVERY_BYTE(n)	((n) * 0x0101010101010101UL)

const struct regs regs_pattern = {
	.rbx = 0xb1b2b3b4b5b6b7b8, .rcx = 0xc1c2c3c4c5c6c7c8,
	.rdx = 0xd1d2d3d4d5d6d7d8, .rsi = 0x5152535455565758,
	.rdi = 0xd9d2d3d4d5d6d7d9, .rbp = 0xbbb1bbb2bbb3bbb4,
	.r8 = EVERY_BYTE(0x88), .r9 = EVERY_BYTE(0x99),
	.r10 = EVERY_BYTE(0xa0), .r11 = EVERY_BYTE(0xa1),
	.r12 = EVERY_BYTE(0xa2), .r13 = EVERY_BYTE(0xa3),
	.r14 = EVERY_BYTE(0xa4), .r15 = EVERY_BYTE(0xa5),
	/*
	 * All flags that may be set around one instruction of CPL 0 with
	 * interrupts off; bit 1 always reads as one.
	 */
	.rflags = FLAGS_CF | FLAGS_PF | FLAGS_AF | FLAGS_ZF | FLAGS_SF |
		  FLAGS_DF | FLAGS_OF | FLAGS_IOPL | FLAGS_NT | FLAGS_AC |
		  FLAGS_ID | 2,
};

void regs_check(const char *who, const struct regs *got,
		const struct regs *want, int skip_rsi)
{
	static const char *const names[] = {
		"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9",
		"r10", "r11", "r12", "r13", "r14", "r15", "rflags",
	};
	const uint64_t *g = &got->rax, *w = &want->rax;

	for (unsigned int i = 1; i < ARRAY_SIZE(names); i++) {
		if (i == 4 && skip_rsi)
			continue;
		check(g[i] == w[i], "%s: %s: expected 0x%lx, got 0x%lx", who,
		      names[i], w[i], g[i]);
	}
	check(got->rsp == 0, "%s: rsp moved by 0x%lx", who, got->rsp);
}
