// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copies that can tell that they are copies. Each prints its random bytes and its
 * generation id, for somebody who sees all of them.
 *
 *	clones=N	--template N was given: it is the children who look
 *	runs=N		--reset-on-exit N was given: run 0 to N look
 *	break		takes the bytes of another
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define EFAULT		14
#define EINVAL		22
#define MS		1000000UL
/* docs/ukrun.md */
#define VMGENID		0xff000UL
#define VMGENID_PIN	23
#define VECTOR_PIC	0x20
#define VECTOR_VMGENID	0x60
/* Longer than any test may take. */
#define LONG		(600000 * MS)

const char guest_name[] = "identity";

static struct kvmfork_identity place;
static volatile unsigned int irqs;

static void handle_vmgenid(struct trap_frame *frame)
{
	(void)frame;
	irqs++;
	lapic_eoi();
}

static void expect_vmgenid(void)
{
	pic_init(VECTOR_PIC);
	lapic_enable();
	trap_set(VECTOR_VMGENID, handle_vmgenid);
	ioapic_write(0x11 + 2 * VMGENID_PIN, lapic_read(LAPIC_ID));
	ioapic_write(0x10 + 2 * VMGENID_PIN, VECTOR_VMGENID);
}

/* Interrupts are off but here: none that has come is lost. */
static unsigned int vmgenid_irqs(void)
{
	unsigned int n;

	irq_enable();
	cpu_pause();
	irq_disable();
	n = irqs;
	irqs = 0;
	return n;
}

static long name_place(uint64_t gpa)
{
	return guest_call(KVMFORK_CALL_IDENTITY, (long)gpa, 0, NULL);
}

static void show(const char *who)
{
	uint64_t r[4];

	memcpy(r, place.random, sizeof(r));
	if (arg_flag("break"))
		memset(r, 0, sizeof(r));
	say("%s, random %lx%lx%lx%lx", who, r[0], r[1], r[2], r[3]);
	memcpy(r, (void *)VMGENID, 16);
	say("%s, generation id %lx%lx", who, r[0], r[1]);
}

/* As a copy of a VM whose identity was @before. */
static void check_copy(const struct kvmfork_identity *before, uint64_t generation)
{
	check_eq("magic", place.magic, KVMFORK_IDENTITY_MAGIC);
	check_eq("generation", place.generation, generation);
	check_eq("id", place.id, guest_getid());
	check(memcmp(place.random, before->random, sizeof(place.random)),
	      "the random bytes are those of the other");
	check_eq("interrupts for a new generation id", vmgenid_irqs(), 1);
	check(place.elapsed_ns > 0 && place.elapsed_ns < LONG, "%llu ns since the freeze",
	      place.elapsed_ns);
}

static void check_arguments(void)
{
	uint64_t end = boot_state.memory;

	check_eq("a place that is not aligned", name_place((uint64_t)&place + 4), -EINVAL);
	check_eq("a place behind all memory", name_place(end), -EFAULT);
	check_eq("a place half in memory", name_place(end - sizeof(place) + 8), -EFAULT);
	check_eq("a place at the end of addresses", name_place(-16UL), -EFAULT);
	check_eq("a place that was refused is not written", place.magic, 0);
	check_eq("the last place in memory", name_place(end - sizeof(place)), 0);
	check_eq("the place", name_place((uint64_t)&place), 0);
	check_eq("magic", place.magic, KVMFORK_IDENTITY_MAGIC);
	check_eq("generation of the first", place.generation, 0);
	check_eq("id of the first", place.id, guest_getid());
	check_eq("ns since no freeze", place.elapsed_ns, 0);
}

static void expect_child(long id)
{
	if (check(id > 0, "fork returned %ld", id))
		guest_expect(id, 0);
}

static void check_forks(void)
{
	struct kvmfork_identity before = place, child;
	uint64_t generation = place.generation;
	long id = guest_fork();

	if (!id) {
		check_copy(&before, generation + 1);
		show("child");
		child = place;
		id = guest_fork();
		if (!id) {
			check_copy(&child, generation + 2);
			show("grandchild");
			guest_exit(guest_failures ? GUEST_FAILED : 0);
		}
		expect_child(id);
		guest_exit(guest_failures ? GUEST_FAILED : 0);
	}
	expect_child(id);
	check(!memcmp(&place, &before, sizeof(place)), "that of the parent has changed");
	check_eq("interrupts in the parent", vmgenid_irqs(), 0);

	check_eq("no place", name_place(KVMFORK_IDENTITY_NONE), 0);
	id = guest_fork();
	if (!id) {
		check(!memcmp(&place, &before, sizeof(place)),
		      "written although no place is named");
		guest_exit(guest_failures ? GUEST_FAILED : 0);
	}
	expect_child(id);
	check_eq("the place again", name_place((uint64_t)&place), 0);
	check_eq("its generation", place.generation, generation);
	check(memcmp(place.random, before.random, sizeof(place.random)),
	      "named again, it has the same random bytes");
}

void guest_main(void)
{
	struct kvmfork_identity before;
	long run = 0;

	check_arguments();
	expect_vmgenid();
	show("first");
	if (!arg_number("clones", 0) && !arg_number("runs", 0))
		check_forks();
	before = place;
	guest_call(KVMFORK_CALL_FREEZE, 0, 0, &run);
	if (arg_number("clones", 0)) {
		check_copy(&before, (uint64_t)run + 1);
		show("clone");
	} else if (run) {
		check_copy(&before, (uint64_t)run);
		/* Each run before this one took longer than that. */
		check(place.elapsed_ns > (uint64_t)run * 10 * MS, "%llu ns in run %ld",
		      place.elapsed_ns, run);
		show("run");
	}
	if (arg_number("runs", 0))
		delay_ms(20);
	/* Named behind the marker, it is not a place after a reset. */
	if (arg_number("runs", 0))
		name_place(boot_state.memory - sizeof(place));
}
