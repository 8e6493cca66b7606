/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `ukrun ps`: the VMs that run. They are found by what /proc shows of their
 * processes and open files, so nothing is written down that could become wrong.
 */
#ifndef UKRUN_PS_H
#define UKRUN_PS_H

/* @argv[0] is "ps". Returns the exit status. */
int ps_main(int argc, char **argv);

#endif
