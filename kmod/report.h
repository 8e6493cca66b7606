/* SPDX-License-Identifier: GPL-2.0-only */
/* The one line that tells a caller what could not be done, and why. */
#ifndef KVMFORK_REPORT_H
#define KVMFORK_REPORT_H

#include <linux/types.h>

struct kvmfork_report {
	char text[128];
};

/* Note the reason and return @err. The first reason noted stays. */
__printf(3, 4)
int kvmfork_report(struct kvmfork_report *report, int err,
		   const char *format, ...);

/* Give the text to user space: at most @size bytes at @to, NUL-terminated. */
void kvmfork_report_copy(const struct kvmfork_report *report,
			 void __user *to, u32 size);

#endif
