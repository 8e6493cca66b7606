/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Multiboot 1 header and entry. With KLUDGE the header says itself where the
 * image goes (bit 16), which the file's format then does not have to.
 */
#ifdef KLUDGE
#define FLAGS	0x00010003
#else
#define FLAGS	0x00000003
#endif
#define MAGIC	0x1badb002

	.section .multiboot, "a"
	.balign	4
header:
	.long	MAGIC
	.long	FLAGS
	.long	-(MAGIC + FLAGS)
#ifdef KLUDGE
	.long	header
	.long	image_start
	.long	image_end
	.long	bss_end
	.long	multiboot_entry
#endif

	.text
	.globl	multiboot_entry
multiboot_entry:
	/* ESP is undefined at this point; the flags are looked at before. */
	movl	$stack_top, %esp
	pushfl
	movl	%cr0, %ecx
	pushl	%ecx
	xorl	%ecx, %ecx
	movw	%cs, %cx
	pushl	%ecx
	pushl	%ebx
	pushl	%eax
	cld
	call	boot32_main
1:	cli
	hlt
	jmp	1b

	.globl	bare_fork
bare_fork:
	xorl	%eax, %eax
	ud2
	ret

	.bss
	.balign	16
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
