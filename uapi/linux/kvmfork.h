/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * kvmfork: fork a running KVM virtual machine.
 *
 * docs/api.rst describes every call with its errors. Four kinds of file
 * take part:
 *
 *  - the device /dev/kvmfork: information, new memory files, attaching;
 *  - a memory file: guest memory that can be shared copy-on-write. It is
 *    mapped with mmap(MAP_SHARED), backs KVM memory slots, and knows
 *    pread(), pwrite(), lseek(SEEK_DATA/SEEK_HOLE) and
 *    fallocate(FALLOC_FL_PUNCH_HOLE);
 *  - an attach file: the hold of this module on one KVM VM;
 *  - a template: an immutable copy of a VM, from which VMs are spawned.
 *
 * The size that an ioctl number carries is the version of its struct. A
 * caller built against a longer struct than the running module knows gets
 * E2BIG unless what the module does not know is zero; what a shorter one
 * leaves out reads as zero. Flag bits, padding and reserved fields that are
 * not zero and not known give EINVAL, commands not known ENOTTY.
 */
#ifndef _UAPI_LINUX_KVMFORK_H
#define _UAPI_LINUX_KVMFORK_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KVMFORK_API_VERSION	1

/* Bits of kvmfork_info.features. */
#define KVMFORK_FEATURE_MEMORY		(1ULL << 0)
#define KVMFORK_FEATURE_FORK		(1ULL << 1)
#define KVMFORK_FEATURE_TEMPLATE	(1ULL << 2)
/* The running kernel lets the module see the guest's #UD. */
#define KVMFORK_FEATURE_TRAP_UD		(1ULL << 3)
#define KVMFORK_FEATURE_RESET		(1ULL << 4)
#define KVMFORK_FEATURE_SPAWN_MANY	(1ULL << 5)
#define KVMFORK_FEATURE_DIFF		(1ULL << 6)
#define KVMFORK_FEATURE_EXPORT		(1ULL << 7)
#define KVMFORK_FEATURE_CONVERT		(1ULL << 8)
#define KVMFORK_FEATURE_HUGE		(1ULL << 9)
#define KVMFORK_FEATURE_RESET_KEEP	(1ULL << 10)

/* The largest memory file, in bytes. */
#define KVMFORK_MEMORY_SIZE_MAX		(1ULL << 44)

/**
 * struct kvmfork_info - what the loaded module offers
 * @api_version: KVMFORK_API_VERSION of the module
 * @reserved: zero
 * @features: KVMFORK_FEATURE_* bits
 * @memory_size_max: largest size of a memory file, in bytes
 */
struct kvmfork_info {
	__u32 api_version;
	__u32 reserved;
	__u64 features;
	__u64 memory_size_max;
};

/* Bits of kvmfork_create_memory.flags. */
/* Of 2 MiB pages, where they are to be had. Shared whole, copied by 4 KiB. */
#define KVMFORK_MEMORY_HUGE		(1ULL << 0)
/* Copied whole, too. Only with KVMFORK_MEMORY_HUGE. */
#define KVMFORK_MEMORY_HUGE_COPY	(1ULL << 1)

/**
 * struct kvmfork_create_memory - make a memory file
 * @size: bytes, a multiple of 4096, 1 page to KVMFORK_MEMORY_SIZE_MAX; fixed
 *	for the life of the file
 * @flags: KVMFORK_MEMORY_* bits; memory of children has those of the parent's
 */
struct kvmfork_create_memory {
	__u64 size;
	__u64 flags;
};

/**
 * struct kvmfork_attach - take hold of a KVM VM
 * @vm_fd: from KVM_CREATE_VM, made by the calling process
 * @flags: zero
 */
struct kvmfork_attach {
	__s32 vm_fd;
	__u32 flags;
};

/* Bits of kvmfork_trap.events. */
#define KVMFORK_TRAP_UD		(1ULL << 0)

