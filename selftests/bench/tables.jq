# SPDX-License-Identifier: GPL-2.0-only
#
# The figures of a run as tables in Markdown. Time is work, then "+" and the time
# asleep where there was some; in brackets the 99th percentile of the work.

include "targets";

def pad($n): . + " " * ([$n - length, 0] | max);

# Thousands with commas; decimals where they say something.
def number:
	if . == null then ""
	elif . >= 1000 then
		(round | tostring) as $s
		| [$s | length % 3, 3] as [$head, $step]
		| [(if $head > 0 then $s[:$head] else empty end),
		   (range($head; $s | length; $step) as $i | $s[$i:$i + $step])]
		| join(",")
	elif . >= 100 then (. * 1 | round | tostring)
	else (. * 100 | round / 100 | tostring)
	end;

def cell:
	if .skipped then "-"
	elif .p99 == null then .median | number
	else "\(.median | number) (\(.p99 | number))"
		+ (if .asleep_median >= 1 then " + \(.asleep_median | number)" else "" end)
	end;

def line($widths):
	"| " + ([to_entries[] | .key as $i | .value | pad($widths[$i])] | join(" | ")) + " |";

# Rows of strings, the first is the head.
def table:
	. as $rows
	| [range($rows[0] | length) as $i | [$rows[][$i] | length] | max] as $widths
	| ($rows[0] | line($widths)),
	  ("|" + ([$widths[] | "-" * (. + 2)] | join("|")) + "|"),
	  ($rows[1:][] | line($widths));

def unique_in_order: reduce .[] as $x ([]; if index([$x]) then . else . + [$x] end);

# With sizes: a column for each.
def sized:
	. as $all
	| ([.[] | .x] | unique) as $sizes
	| [["", ($sizes[] | "\(.) \($all[0].x_name)")]]
	  + [([$all[].variant] | unique_in_order)[] as $v
		| [$v, ($sizes[] as $x
			| [$all[] | select(.variant == $v and .x == $x)][0] // {} | cell)]]
	| table;

# Variants called "column: row".
def crossed:
	[.[] | (.variant | split(": ")) as [$column, $row] | . + {$column, $row}] as $all
	| ([$all[].column] | unique_in_order) as $columns
	| [["", $columns[]]]
	  + [([$all[].row] | unique_in_order)[] as $r
		| [$r, ($columns[] as $c
			| [$all[] | select(.row == $r and .column == $c)][0] // {} | cell)]]
	| table;

def plain: [["", ""]] + [.[] | [.variant, cell]] | table;

def skipped:
	[.[] | select(.skipped) | "\(.variant): \(.skipped)"] | unique
	| if length > 0 then "", "Not measured:", "", (.[] | "- " + .) else empty end;

def head:
	([.[].unit // empty] | unique_in_order | join(", ")) as $units
	| ([.[].rounds // empty] | [min, max]) as [$min, $max]
	| "", "## \(.[0].benchmark)", "",
	  (if $units == "" then empty
	   elif $min == null then "In \($units).", ""
	   else "In \($units); medians of \([$min, $max] | unique | join(" to ")) rounds.", ""
	   end);

def section:
	head,
	([.[] | select(.skipped | not)]
	 | ([.[] | select(.x == null)]
	    | if length == 0 then empty
	      elif all(.variant | contains(": ")) then crossed
	      else plain end),
	   ([.[] | select(.x != null)] | if length > 0 then sized else empty end)),
	skipped;

"# Figures of `make bench`",
"",
"\(.machine) (\(.kernel), \(.memory_mib) MiB); commit \(.commit // "unknown")."
	+ (if .quick then " A quick run." else "" end),
"",
"kinsn: thousands of instructions. `work (p99 of it) + sleep`: sleep is time that",
"passed without the process running, most of it grace periods.",
(.results as $all
	| ([targets($all)] | if length > 0 then "", "## Targets", "",
		([["", "is", "shall be", ""]] + . | table) else empty end),
	([$all[].benchmark] | unique_in_order)[] as $b
	| [$all[] | select(.benchmark == $b)] | section)
