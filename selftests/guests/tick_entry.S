/* SPDX-License-Identifier: GPL-2.0-only */
/* Multiboot 1 header and entry of tick.c. */
#define FLAGS	0x00000003
#define MAGIC	0x1badb002

	.section .multiboot, "a"
	.balign	4
	.long	MAGIC
	.long	FLAGS
	.long	-(MAGIC + FLAGS)

	.text
	.globl	multiboot_entry
multiboot_entry:
	movl	$stack_top, %esp
	xorl	%ecx, %ecx
	movw	%cs, %cx
	pushl	%ecx
	pushl	%ebx
	pushl	%eax
	cld
	call	tick_main
1:	cli
	hlt
	jmp	1b

	.globl	tick_fork
tick_fork:
	xorl	%eax, %eax
	ud2
	ret

	/* The loop in tick.c does the rest. */
	.globl	tick_interrupt
tick_interrupt:
	iret

	.bss
	.balign	16
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