/**
 * struct kvmfork_trap - guest events that leave to user space
 * @events: KVMFORK_TRAP_* bits; those not named are switched off
 *
 * With KVMFORK_TRAP_UD an invalid-opcode exception of the guest makes KVM_RUN
 * return with KVM_EXIT_EXCEPTION, kvm_run.ex.exception 6 and RIP at the
 * instruction, instead of being delivered to the guest.
 */
struct kvmfork_trap {
	__u64 events;
};

/* Memory that is not forkable becomes so first, as by KVMFORK_CONVERT. */
#define KVMFORK_FREEZE_CONVERT	(1ULL << 0)

/**
 * struct kvmfork_freeze - make a template of a VM, which goes on
 * @flags: KVMFORK_FREEZE_* bits
 * @vcpu_fds: user pointer to __s32[@nr_vcpus]: the fds of all vCPUs of the
 *	VM, in any order
 * @nr_vcpus: entries of @vcpu_fds
 * @message_size: bytes at @message
 * @message: user pointer or zero. When the call fails, what could not be
 *	carried is said here in one line, NUL-terminated
 * @reserved: zero
 */
struct kvmfork_freeze {
	__u64 flags;
	__u64 vcpu_fds;
	__u32 nr_vcpus;
	__u32 message_size;
	__u64 message;
	__u64 reserved[4];
};

/**
 * struct kvmfork_vcpu - a vCPU of a new VM
 * @id: the id given to KVM_CREATE_VCPU, as in the parent
 * @fd: its file, close-on-exec
 */
struct kvmfork_vcpu {
	__u32 id;
	__s32 fd;
};

/**
 * struct kvmfork_mapping - guest memory of a new VM in the caller's memory
 * @address: where it has been mapped, shared and writable
 * @parent_address: where the parent had it mapped
 * @size: bytes
 * @offset: offset of its first byte in the memory file, bytes
 * @memory_fd: the memory file, close-on-exec; mappings of the same file have
 *	the same fd
 * @reserved: zero
 */
struct kvmfork_mapping {
	__u64 address;
	__u64 parent_address;
	__u64 size;
	__u64 offset;
	__s32 memory_fd;
	__u32 reserved;
};

/*
 * Map the guest memory at the parent's addresses. Nothing is replaced: EEXIST
 * when something is mapped there.
 */
#define KVMFORK_SPAWN_FIXED	(1ULL << 0)

/**
 * struct kvmfork_spawn - make a VM from a template, in the caller's memory
 * @flags: KVMFORK_SPAWN_* bits
 * @vcpus: user pointer to struct kvmfork_vcpu[@nr_vcpus], filled in the order
 *	in which the parent's vCPUs were created
 * @mappings: user pointer to struct kvmfork_mapping[@nr_mappings], filled by
 *	rising @parent_address
 * @message: as in struct kvmfork_freeze
 * @message_size: bytes at @message
 * @kvm_fd: an open /dev/kvm
 * @nr_vcpus: in: entries of @vcpus; out: how many there are (with E2BIG: how
 *	many it takes)
 * @nr_mappings: likewise for @mappings
 * @vm_fd: out: the KVM VM, close-on-exec
 * @attach_fd: out: the attach file of the new VM, with the traps of the
 *	parent at the time of the freeze, close-on-exec
 * @reserved: zero
 */
struct kvmfork_spawn {
	__u64 flags;
	__u64 vcpus;
	__u64 mappings;
	__u64 message;
	__u32 message_size;
	__s32 kvm_fd;
	__u32 nr_vcpus;
	__u32 nr_mappings;
	__s32 vm_fd;
	__s32 attach_fd;
	__u64 reserved[4];
};

/**
 * struct kvmfork_fork - freeze and spawn in one call
 * @freeze: the parent's side. struct kvmfork_freeze keeps its size for this
 *	struct's sake, and grows into its reserved fields
 * @spawn: the child's side. Messages of both go to @freeze.message;
 *	@spawn.message and @spawn.message_size must be zero
 */
struct kvmfork_fork {
	struct kvmfork_freeze freeze;
	struct kvmfork_spawn spawn;
};

