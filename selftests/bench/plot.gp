# SPDX-License-Identifier: GPL-2.0-only
#
# One plot. Set by the caller (report): data, output, type (svg or png),
# plot_title, x_label, y_label.

if (type eq "svg") \
	set terminal svg size 900, 540 font "sans,12" background "white"; \
else \
	set terminal pngcairo size 900, 540 font "sans,11" background "white"
set output output
set title plot_title noenhanced
set xlabel x_label
set ylabel y_label
set key outside right noenhanced
set grid
stats data using 1 nooutput
plot for [i = 0 : STATS_blocks - 1] data index i using 1:2 \
	with linespoints linewidth 1.5 title columnheader(1)
