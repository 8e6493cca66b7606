// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who sees whose writes: patterns in the memory of parent, child, grandchild
 * and siblings, written in adversarial orders; every page is verified at every
 * stage, those never written (zero) and those only an ancestor wrote too.
 *
 *	full	verify every word of every page, not a sample of most
 *	rounds=N seed=N		of the random part (default 6, 1)
 *	pages=N	at most so many pages
 *	break=1	one foreign word into the memory, by hand
 *	break=2	the ledger itself as if another VM had written it
 *
 * What a page must hold is in a ledger, which is memory that forks as well: a
 * leak of a page and of its line in the ledger together would look right.
 * Hence every page of the ledger is stamped with its VM and that VM's count
 * of stages, and both are checked against what no memory can forge: the ids
 * that ukrun gives, and a register carried across the fork.
 *
 * Clones share no memory, so "the parent writes first" is made by time: a
 * child waits until a TSC value that both know; a parent which was not done by
 * then says so, and the order is tried again with a longer wait.
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define WORDS		(PAGE_SIZE / 8)
#define PAGES_MAX	(65536UL)
#define SAMPLE		8
#define PER_LEDGER_PAGE	(PAGE_SIZE / 4 - 4)
#define REPORTED_MAX	5

const char guest_name[] = "cow";

/* What was written last to each page: VM << 12 | stage; 0: nothing ever. */
struct ledger_page {
	uint32_t vm;
	uint32_t stage;
	uint32_t reserved[2];
	uint32_t tag[PER_LEDGER_PAGE];
};

static struct ledger_page ledger[PAGES_MAX / PER_LEDGER_PAGE + 1]
	__aligned(4096);

static uint64_t (*heap)[WORDS];
static uint32_t pages, ledger_pages;
static uint32_t me, stage;
static uint32_t inconclusive;
/* What the slowest write so far took. */
static uint64_t write_cycles;

static uint32_t hash(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352d;
	x = (x ^ x >> 15) * 0x846ca68b;
	return x ^ x >> 16;
}

static uint64_t word_of(uint32_t page, uint32_t tag, uint32_t word)
{
	if (!tag)
		return 0;
	return ((uint64_t)tag << 32 | page) * 0x9e3779b97f4a7c15 +
	       word * 0xd1342543de82ef95;
}

static uint32_t tag_of(uint32_t page)
{
	return ledger[page / PER_LEDGER_PAGE].tag[page % PER_LEDGER_PAGE];
}

static void stamp(void)
{
	for (uint32_t i = 0; i < ledger_pages; i++) {
		ledger[i].vm = me;
		ledger[i].stage = stage;
	}
}

static void next_stage(void)
{
	stage++;
	stamp();
}

/* A subset of the pages, as a function of its number. */
typedef bool (*subset_fn)(uint32_t page, uint32_t arg);

static bool all(uint32_t page, uint32_t arg)
{
	(void)page;
	(void)arg;
	return true;
}

static bool nth_of_4(uint32_t page, uint32_t arg)
{
	return page % 4 == arg;
}

static bool lower_half(uint32_t page, uint32_t arg)
{
	(void)arg;
	return page < pages / 2;
}

static bool one_in_8(uint32_t page, uint32_t arg)
{
	return !(hash(page ^ arg << 20) & 7);
}

/* Runs of pages, as layers and huge pages see them. */
static bool runs(uint32_t page, uint32_t arg)
{
	return hash(page / 37 ^ arg << 16) & 1;
}

static void write_page(uint32_t page)
{
	uint32_t tag = me << 12 | stage;

	for (uint32_t w = 0; w < WORDS; w++)
		heap[page][w] = word_of(page, tag, w);
	ledger[page / PER_LEDGER_PAGE].tag[page % PER_LEDGER_PAGE] = tag;
}

static void write_pages(subset_fn subset, uint32_t arg, bool backwards)
{
	uint64_t start = rdtsc();

	next_stage();
	for (uint32_t i = 0; i < pages; i++) {
		uint32_t page = backwards ? pages - 1 - i : i;

		if (subset(page, arg))
			write_page(page);
	}
	start = rdtsc() - start;
	if (start > write_cycles)
		write_cycles = start;
}

static bool verify_page(uint32_t page)
{
	uint32_t tag = tag_of(page), w = 0;
	bool whole = page % 16 == stage % 16 || arg_flag("full");

	for (uint32_t i = 0; i < (whole ? WORDS : SAMPLE); i++) {
		uint64_t want, got;

		if (whole)
			w = i;
		else
			w = i == 0 ? 0 : i == 1 ? WORDS - 1 :
			    hash(page * SAMPLE + i + stage) % WORDS;
		want = word_of(page, tag, w);
		got = READ_ONCE(heap[page][w]);
		if (got == want)
			continue;
		check(false, "VM %u stage %u page %u word %u: written by VM %u stage %u, expected 0x%lx, got 0x%lx",
		      me, stage, page, w, tag >> 12, tag & 0xfff, want, got);
		return false;
	}
	return true;
}

