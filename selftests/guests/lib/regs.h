/* SPDX-License-Identifier: GPL-2.0-only */
/* One trapping instruction with every general register in the caller's hand. */
#ifndef _REGS_H
#define _REGS_H

#include <stdint.h>

/* Laid out for regs.S. */
struct regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rflags, rsp;
};

/* Values that no two registers share; RAX is the caller's business. */
extern const struct regs regs_pattern;

/*
 * Loads *@r, executes ud2 (or the outl to DX), stores what came back to *@r.
 * RSP is not loaded, only stored.
 */
void regs_ud2(struct regs *r);
void regs_outl(struct regs *r);
/* As regs_ud2() with the two bytes of the instruction in two pages. */
void regs_ud2_split(struct regs *r);

/* Checks that all but RAX, @skip_rsi: and RSI, are still as in *@want. */
void regs_check(const char *who, const struct regs *got,
		const struct regs *want, int skip_rsi);

#endif