/* Bits of kvmfork_reset.flags: what goes back. At least one. */
#define KVMFORK_RESET_MEMORY	(1ULL << 0)
#define KVMFORK_RESET_STATE	(1ULL << 1)
/*
 * How memory goes back: pages that the VM has written stay its own and mapped,
 * and are written over. Only with KVMFORK_RESET_MEMORY.
 */
#define KVMFORK_RESET_KEEP	(1ULL << 2)

/**
 * struct kvmfork_reset - put a VM into the state of a template, in place
 * @flags: KVMFORK_RESET_* bits
 * @vcpu_fds: user pointer to __s32[@nr_vcpus]: the fds of all vCPUs of the
 *	VM, in any order
 * @nr_vcpus: entries of @vcpu_fds
 * @template_fd: any template of the same shape: vCPUs, devices, capabilities
 *	and memory slots
 * @message: as in struct kvmfork_freeze
 * @message_size: bytes at @message
 * @reserved32: zero
 * @reserved: zero
 *
 * The fds, mappings and slots of the VM stay as they are. So a VM that is done
 * or has been made ahead becomes a new child of the template, for the price of
 * what differs.
 */
struct kvmfork_reset {
	__u64 flags;
	__u64 vcpu_fds;
	__u32 nr_vcpus;
	__s32 template_fd;
	__u64 message;
	__u32 message_size;
	__u32 reserved32;
	__u64 reserved[4];
};

/* All children or none. */
#define KVMFORK_SPAWN_MANY_ALL		(1ULL << 0)

/* The most children of one call. */
#define KVMFORK_SPAWN_MANY_MAX		1024

/**
 * struct kvmfork_spawn_many - make several VMs from a template
 * @flags: KVMFORK_SPAWN_MANY_* bits
 * @spawns: user pointer to struct kvmfork_spawn[@count], each as for
 *	KVMFORK_SPAWN
 * @results: user pointer to __s32[@count]: 0 or a negative errno for each;
 *	-ECANCELED for one that was given up because of another
 * @count: 1 to KVMFORK_SPAWN_MANY_MAX
 * @nr_spawned: out: how many VMs were made
 * @reserved: zero
 */
struct kvmfork_spawn_many {
	__u64 flags;
	__u64 spawns;
	__u64 results;
	__u32 count;
	__u32 nr_spawned;
	__u64 reserved[2];
};

/**
 * struct kvmfork_convert - make a VM's memory forkable where it is
 * @flags: zero
 * @vcpu_fds: user pointer to __s32[@nr_vcpus]: the fds of all vCPUs of the
 *	VM, in any order
 * @mappings: user pointer to struct kvmfork_mapping[@nr_mappings], filled for
 *	all memory of the VM by rising address; @address and @parent_address are
 *	the same
 * @message: as in struct kvmfork_freeze
 * @message_size: bytes at @message
 * @nr_vcpus: entries of @vcpu_fds
 * @nr_mappings: in: entries of @mappings: as many as the VM has slots, or zero
 *	to leave it at the memory; out: how many there are (with E2BIG: how many
 *	it takes)
 * @reserved32: zero
 * @nr_pages: out: how many pages were copied
 * @reserved: zero
 *
 * What backs a memory slot and is not a memory file (anonymous memory, memfd,
 * a file) is replaced by one, at the same address: its contents move, with
 * pages that nobody has touched staying holes.
 */
struct kvmfork_convert {
	__u64 flags;
	__u64 vcpu_fds;
	__u64 mappings;
	__u64 message;
	__u32 message_size;
	__u32 nr_vcpus;
	__u32 nr_mappings;
	__u32 reserved32;
	__u64 nr_pages;
	__u64 reserved[3];
};

/**
 * struct kvmfork_open_memory - a template's memory as a file
 * @index: which: in the order in which struct kvmfork_mapping of a child names
 *	the memory files first
 * @flags: zero
 */
struct kvmfork_open_memory {
	__u32 index;
	__u32 flags;
};

