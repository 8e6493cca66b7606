// SPDX-License-Identifier: GPL-2.0-only
/* The module's tracepoints: one line for each operation. */
#include <fcntl.h>

#include "convert.h"
#include "harness.h"

#define TRACING	"/sys/kernel/tracing/"

static bool tracing_write(const char *file, const char *text)
{
	char path[128];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return false;
	ret = write(fd, text, strlen(text));
	close(fd);
	return ret == (ssize_t)strlen(text);
}

/* The line of @event in the trace, "" when there is none. */
static void tracing_find(const char *event, char *line, size_t size)
{
	FILE *trace = fopen(TRACING "trace", "r");

	TEST_REQUIRE(trace, "trace: %m");
	while (fgets(line, size, trace))
		if (strstr(line, event))
			break;
	if (feof(trace))
		line[0] = '\0';
	fclose(trace);
}

TEST(each_operation)
{
	unsigned long dirty = 0, ns = 0;
	unsigned int vcpus = 0;
	struct vm vm, child;
	char line[512];
	int fields, fd, ret = -1;

	if (!tracing_write("events/kvmfork/enable", "1"))
		SKIP(return, "no tracing here: %m");
	tracing_write("trace", "\n");
	vm_create_default(&vm, VM_IRQCHIP_KERNEL, 2);
	memset(vm_hva(&vm, 0x100000), 1, 3 * PAGE_SIZE);
	vm_fork(&vm, &child);
	fd = vm_freeze(&child);
	memset(vm_hva(&child, 0x200000), 1, 5 * PAGE_SIZE);
	vm_reset(&child, fd);
	vm_slot_add(&child, 0, 1UL << 30, 16 * PAGE_SIZE, memory_anonymous(16 * PAGE_SIZE), -1, 0);
	memset(vm_hva(&child, 1UL << 30), 1, 7 * PAGE_SIZE);
	vm_convert(&child);
	ASSERT_TRUE(tracing_write("events/kvmfork/enable", "0"));

	tracing_find("kvmfork_freeze:", line, sizeof(line));
	ASSERT_NE('\0', line[0]);
	fields = sscanf(strstr(line, "vcpus="), "vcpus=%u dirty_pages=%lu ns=%lu ret=%d",
			&vcpus, &dirty, &ns, &ret);
	EXPECT_EQ(4, fields);
	EXPECT_EQ(2, vcpus);
	EXPECT_LE(3, dirty);
	EXPECT_LT(0, ns);
	EXPECT_EQ(0, ret);
	tracing_find("kvmfork_spawn:", line, sizeof(line));
	EXPECT_NE(NULL, strstr(line, "vcpus=2 mappings=1 "));
	tracing_find("kvmfork_fork:", line, sizeof(line));
	EXPECT_NE(NULL, strstr(line, "ret=0"));
	tracing_find("kvmfork_reset:", line, sizeof(line));
	EXPECT_NE(NULL, strstr(line, "vcpus=2 pages=5 "));
	EXPECT_NE(NULL, strstr(line, "ret=0"));
	tracing_find("kvmfork_convert:", line, sizeof(line));
	EXPECT_NE(NULL, strstr(line, "memories=1 pages=7 "));
	EXPECT_NE(NULL, strstr(line, "ret=0"));
	close(fd);
	vm_close(&child);
	vm_close(&vm);
}

TEST_HARNESS_MAIN
