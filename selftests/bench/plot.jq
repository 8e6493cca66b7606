# SPDX-License-Identifier: GPL-2.0-only
#
# What gnuplot reads: a block of "x work" for each variant of the benchmarks
# named in $benchmarks, its title first; two empty lines between blocks.

($benchmarks | split(",")) as $names
| [.results[] | select(.x != null and .median != null and .unit != "MiB")
	| select(.benchmark as $b | $names | index($b))]
| group_by(.variant) | to_entries[]
| (if .key > 0 then "", "" else empty end),
  (.value | "\"\(.[0].variant)\"", (sort_by(.x)[] | "\(.x) \(.median)"))