/**
 * struct kvmfork_export - a template's state as bytes
 * @flags: zero
 * @state: user pointer to room for them, see linux/kvmfork_state.h
 * @size: in: bytes at @state; out: how many there are (with E2BIG: how many it
 *	takes)
 * @reserved: zero
 */
struct kvmfork_export {
	__u64 flags;
	__u64 state;
	__u64 size;
	__u64 reserved;
};

/**
 * struct kvmfork_load - make a template of a state and of memory files
 * @flags: zero
 * @state: user pointer to what KVMFORK_EXPORT gave
 * @size: bytes at @state
 * @memory_fds: user pointer to __s32[@nr_memories]: memory files, in the order
 *	of kvmfork_open_memory.index. They are frozen as by KVMFORK_FREEZE
 * @nr_memories: entries of @memory_fds
 * @message_size: bytes at @message
 * @message: as in struct kvmfork_freeze
 * @reserved: zero
 */
struct kvmfork_load {
	__u64 flags;
	__u64 state;
	__u64 size;
	__u64 memory_fds;
	__u32 nr_memories;
	__u32 message_size;
	__u64 message;
	__u64 reserved[2];
};

/**
 * struct kvmfork_diff - which pages of two memory files are not the same page
 * @offset: of the first page, bytes, a multiple of 4096
 * @size: bytes, a multiple of 4096, at least one page; the range lies in the
 *	files, which have the same size
 * @bitmap: user pointer to __u64[(@size / 4096 + 63) / 64]; bit n % 64 of word
 *	n / 64 is set when page n of the range differs. All bits are written
 * @nr_pages: out: how many bits are set
 * @other_fd: the other memory file
 * @flags: zero
 *
 * Pages are compared by identity, not by content: with a file that the other
 * was copied from, those that differ are the ones written or punched since, on
 * either side.
 */
struct kvmfork_diff {
	__u64 offset;
	__u64 size;
	__u64 bitmap;
	__u64 nr_pages;
	__s32 other_fd;
	__u32 flags;
};

#define KVMFORK_IOC		0xBF

/* On /dev/kvmfork. All but the first return a new close-on-exec fd. */
#define KVMFORK_GET_INFO	_IOR(KVMFORK_IOC, 0x00, struct kvmfork_info)
#define KVMFORK_CREATE_MEMORY	_IOW(KVMFORK_IOC, 0x01, struct kvmfork_create_memory)
#define KVMFORK_ATTACH		_IOW(KVMFORK_IOC, 0x02, struct kvmfork_attach)
#define KVMFORK_LOAD		_IOW(KVMFORK_IOC, 0x03, struct kvmfork_load)

/* On an attach file. FREEZE returns the fd of the template, close-on-exec. */
#define KVMFORK_TRAP		_IOW(KVMFORK_IOC, 0x10, struct kvmfork_trap)
#define KVMFORK_FREEZE		_IOW(KVMFORK_IOC, 0x11, struct kvmfork_freeze)
#define KVMFORK_FORK		_IOWR(KVMFORK_IOC, 0x12, struct kvmfork_fork)

#define KVMFORK_RESET		_IOW(KVMFORK_IOC, 0x13, struct kvmfork_reset)
#define KVMFORK_CONVERT		_IOWR(KVMFORK_IOC, 0x14, struct kvmfork_convert)

/* On a template. OPEN_MEMORY returns a memory file, close-on-exec. */
#define KVMFORK_SPAWN		_IOWR(KVMFORK_IOC, 0x20, struct kvmfork_spawn)
#define KVMFORK_SPAWN_MANY	_IOWR(KVMFORK_IOC, 0x21, struct kvmfork_spawn_many)
#define KVMFORK_OPEN_MEMORY	_IOW(KVMFORK_IOC, 0x22, struct kvmfork_open_memory)
#define KVMFORK_EXPORT		_IOWR(KVMFORK_IOC, 0x23, struct kvmfork_export)

/* On a memory file. */
#define KVMFORK_DIFF		_IOWR(KVMFORK_IOC, 0x30, struct kvmfork_diff)

#endif /* _UAPI_LINUX_KVMFORK_H */
