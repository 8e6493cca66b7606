/* SPDX-License-Identifier: GPL-2.0-only */
#define KVMFORK_PORT	0x0f4b
#define COM1		0x3f8
#define SEL_DATA	0x10
#define USER_DATA	0x23
#define USER_CODE	0x2b

	.text
	.macro	function name
	.globl	\name
	.balign	16
\name:
	.endm

	/* An interrupt is pending; it may come only after the fork. */
	function fork_after_sti
	xor	%eax, %eax
	sti
	ud2
	nop
	cli
	ret

	function fork_after_sti_port
	xor	%eax, %eax
	mov	$KVMFORK_PORT, %edx
	sti
	outl	%eax, %dx
	nop
	cli
	ret

	function fork_after_mov_ss
	xor	%eax, %eax
	mov	$SEL_DATA, %ecx
	sti
	mov	%ecx, %ss
	ud2
	nop
	cli
	ret

	function fork_after_mov_ss_port
	xor	%eax, %eax
	mov	$SEL_DATA, %ecx
	mov	$KVMFORK_PORT, %edx
	sti
	mov	%ecx, %ss
	outl	%eax, %dx
	nop
	cli
	ret

	.macro	string_io fork:vararg
	push	%r12
	push	%r13
	mov	%rdi, %r8
	mov	%rsi, %r12
	mov	%rdx, %r13
	mov	%rcx, %r9
	mov	%r8, %rsi
	mov	%r13, %rcx
	mov	$COM1, %edx
	rep	outsb
	\fork
	mov	$COM1, %edx
	mov	%rax, (%r9)
	mov	%rcx, %r10
	mov	%r12, %rsi
	mov	%r13, %rcx
	rep	outsb
	add	%r10, %rcx
	mov	%rcx, %rax
	/* RSI must have gone through the second string, too. */
	sub	%r12, %rsi
	sub	%r13, %rsi
	or	%rsi, %rax
	pop	%r13
	pop	%r12
	ret
	.endm

	.macro	fork_ud2
	mov	$0, %eax
	ud2
	.endm

	.macro	fork_port
	mov	$0, %eax
	mov	$KVMFORK_PORT, %edx
	outl	%eax, %dx
	.endm

	function fork_in_string_io
	string_io fork_ud2

	function fork_in_string_io_port
	string_io fork_port

	function user_run
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, user_kernel_rsp(%rip)
	pushq	$USER_DATA
	pushq	%rsi
	pushq	%rdx
	pushq	$USER_CODE
	pushq	%rdi
	iretq

	function user_exit
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	function user_fork_ud2
	fork_ud2
	int	$0x80

	function user_fork_port
	fork_port
	int	$0x80

	function breakpoint_target
	nop
	ret

	.bss
	.balign	8
	.globl	user_kernel_rsp
user_kernel_rsp:
	.skip	8
	.section .note.GNU-stack, "", @progbits
