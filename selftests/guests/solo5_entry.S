/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry, and notes as include/elf_abi.h and mft_abi.h of Solo5 have them. With
 * DEVICES the guest wants a disk and a network.
 */
#define ENTRY_SIZE	104
#ifdef DEVICES
#define NR_ENTRIES	3
#else
#define NR_ENTRIES	1
#endif

	.section .interp, "a"
	.asciz	"/nonexistent/solo5/"

	.section .note.solo5.abi, "a", @note
	.balign	4
	.long	6, 16, 0x31494241	/* "ABI1" */
	.asciz	"Solo5"
	.balign	4
	.long	1, 2, 0, 0		/* hvt, version 2 */

	.section .note.solo5.manifest, "a", @note
	.balign	8
	.long	6, 4 + 8 + NR_ENTRIES * ENTRY_SIZE, 0x3154464d	/* "MFT1" */
	.asciz	"Solo5"
	.balign	4
	.long	0			/* what follows is aligned to 8 bytes */
	.long	1, NR_ENTRIES
	.skip	68
	.long	1 << 30
	.skip	32
#ifdef DEVICES
1:	.asciz	"disk"
	.skip	68 - (. - 1b)
	.long	1
	.skip	32
1:	.asciz	"net"
	.skip	68 - (. - 1b)
	.long	2
	.skip	32
#endif

	.text
	.globl	_start
_start:
	/* RSP is as behind a call. */
	mov	%rsp, %rsi
	cld
	call	solo5_main
1:	cli
	hlt
	jmp	1b

	.globl	bare_fork
bare_fork:
	xor	%eax, %eax
	ud2
	ret
	.section .note.GNU-stack, "", @progbits
