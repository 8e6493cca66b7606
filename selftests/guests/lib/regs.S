/* SPDX-License-Identifier: GPL-2.0-only */
#include "regs_asm.inc"

	.macro	function name, insn:vararg
	.globl	\name
\name:
	load_all
	\insn
	jmp	store_all
	.endm

	.text
	function regs_ud2, ud2
	function regs_outl, outl %eax, %dx

	.balign	4096
	.globl	regs_ud2_split
regs_ud2_split:
	load_all
	jmp	1f
	.org	regs_ud2_split + 4095
1:	ud2
	jmp	store_all

	.globl	store_all
store_all:
	pushfq
	push	%rdi
	mov	16(%rsp), %rdi
	mov	%rax, (%rdi)
	mov	%rbx, 8(%rdi)
	mov	%rcx, 16(%rdi)
	mov	%rdx, 24(%rdi)
	mov	%rsi, 32(%rdi)
	popq	40(%rdi)
	mov	%rbp, 48(%rdi)
	mov	%r8, 56(%rdi)
	mov	%r9, 64(%rdi)
	mov	%r10, 72(%rdi)
	mov	%r11, 80(%rdi)
	mov	%r12, 88(%rdi)
	mov	%r13, 96(%rdi)
	mov	%r14, 104(%rdi)
	mov	%r15, 112(%rdi)
	popq	120(%rdi)
	mov	%rsp, %rax
	sub	128(%rdi), %rax
	mov	%rax, 128(%rdi)
	pop	%rdi
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	/* The C code around wants DF clear, and no alignment checks. */
	pushq	$2
	popfq
	ret
	.section .note.GNU-stack, "", @progbits
