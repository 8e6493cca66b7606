// SPDX-License-Identifier: GPL-2.0-only
/* The time of a guest: the TSC of its vCPUs, and KVM's clock of the VM. */
#include <linux/kvm_host.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <asm/tsc.h>

#include "state.h"

static int tsc_khz_load(struct kvmfork_target *target,
			const struct kvmfork_record *record)
{
	u32 khz = *(const u32 *)record->data;
	long ret;

	/* Without TSC scaling it can only be what it is. */
	if (kvmfork_kvm_call(target->file, KVM_GET_TSC_KHZ, 0) == khz)
		return 0;
	ret = kvmfork_kvm_call(target->file, KVM_SET_TSC_KHZ, khz);
	return ret < 0 ? kvmfork_target_report(target, record->type->name, ret) : 0;
}

const struct kvmfork_record_type kvmfork_record_tsc_khz = {
	.id = KVMFORK_STATE_TSC_KHZ,
	.name = "KVM_SET_TSC_KHZ",
	.load = tsc_khz_load,
	.size = sizeof(u32),
};

static int tsc_khz_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	long khz;

	khz = kvmfork_kvm_call(target->file, KVM_GET_TSC_KHZ, 0);
	if (khz < 0)
		return kvmfork_target_report(target, "KVM_GET_TSC_KHZ", khz);
	record = kvmfork_state_add(state, &kvmfork_record_tsc_khz, sizeof(u32));
	if (!record)
		return -ENOMEM;
	*(u32 *)record->data = khz;
	return 0;
}

/* A struct that names a user address, with what is there behind it. */
struct tsc_offset_args {
	struct kvm_device_attr attr;
	u64 offset;
};

static void tsc_offset_prepare(struct kvmfork_target *target,
			       struct tsc_offset_args *args)
{
	args->attr = (struct kvm_device_attr) {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = target->scratch->addr +
			offsetof(struct tsc_offset_args, offset),
	};
}

static int tsc_offset_load(struct kvmfork_target *target,
			   const struct kvmfork_record *record)
{
	struct tsc_offset_args args;
	long ret;

	tsc_offset_prepare(target, &args);
	args.offset = *(const u64 *)record->data;
	ret = kvmfork_kvm_set(target->scratch, target->file,
			      KVM_SET_DEVICE_ATTR, &args, sizeof(args));
	return ret < 0 ? kvmfork_target_report(target, record->type->name, ret) : 0;
}

const struct kvmfork_record_type kvmfork_record_tsc_offset = {
	.id = KVMFORK_STATE_TSC_OFFSET,
	.name = "KVM_VCPU_TSC_OFFSET",
	.load = tsc_offset_load,
	.size = sizeof(u64),
};

/*
 * The offset to the host's TSC and not the guest's TSC: so the child's goes on
 * as the parent's does, and those of several vCPUs stay together.
 */
static int tsc_offset_save(struct kvmfork_target *target,
			   struct kvmfork_state *state)
{
	struct kvmfork_record *record;
	struct tsc_offset_args args;
	long ret;

	record = kvmfork_state_add(state, &kvmfork_record_tsc_offset,
				   sizeof(u64));
	if (!record)
		return -ENOMEM;
	tsc_offset_prepare(target, &args);
	args.offset = 0;
	ret = kvmfork_kvm_exchange(target->scratch, target->file,
				   KVM_GET_DEVICE_ATTR, &args, sizeof(args));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_VCPU_TSC_OFFSET", ret);
	*(u64 *)record->data = args.offset;
	return 0;
}

int kvmfork_tsc_save(struct kvmfork_target *target, struct kvmfork_state *state)
{
	int ret = tsc_khz_save(target, state);

	return ret ?: tsc_offset_save(target, state);
}

/* Realtime minus boottime, which changes when the host's time is set. */
static u64 realtime_offset(void)
{
	return ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_REAL)) -
	       ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_BOOT));
}

int kvmfork_clock_save(struct kvmfork_target *target, struct kvmfork_clock *clock)
{
	struct kvm_clock_data data;
	long ret;

	ret = kvmfork_kvm_get(target->scratch, target->file, KVM_GET_CLOCK,
			      &data, sizeof(data));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_GET_CLOCK", ret);
	clock->clock = data.clock;
	if (data.flags & KVM_CLOCK_REALTIME) {
		clock->boottime = data.realtime - realtime_offset();
		clock->host_tsc = data.host_tsc;
	} else {
		/* The host's clock is not the TSC: it is a bit late. */
		clock->boottime = ktime_get_boottime_ns();
		clock->host_tsc = rdtsc_ordered();
	}
	clock->host_khz = tsc_khz;
	return 0;
}

