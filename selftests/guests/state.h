/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the `state` guest: each sets one kind of state to values that
 * nothing else has, forks a child and a grandchild, and verifies in all three.
 */
#ifndef _STATE_H
#define _STATE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Runs @setup, forks, and @verify in both; the child does the same with a
 * grandchild. @who names the VM in messages.
 */
void state_chain(const char *what, void (*setup)(void),
		 void (*verify)(const char *who));
/* After a fork made by hand: a child ends here, a parent waits for it. */
void state_join(long id);
/* True when the arguments ask for check number @n to be spoilt. */
unsigned int state_broken(unsigned int n);

/* As the kernel's: no jump and no standstill is longer than this. */
#define BOUND_MS	20000UL
/* Waits with interrupts on until *@counter is @want. */
bool state_wait_count(const uint64_t *counter, uint64_t want);

void state_registers(void);
void state_fpu(void);
void state_system(void);
void state_breakpoints(void);
void state_user_mode(void);

void state_pending_irqs(void);
void state_in_service(void);
void state_nmi(void);
void state_shadow(void);
void state_lapic_timer(void);
void state_pit(void);

void state_tsc(void);
void state_kvmclock(void);
void state_string_io(void);
void state_devices(void);

/* Of state_asm.S; each makes one fork in the middle of something. */
long fork_after_sti(void);
long fork_after_mov_ss(void);
long fork_after_sti_port(void);
long fork_after_mov_ss_port(void);
/* @count bytes of @s to COM1, fork, @count bytes of @t; bytes left over. */
uint64_t fork_in_string_io(const char *s, const char *t, uint64_t count,
			   long *id);
uint64_t fork_in_string_io_port(const char *s, const char *t, uint64_t count,
				long *id);
/* Executes @fn at CPL 3 with @flags until it says int $0x80; its RAX. */
long user_run(const void *fn, uint64_t stack, uint64_t flags);
extern uint64_t user_kernel_rsp;
extern const char user_fork_ud2[], user_fork_port[], user_exit[];
/* One instruction of its own, to break at. */
void breakpoint_target(void);

#endif
