/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Multiboot 1 header without demands, and the way to the upper half: pages of
 * 4 MiB, both halves the same. Further CPUs begin at ap_start, copied low.
 */
#define FLAGS	0
#define MAGIC	0x1badb002
#define HIGH	0x80000000
#define AP_CODE	0x7000

	.section .multiboot, "a"
	.balign	4
	.long	MAGIC
	.long	FLAGS
	.long	-(MAGIC + FLAGS)

	.text
	.globl	multiboot_entry
multiboot_entry:
	movl	$(boot_stack_top - HIGH), %esp
	pushl	%ebx
	pushl	%eax
	/* Present, writable, 4 MiB. */
	movl	$(directory - HIGH), %edi
	movl	$0x83, %eax
	xorl	%ecx, %ecx
1:	movl	%eax, (%edi, %ecx, 4)
	movl	%eax, (HIGH >> 20)(%edi, %ecx, 4)
	addl	$0x400000, %eax
	incl	%ecx
	cmpl	$0x200, %ecx
	jb	1b
	/* IOAPIC, LAPIC and the test device are where they are. */
	movl	$0xfec00083, (0xfec00000 >> 20)(%edi)
	movl	$0xff000083, (0xff000000 >> 20)(%edi)
	movl	%cr4, %eax
	orl	$0x10, %eax
	movl	%eax, %cr4
	movl	%edi, %cr3
	movl	%cr0, %eax
	orl	$0x80010000, %eax
	movl	%eax, %cr0
	popl	%eax
	popl	%ebx
	movl	$boot_stack_top, %esp
	pushl	%ebx
	pushl	%eax
	cld
	movl	$pc32_main, %eax
	call	*%eax
1:	cli
	hlt
	jmp	1b

	.globl	timer_entry
timer_entry:
	pushal
	cld
	call	pc32_timer
	popal
	iret

	.globl	pic_entry
pic_entry:
	pushal
	cld
	call	pc32_tick
	popal
	iret

	.globl	spurious_entry
spurious_entry:
	iret

	/*
	 * In real mode, where the vectors of a BIOS are: ask it for the memory
	 * map, leave what it says, and count.
	 */
	.code16
	.globl	ap_start, ap_end
ap_start:
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$AP_CODE, %sp
	movw	$0xe820, %ax
	clc
	int	$0x15
	pushfw
	popw	%cx
	movw	%ax, AP_CODE + 0xf00
	movw	%cx, AP_CODE + 0xf02
	lock incl AP_CODE + 0xf04
1:	cli
	hlt
	jmp	1b
ap_end:
	.code32

	.bss
	.balign	4096
directory:
	.skip	4096
	.skip	16384
boot_stack_top:
	.section .note.GNU-stack, "", @progbits