static void verify(const char *when)
{
	uint32_t bad = 0;

	check_eq("VM id in memory", me, guest_getid());
	for (uint32_t i = 0; i < ledger_pages; i++)
		if (!check(ledger[i].vm == me && ledger[i].stage == stage,
			   "%s: ledger page %u is of VM %u stage %u, expected VM %u stage %u",
			   when, i, ledger[i].vm, ledger[i].stage, me, stage))
			guest_end();
	for (uint32_t page = 0; page < pages && bad < REPORTED_MAX; page++)
		bad += !verify_page(page);
	check(!bad, "%s: VM %u, at least %u bad pages", when, me, bad);
}

/*
 * A fork; in the child @me is its own id afterwards and the ledger its own.
 * The stage crosses in a register, so that a stage which leaked from the
 * parent's later life is seen.
 */
static long cow_fork(void)
{
	register uint64_t carried asm("r15") = stage;
	long ret = 0;

	if (guest_uses_port())
		asm volatile("outl %%eax, %%dx" : "+a"(ret), "+r"(carried)
			     : "d"(KVMFORK_PORT) : "memory");
	else
		asm volatile("ud2" : "+a"(ret), "+r"(carried) : : "memory");
	check(ret >= 0, "fork returned %ld", ret);
	if (ret < 0)
		guest_end();
	if (ret)
		return ret;
	guest_failures = 0;
	check(stage == carried, "stage %u in memory, %lu in the register", stage,
	      carried);
	check_eq("parent's id in memory", me, guest_getparent());
	for (uint32_t i = 0; i < ledger_pages; i++)
		check(ledger[i].vm == me && ledger[i].stage == carried,
		      "ledger page %u is of VM %u stage %u after the fork", i,
		      ledger[i].vm, ledger[i].stage);
	me = (uint32_t)guest_getid();
	stamp();
	return 0;
}

/* All failures so far are already printed; the parent needs to know of them. */
static void child_end(void)
{
	guest_exit(guest_failures ? GUEST_FAILED : 0);
}

static void wait_until(uint64_t tsc)
{
	while (rdtsc() < tsc)
		cpu_pause();
}

/* The child writes while the parent waits for its end. */
static void child_first(void)
{
	long id = cow_fork();

	if (!id) {
		verify("child first: child before");
		write_pages(nth_of_4, 1, false);
		write_pages(lower_half, 0, true);
		verify("child first: child after");
		child_end();
	}
	guest_expect(id, 0);
	verify("child first: parent before");
	write_pages(nth_of_4, 1, true);
	write_pages(nth_of_4, 2, false);
	verify("child first: parent after");
}

/* The parent has written everything before the child looks. */
static void parent_first(void)
{
	uint64_t wait = 4 * write_cycles + 50 * tsc_per_ms();

	for (unsigned int attempt = 0; attempt < 5; attempt++, wait *= 3) {
		uint64_t deadline = rdtsc() + wait;
		long id = cow_fork();
		bool in_time;

		if (!id) {
			wait_until(deadline);
			verify("parent first: child before");
			write_pages(one_in_8, 7, false);
			verify("parent first: child after");
			child_end();
		}
		write_pages(all, 0, true);
		in_time = rdtsc() < deadline;
		verify("parent first: parent while the child lives");
		guest_expect(id, 0);
		verify("parent first: parent after");
		if (in_time)
			return;
	}
	inconclusive++;
}

/* Both at the same time, from opposite ends. */
static void both_at_once(void)
{
	long id = cow_fork();

	write_pages(one_in_8, 3, !id);
	write_pages(runs, 5, id);
	verify(id ? "both: parent" : "both: child");
	if (!id)
		child_end();
	guest_expect(id, 0);
	verify("both: parent after");
}

/* Two children of different ages; the younger ends first, or the older. */
static void siblings(bool older_first)
{
	uint64_t wait = 2 * write_cycles + 20 * tsc_per_ms();
	long older, younger;

	older = cow_fork();
	if (!older) {
		if (!older_first)
			wait_until(rdtsc() + wait);
		verify("siblings: older before");
		write_pages(nth_of_4, 0, false);
		verify("siblings: older after");
		child_end();
	}
	write_pages(runs, 9, false);
	younger = cow_fork();
	if (!younger) {
		if (older_first)
			wait_until(rdtsc() + wait);
		verify("siblings: younger before");
		write_pages(nth_of_4, 0, true);
		verify("siblings: younger after");
		child_end();
	}
	verify("siblings: parent between");
	guest_expect(older_first ? older : younger, 0);
	write_pages(one_in_8, 1, true);
	verify("siblings: parent after one");
	guest_expect(older_first ? younger : older, 0);
	verify("siblings: parent after both");
}

