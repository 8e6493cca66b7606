/* SPDX-License-Identifier: GPL-2.0-only */
/* PVH: a note says where to begin, in protected mode without paging. */
#define NOTE_PHYS32_ENTRY	18

	.section .note.pvh, "a", @note
	.balign	4
	.long	4
	.long	4
	.long	NOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	pvh_entry

	.text
	/* e_entry: nobody is to come by here. */
	.globl	wrong_entry
wrong_entry:
	movb	$99, %al
	outb	%al, $0xf4
	jmp	wrong_entry

	.globl	pvh_entry
pvh_entry:
	movl	$stack_top, %esp
	pushfl
	movl	%cr4, %ecx
	pushl	%ecx
	movl	%cr0, %ecx
	pushl	%ecx
	pushl	%ebx
	cld
	call	pvh_main
1:	cli
	hlt
	jmp	1b

	.bss
	.balign	16
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
