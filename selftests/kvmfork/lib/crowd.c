// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>

#include "crowd.h"
#include "util.h"

static void on_kick(int signal)
{
	(void)signal;
}

void crowd_start(struct crowd *crowd, void *(*fn)(void *arg), void *arg)
{
	struct sigaction kick = { .sa_handler = on_kick };

	sigaction(SIGUSR1, &kick, NULL);
	TEST_REQUIRE(crowd->nr_threads < CROWD_MAX &&
		     !pthread_create(&crowd->threads[crowd->nr_threads++], NULL, fn, arg),
		     "pthread_create");
}

bool crowd_stopped(const struct crowd *crowd)
{
	return __atomic_load_n(&crowd->stop, __ATOMIC_RELAXED);
}

void crowd_stop(struct crowd *crowd)
{
	__atomic_store_n(&crowd->stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < crowd->nr_threads; i++) {
		pthread_kill(crowd->threads[i], SIGUSR1);
		pthread_join(crowd->threads[i], NULL);
	}
}

bool is_one_of(int ret, const int *expected)
{
	while (*expected && *expected != ret)
		expected++;
	return *expected == ret;
}
