// SPDX-License-Identifier: GPL-2.0-only
/*
 * All vCPUs compute while one of them forks. In every VM all of them go on,
 * and at the end each has done exactly its work.
 *
 *	forks=N rounds=N	default 3, 4 rounds after each fork
 */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define BLOCK_WORDS	2048
#define CHILD_STATUS	0
#define VECTOR_WORK	0x70
#define VECTOR_WAKE	0x71

const char guest_name[] = "smp";

struct worker {
	uint64_t block[BLOCK_WORDS];
	uint64_t sum;
	uint64_t rounds;
	uint64_t ipis, wakes;
	/* Bumped all the time, also while the others wait. */
	uint64_t spins;
} __aligned(4096);

static struct worker workers[SMP_MAX];
static unsigned int cpus;
static uint32_t arrived, generation;
static bool stop;

/* The vCPU that shall fork instead of the BSP, and what it got. */
static unsigned int forker;
static long forked;

/* What the vCPU @sleeper is told to do, and where it is. */
static unsigned int sleeper;
static uint32_t sleeping;

static void fork_when_asked(void)
{
	unsigned int cpu = __atomic_load_n(&forker, __ATOMIC_ACQUIRE);

	if (!cpu || cpu != smp_id())
		return;
	forked = guest_fork();
	__atomic_store_n(&forker, 0, __ATOMIC_RELEASE);
}

static void barrier(void)
{
	uint32_t now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);

	if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == cpus) {
		__atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&generation, now + 1, __ATOMIC_RELEASE);
		return;
	}
	while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == now) {
		fork_when_asked();
		WRITE_ONCE(workers[smp_id()].spins,
			   READ_ONCE(workers[smp_id()].spins) + 1);
		cpu_pause();
	}
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x7fb5d329728ea185;
	return x ^ x >> 27;
}

/* One round over the block; the result depends on all rounds before. */
static uint64_t compute(uint64_t *block, uint64_t sum, unsigned int cpu,
			uint64_t round)
{
	for (unsigned int i = 0; i < BLOCK_WORDS; i++) {
		block[i] = mix(block[i] + sum + cpu * 1000 + round);
		sum += block[i];
	}
	return sum;
}

static void work(unsigned int cpu)
{
	struct worker *w = &workers[cpu];

	w->sum = compute(w->block, w->sum, cpu, w->rounds);
	w->rounds++;
}

static void handle_work(struct trap_frame *frame)
{
	(void)frame;
	__atomic_add_fetch(&workers[smp_id()].ipis, 1, __ATOMIC_RELEASE);
	lapic_eoi();
}

static void handle_wake(struct trap_frame *frame)
{
	(void)frame;
	__atomic_add_fetch(&workers[smp_id()].wakes, 1, __ATOMIC_RELEASE);
	lapic_eoi();
}

/* Waits for @counter to reach @want; false when it does not, or overshoots. */
static bool reaches(uint64_t *counter, uint64_t want)
{
	uint64_t end = rdtsc() + 10000 * tsc_per_ms();

	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < want && rdtsc() < end)
		cpu_pause();
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE) == want;
}

static void check_ipis(const char *who)
{
	for (unsigned int cpu = 1; cpu < cpus; cpu++) {
		uint64_t before = workers[cpu].ipis;

		for (unsigned int i = 1; i <= 3; i++) {
			lapic_ipi(cpu, IPI_FIXED | IPI_ASSERT | VECTOR_WORK);
			check(reaches(&workers[cpu].ipis, before + i),
			      "%s: vCPU %u took %lu IPIs, expected %u", who, cpu,
			      workers[cpu].ipis - before, i);
		}
	}
}

/* Replays all the work alone and compares. */
static void check_results(const char *who, uint64_t rounds)
{
	static uint64_t block[BLOCK_WORDS];

	for (unsigned int cpu = 0; cpu < cpus; cpu++) {
		uint64_t sum = 0;

		memset(block, 0, sizeof(block));
		for (uint64_t r = 0; r < rounds; r++)
			sum = compute(block, sum, cpu, r);
		check(workers[cpu].rounds == rounds,
		      "%s: vCPU %u did %lu rounds, expected %lu", who, cpu,
		      workers[cpu].rounds, rounds);
		check(workers[cpu].sum == sum,
		      "%s: vCPU %u: sum 0x%lx, expected 0x%lx", who, cpu,
		      workers[cpu].sum, sum);
		check(!memcmp(workers[cpu].block, block, sizeof(block)),
		      "%s: vCPU %u: its block differs", who, cpu);
	}
}

/* In both VMs after a fork: every other vCPU still runs by itself. */
static void check_alive(const char *who)
{
	for (unsigned int cpu = 1; cpu < cpus; cpu++) {
		uint64_t before = READ_ONCE(workers[cpu].spins);
		uint64_t end = rdtsc() + 10000 * tsc_per_ms();

		while (READ_ONCE(workers[cpu].spins) == before && rdtsc() < end)
			cpu_pause();
		check(READ_ONCE(workers[cpu].spins) != before,
		      "%s: vCPU %u stands still", who, cpu);
	}
}