/*
 * The clock of the child goes on from where the parent's was, plus the time
 * since. KVM adds that by itself, with interrupts off, to what is given to it
 * with a realtime: reading the time here would add what passes until the call.
 */
int kvmfork_clock_load(struct kvmfork_target *target,
		       const struct kvmfork_clock *clock)
{
	struct kvm_clock_data data = {
		.clock = clock->clock,
		.flags = KVM_CLOCK_REALTIME,
		.realtime = clock->boottime + realtime_offset(),
	};
	long ret;

	ret = kvmfork_kvm_set(target->scratch, target->file, KVM_SET_CLOCK,
			      &data, sizeof(data));
	if (ret < 0)
		return kvmfork_target_report(target, "KVM_SET_CLOCK", ret);
	return 0;
}

void kvmfork_clock_export(const struct kvmfork_clock *clock,
			  struct kvm_clock_data *data)
{
	*data = (struct kvm_clock_data) {
		.clock = clock->clock,
		.flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC,
		.realtime = clock->boottime + realtime_offset(),
		.host_tsc = clock->host_tsc,
	};
}

void kvmfork_clock_import(struct kvmfork_clock *clock,
			  const struct kvm_clock_data *data)
{
	clock->clock = data->clock;
	clock->boottime = data->realtime - realtime_offset();
	clock->host_tsc = data->host_tsc;
}

/* @value * @to / @from, of which only the product of the rest must fit. */
static u64 scale(u64 value, u32 to, u32 from)
{
	u64 rest, times = div64_u64_rem(value, from, &rest);

	return times * to + div_u64(rest * to, from);
}

/*
 * By so many cycles the host's clock and its TSC may disagree about what has
 * passed: NTP slews a clock by 500 ppm at most, and reading both takes a while.
 */
static u64 tsc_tolerance(u64 elapsed)
{
	return min(elapsed / 2000, 1000ULL * tsc_khz) + 10ULL * tsc_khz;
}

void kvmfork_tsc_shift_find(struct kvmfork_clock *clock,
			    struct kvmfork_tsc_shift *shift)
{
	s64 passed = ktime_get_boottime_ns() - clock->boottime;
	u64 elapsed;
	s64 error;

	*shift = (struct kvmfork_tsc_shift) {};
	if (!tsc_khz)
		return;
	shift->passed = max(passed, 0LL);
	shift->then = clock->host_tsc;
	shift->then_khz = clock->host_khz ?: tsc_khz;
	shift->now = rdtsc_ordered();
	elapsed = scale(shift->passed, tsc_khz, NSEC_PER_MSEC);
	error = shift->then + elapsed - shift->now;
	shift->needed = shift->then_khz != tsc_khz ||
			abs(error) > tsc_tolerance(elapsed);
	/* From here on it is as if it had been frozen by this TSC. */
	if (shift->needed)
		clock->host_tsc = shift->now - elapsed;
	clock->host_khz = tsc_khz;
}

static const void *find(const struct kvmfork_state *state,
			const struct kvmfork_record_type *type)
{
	const struct kvmfork_record *record;

	list_for_each_entry(record, &state->records, link)
		if (record->type == type)
			return record->data;
	return NULL;
}

/*
 * What a guest's TSC of @khz shows at @tsc of a host's, without its offset. KVM
 * does not scale what differs by no more than 250 ppm (kvm.tsc_tolerance_ppm).
 */
static u64 guest_tsc(u64 tsc, u32 khz, u32 host_khz)
{
	u32 tolerated = div_u64(250ULL * host_khz, 1000000);

	if (khz >= host_khz - tolerated && khz <= (u64)host_khz + tolerated)
		return tsc;
	return scale(tsc, khz, host_khz);
}

void kvmfork_tsc_shift_apply(const struct kvmfork_tsc_shift *shift,
			     struct kvmfork_state *state)
{
	const u32 *khz = find(state, &kvmfork_record_tsc_khz);
	u64 *offset = (u64 *)find(state, &kvmfork_record_tsc_offset);

	if (!shift->needed)
		return;
	*offset += guest_tsc(shift->then, *khz, shift->then_khz);
	*offset += scale(shift->passed, *khz, NSEC_PER_MSEC);
	*offset -= guest_tsc(shift->now, *khz, tsc_khz);
}