static void siblings_older_first(void)
{
	siblings(true);
}

static void siblings_younger_first(void)
{
	siblings(false);
}

/* Three generations; the grandchild looks when both above have written. */
static void grandchild(void)
{
	uint64_t wait = 4 * write_cycles + 50 * tsc_per_ms();
	long child, id;

	child = cow_fork();
	if (!child) {
		write_pages(nth_of_4, 3, false);
		id = cow_fork();
		if (!id) {
			wait_until(rdtsc() + wait);
			verify("grandchild: before");
			write_pages(runs, 2, true);
			verify("grandchild: after");
			child_end();
		}
		write_pages(nth_of_4, 3, true);
		write_pages(runs, 4, false);
		verify("grandchild: child");
		guest_expect(id, 0);
		verify("grandchild: child after");
		child_end();
	}
	write_pages(all, 0, false);
	verify("grandchild: parent");
	guest_expect(child, 0);
	verify("grandchild: parent after");
}

/*
 * A parent which forks again and again, each time with other pages dirtied;
 * each child lives until the second fork after its own, so that layers end in
 * another order than they came.
 */
static void random_rounds(uint32_t rounds, uint32_t seed)
{
	long older = 0, younger = 0, id;

	for (uint32_t r = 0; r < rounds; r++) {
		uint32_t dice = hash(seed * 1000 + r);

		/* Once nothing is dirtied between two forks but the ledger. */
		if (dice % 4)
			write_pages(dice & 8 ? runs : one_in_8, dice >> 8 & 0xff,
				    dice & 16);
		id = cow_fork();
		if (!id) {
			wait_until(rdtsc() + (dice >> 16 & 3) * write_cycles);
			verify("random: child before");
			write_pages(dice & 32 ? runs : one_in_8,
				    dice >> 9 & 0xff, dice & 64);
			verify("random: child after");
			child_end();
		}
		if (older)
			guest_expect(older, 0);
		older = younger;
		younger = id;
		verify("random: parent");
	}
	if (older)
		guest_expect(older, 0);
	if (younger)
		guest_expect(younger, 0);
	verify("random: end");
}

static void scenario(const char *name, void (*run)(void))
{
	uint64_t start = rdtsc();

	run();
	say("%s: %lu ms", name, (rdtsc() - start) / tsc_per_ms());
}

static void break_by_hand(void)
{
	switch (arg_number("break", 0)) {
	case 1:
		heap[pages / 3][0] ^= 1;
		break;
	case 2:
		ledger[ledger_pages / 2].stage++;
		break;
	}
}

static void heap_init(void)
{
	uint64_t start = ((uint64_t)_end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	uint64_t end = boot_state.memory;

	/* The runner's stack is not ours to write, should it lie up there. */
	if (boot_state.rsp > start && boot_state.rsp <= end)
		end = (boot_state.rsp - 65536) & ~(PAGE_SIZE - 1);
	heap = (void *)start;
	pages = (uint32_t)arg_number("pages", (end - start) / PAGE_SIZE);
	if (pages > (end - start) / PAGE_SIZE)
		pages = (uint32_t)((end - start) / PAGE_SIZE);
	if (pages > PAGES_MAX)
		pages = PAGES_MAX;
	ledger_pages = pages / PER_LEDGER_PAGE + 1;
}

void guest_main(void)
{
	uint64_t start = rdtsc();

	heap_init();
	me = (uint32_t)guest_getid();
	stage = 1;
	stamp();
	say("VM %u, %u pages", me, pages);

	/* Nothing written: all zero on both sides; the child ends with it. */
	verify("untouched");
	say("verify: %lu us", (rdtsc() - start) * 1000 / tsc_per_ms());
	write_pages(nth_of_4, 0, false);
	write_pages(runs, 1, false);
	verify("first writes");
	say("writing: %lu us", write_cycles * 1000 / tsc_per_ms());
	break_by_hand();

	scenario("child first", child_first);
	scenario("siblings, older first", siblings_older_first);
	scenario("grandchild", grandchild);
	scenario("siblings, younger first", siblings_younger_first);
	scenario("both at once", both_at_once);
	scenario("parent first", parent_first);
	random_rounds((uint32_t)arg_number("rounds", 6),
		      (uint32_t)arg_number("seed", 1));
	check(!inconclusive, "the parent was never done before its child looked");
}