/* Sleeps with a window of zero width between the last look and HLT. */
static void sleep_once(unsigned int cpu)
{
	uint64_t before = workers[cpu].wakes;

	irq_disable();
	__atomic_store_n(&sleeping, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&workers[cpu].wakes, __ATOMIC_ACQUIRE) == before)
		irq_enable_halt();
	__atomic_store_n(&sleeping, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&sleeper, 0, __ATOMIC_RELEASE);
	irq_enable();
}

static void ap_loop(unsigned int cpu)
{
	irq_enable();
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&sleeper, __ATOMIC_ACQUIRE) == cpu)
			sleep_once(cpu);
		work(cpu);
		barrier();
		barrier();
	}
	irq_disable();
}

static void bsp_round(void)
{
	work(0);
	barrier();
	barrier();
}

/* The other vCPUs are in the middle of their work when @cpu forks. */
static void fork_while_computing(uint64_t *rounds, uint64_t after,
				 unsigned int cpu)
{
	long id;

	__atomic_store_n(&forker, cpu, __ATOMIC_RELEASE);
	work(0);
	if (cpu) {
		while (__atomic_load_n(&forker, __ATOMIC_ACQUIRE))
			cpu_pause();
		id = forked;
	} else {
		id = guest_fork();
	}
	if (!check(id >= 0, "fork returned %ld", id))
		guest_end();
	barrier();
	/* All others spin in the second barrier. */
	check_alive(id ? "parent" : "child");
	check_ipis(id ? "parent" : "child");
	barrier();
	++*rounds;
	for (uint64_t r = 0; r < after; r++, ++*rounds)
		bsp_round();
	/* As many rounds as the BSP started: the others wait at the next. */
	if (!id) {
		work(0);
		barrier();
		check_results("child", *rounds + 1);
		guest_exit(guest_failures ? GUEST_FAILED : CHILD_STATUS);
	}
	guest_expect(id, CHILD_STATUS);
}

/* One vCPU sleeps in HLT through the fork and is woken in both VMs. */
static void fork_while_sleeping(uint64_t *rounds, unsigned int cpu)
{
	uint64_t before = workers[cpu].wakes;
	uint64_t ipis = workers[1].ipis;
	const char *who;
	long id;

	__atomic_store_n(&sleeper, cpu, __ATOMIC_RELEASE);
	bsp_round();
	++*rounds;
	/* Its next round begins with sleep. It says so just before HLT. */
	while (!__atomic_load_n(&sleeping, __ATOMIC_ACQUIRE))
		cpu_pause();
	delay_ms(2);
	/* In flight at the fork, when there is a third vCPU to take it. */
	if (cpus > 2)
		lapic_ipi(1, IPI_FIXED | IPI_ASSERT | VECTOR_WORK);
	id = guest_fork();
	who = id ? "parent" : "child";
	if (!check(id >= 0, "fork returned %ld", id))
		guest_end();
	if (cpus > 2)
		check(reaches(&workers[1].ipis, ipis + 1),
		      "%s: vCPU 1 took %lu IPIs sent before the fork, expected 1",
		      who, workers[1].ipis - ipis);
	check_eq("wakes before the IPI", READ_ONCE(workers[cpu].wakes), before);
	lapic_ipi(cpu, IPI_FIXED | IPI_ASSERT | VECTOR_WAKE);
	check(reaches(&workers[cpu].wakes, before + 1),
	      "%s: vCPU %u in HLT was woken %lu times, expected 1", who, cpu,
	      workers[cpu].wakes - before);
	bsp_round();
	++*rounds;
	if (!id) {
		work(0);
		barrier();
		check_results("child", *rounds + 1);
		guest_exit(guest_failures ? GUEST_FAILED : CHILD_STATUS);
	}
	guest_expect(id, CHILD_STATUS);
}

/* vCPUs that nobody has started stay so, and start in both VMs. */
static void start_after_fork(void)
{
	long id = guest_fork();

	if (!check(id >= 0, "fork returned %ld", id))
		guest_end();
	for (unsigned int cpu = 1; cpu < cpus; cpu++)
		if (!smp_start(cpu, ap_loop))
			guest_end();
	bsp_round();
	if (!id) {
		work(0);
		barrier();
		check_results("child that started its vCPUs itself", 2);
		guest_exit(guest_failures ? GUEST_FAILED : CHILD_STATUS);
	}
	guest_expect(id, CHILD_STATUS);
}

void guest_main(void)
{
	uint64_t forks = arg_number("forks", 3), after = arg_number("rounds", 4);
	uint64_t rounds = 1;

	cpus = (unsigned int)boot_state.cpus;
	if (!check(cpus >= 2 && cpus <= SMP_MAX, "%u vCPUs: give -smp 2 to %u", cpus,
		   SMP_MAX))
		return;
	trap_set(VECTOR_WORK, handle_work);
	trap_set(VECTOR_WAKE, handle_wake);
	lapic_enable();
	tsc_per_ms();
	start_after_fork();
	say("%u vCPUs", cpus);
	check_ipis("before");
	for (uint64_t i = 0; i < forks; i++)
		fork_while_computing(&rounds, after, (unsigned int)i % cpus);
	say("forked %lu times while computing", forks);
	fork_while_sleeping(&rounds, cpus - 1);
	say("forked while vCPU %u slept", cpus - 1);
	if (arg_flag("break"))
		workers[1].block[7] ^= 1;
	work(0);
	barrier();
	check_results("parent", rounds + 1);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	barrier();
}
