// SPDX-License-Identifier: GPL-2.0-only
/* Failing allocations, for tests. See fault.h. */
#include <linux/module.h>
#include <linux/sched.h>

#include "fault.h"

/* Whose allocations count, and how many are to come. Only that task counts. */
static pid_t fault_task;
static unsigned int fault_nth;

bool kvmfork_fault(void)
{
	if (READ_ONCE(fault_task) != current->pid || !fault_nth)
		return false;
	return !--fault_nth;
}

static int fail_nth_set(const char *text, const struct kernel_param *param)
{
	unsigned int nth;
	int ret = kstrtouint(text, 0, &nth);

	if (ret)
		return ret;
	/* In this order the task before stops counting. */
	WRITE_ONCE(fault_task, 0);
	fault_nth = nth;
	WRITE_ONCE(fault_task, nth ? current->pid : 0);
	return 0;
}

static int fail_nth_get(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%u\n", fault_nth);
}

static const struct kernel_param_ops fail_nth_ops = {
	.set = fail_nth_set,
	.get = fail_nth_get,
};

module_param_cb(fail_nth, &fail_nth_ops, NULL, 0600);
MODULE_PARM_DESC(fail_nth, "Fail the Nth allocation that is made for the writing task");
