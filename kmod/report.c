// SPDX-License-Identifier: GPL-2.0-only
/* The one line that tells a caller what could not be done. See report.h. */
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "report.h"

int kvmfork_report(struct kvmfork_report *report, int err,
		   const char *format, ...)
{
	va_list args;

	if (report->text[0])
		return err;
	va_start(args, format);
	vscnprintf(report->text, sizeof(report->text), format, args);
	va_end(args);
	return err;
}

void kvmfork_report_copy(const struct kvmfork_report *report,
			 void __user *to, u32 size)
{
	char text[sizeof(report->text)];

	if (!to || !size)
		return;
	memcpy(text, report->text, sizeof(text));
	size = min_t(u32, size, sizeof(text));
	text[size - 1] = '\0';
	/* The call has failed already: there is no second error to tell. */
	if (copy_to_user(to, text, strlen(text) + 1))
		return;
}
