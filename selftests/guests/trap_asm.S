/* SPDX-License-Identifier: GPL-2.0-only */
/* As regs_ud2() of lib/regs.S, with other instructions. */
#include "lib/regs_asm.inc"

	.macro	trap name, bytes:vararg
	.globl	trap_\name, trap_\name\()_at
trap_\name:
	load_all
trap_\name\()_at:
	.byte	\bytes
	jmp	store_all
	.endm

	.text
	/* ud0 and ud1 have a ModRM byte, which not all CPUs read. */
	trap	ud0, 0x0f, 0xff, 0xc0
	trap	ud1, 0x0f, 0xb9, 0xc0
	trap	push_es, 0x06
	trap	lock_nop, 0xf0, 0x90
	trap	ud2_prefix, 0x66, 0x0f, 0x0b
	trap	ud2, 0x0f, 0x0b

	.balign	4096
	.globl	trap_ud2_split, trap_ud2_split_at
trap_ud2_split:
	load_all
	jmp	trap_ud2_split_at
	.org	trap_ud2_split + 4095
trap_ud2_split_at:
	ud2
	jmp	store_all
	.section .note.GNU-stack, "", @progbits
