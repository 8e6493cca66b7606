/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For assembly: RDI = struct regs. `load_all`, one instruction, and a jump to
 * store_all make a function that tells what the instruction changed.
 */
	.macro	load_all
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	mov	%rsp, 128(%rdi)
	mov	(%rdi), %rax
	mov	8(%rdi), %rbx
	mov	16(%rdi), %rcx
	mov	24(%rdi), %rdx
	mov	32(%rdi), %rsi
	mov	48(%rdi), %rbp
	mov	56(%rdi), %r8
	mov	64(%rdi), %r9
	mov	72(%rdi), %r10
	mov	80(%rdi), %r11
	mov	88(%rdi), %r12
	mov	96(%rdi), %r13
	mov	104(%rdi), %r14
	mov	112(%rdi), %r15
	pushq	120(%rdi)
	mov	40(%rdi), %rdi
	/* Nothing between this and the instruction touches the flags. */
	popfq
	.endm
