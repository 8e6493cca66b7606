// SPDX-License-Identifier: GPL-2.0-only
/* Says through pvpanic that it has crashed. `well`: only looks whether it could. */
#include "cpu.h"
#include "guest.h"
#include "x86.h"

#define PVPANIC_PORT	0x505
#define PANICKED	1

const char guest_name[] = "panic";

void guest_main(void)
{
	check_eq("what may be said", inb(PVPANIC_PORT), arg_flag("none") ? 0xff : PANICKED);
	/* Nothing that is known. */
	outb(PVPANIC_PORT, 0x80);
	if (arg_flag("well") || arg_flag("none"))
		return;
	say("ready");
	delay_ms(arg_number("after", 0));
	outb(PVPANIC_PORT, PANICKED);
	delay_ms(1000);
	check(false, "goes on");
}
