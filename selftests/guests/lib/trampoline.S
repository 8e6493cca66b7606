/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU starts here in real mode with CS:IP = 0x800:0 and goes to long mode
 * in one step, without protected mode between. Copied to 0x8000 by smp.c,
 * which fills in the words at the end.
 */
#define HERE(label)	((label) - trampoline_start)
#define THERE(label)	((label) - trampoline_start + 0x8000)

	.section .rodata
	.balign	16
	.globl	trampoline_start, trampoline_end
	.code16
trampoline_start:
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	HERE(gdtr)
	movl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	HERE(data_cr3), %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER: LME */
	movl	$0x100, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x80000011, %eax	/* PG, ET, PE */
	movl	%eax, %cr0
	ljmpl	$8, $THERE(long_mode)

	.code64
long_mode:
	movl	$16, %eax
	movw	%ax, %ss
	movw	%ax, %ds
	movw	%ax, %es
	movq	THERE(data_stack), %rsp
	xorl	%ebp, %ebp
	callq	*THERE(data_entry)
1:	hlt
	jmp	1b

	.balign	16
gdt:
	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
gdtr:
	.word	gdtr - gdt - 1
	.long	THERE(gdt)
	.balign	8
data_cr3:
	.quad	0
data_stack:
	.quad	0
data_entry:
	.quad	0
trampoline_end:
	.section .note.GNU-stack, "", @progbits
