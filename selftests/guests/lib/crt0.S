/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry from ukrun: long mode, CPL 0, RDI = command line, RSI = bytes of
 * memory, RDX = vCPUs. What the machine looked like is kept for the guest
 * that checks the contract; the given stack is used only for that.
 */
	.section .text.start, "ax"
	.globl	_start
_start:
	mov	%rdi, boot_state(%rip)
	mov	%rsi, boot_state+8(%rip)
	mov	%rdx, boot_state+16(%rip)
	mov	%rsp, boot_state+24(%rip)
	pushfq
	popq	boot_state+32(%rip)
	mov	%cr0, %rax
	mov	%rax, boot_state+40(%rip)
	mov	%cr3, %rax
	mov	%rax, boot_state+48(%rip)
	mov	%cr4, %rax
	mov	%rax, boot_state+56(%rip)
	xor	%eax, %eax
	mov	%cs, %ax
	mov	%rax, boot_state+64(%rip)
	mov	%ss, %ax
	mov	%rax, boot_state+72(%rip)
	sgdt	boot_state+80(%rip)
	cld
	lea	boot_stack_top(%rip), %rsp
	xor	%ebp, %ebp
	call	guest_start
1:	cli
	hlt
	jmp	1b

	/*
	 * One stub for each vector, 16 bytes apart. Those for which the CPU
	 * pushes no error code push a zero.
	 */
	.text
	.balign	16
	.globl	trap_stubs
trap_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	.set	vector, vector + 1
	.endr

trap_common:
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	cld
	call	trap_entry
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

	.bss
	.balign	16
boot_stack:
	.skip	65536
boot_stack_top:
	.globl	boot_state
	.balign	16
boot_state:
	.skip	96
	.section .note.GNU-stack, "", @progbits
