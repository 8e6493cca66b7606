/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: one for each operation, with its cost. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvmfork

#if !defined(KVMFORK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KVMFORK_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(kvmfork_freeze,
	TP_PROTO(u32 vcpus, unsigned long dirty, u64 ns, int ret),
	TP_ARGS(vcpus, dirty, ns, ret),
	TP_STRUCT__entry(
		__field(u32, vcpus)
		__field(unsigned long, dirty)
		__field(u64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->vcpus = vcpus;
		__entry->dirty = dirty;
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("vcpus=%u dirty_pages=%lu ns=%llu ret=%d", __entry->vcpus,
		  __entry->dirty, __entry->ns, __entry->ret)
);

TRACE_EVENT(kvmfork_spawn,
	TP_PROTO(u32 vcpus, u32 mappings, u64 ns, int ret),
	TP_ARGS(vcpus, mappings, ns, ret),
	TP_STRUCT__entry(
		__field(u32, vcpus)
		__field(u32, mappings)
		__field(u64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->vcpus = vcpus;
		__entry->mappings = mappings;
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("vcpus=%u mappings=%u ns=%llu ret=%d", __entry->vcpus,
		  __entry->mappings, __entry->ns, __entry->ret)
);

TRACE_EVENT(kvmfork_fork,
	TP_PROTO(unsigned long dirty, u64 ns, int ret),
	TP_ARGS(dirty, ns, ret),
	TP_STRUCT__entry(
		__field(unsigned long, dirty)
		__field(u64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->dirty = dirty;
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("dirty_pages=%lu ns=%llu ret=%d", __entry->dirty,
		  __entry->ns, __entry->ret)
);

TRACE_EVENT(kvmfork_reset,
	TP_PROTO(u32 vcpus, unsigned long pages, u64 ns, int ret),
	TP_ARGS(vcpus, pages, ns, ret),
	TP_STRUCT__entry(
		__field(u32, vcpus)
		__field(unsigned long, pages)
		__field(u64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->vcpus = vcpus;
		__entry->pages = pages;
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("vcpus=%u pages=%lu ns=%llu ret=%d", __entry->vcpus,
		  __entry->pages, __entry->ns, __entry->ret)
);

TRACE_EVENT(kvmfork_convert,
	TP_PROTO(u32 memories, u64 pages, u64 ns, int ret),
	TP_ARGS(memories, pages, ns, ret),
	TP_STRUCT__entry(
		__field(u32, memories)
		__field(u64, pages)
		__field(u64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->memories = memories;
		__entry->pages = pages;
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("memories=%u pages=%llu ns=%llu ret=%d", __entry->memories,
		  __entry->pages, __entry->ns, __entry->ret)
);

#endif /* KVMFORK_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
