# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Counts and shows what l1/run-tests printed. A summary file holds one line:
# passed failed skipped seconds trouble, where trouble is - or what was wrong
# with the machine itself; such a machine counts as one failure more.

# tap_summarize FILE STATUS SECONDS
tap_summarize() {
	awk -v status="$2" -v seconds="$3" '
		/^ok .*# *SKIP/ { skipped++; next }
		/^ok / { passed++; next }
		/^not ok / { failed++; next }
		/^1\.\.[0-9]+$/ { plan = substr($1, 4) + 0 }
		END {
			trouble = "-"
			if (status == 124)
				trouble = "timeout"
			else if (status == 125)
				trouble = "machine-died"
			else if (status == 126)
				trouble = "kernel-splat"
			else if (passed + failed + skipped == 0)
				trouble = "no-tests"
			else if (plan != passed + failed + skipped)
				trouble = "incomplete"
			else if (status != 0 && !failed)
				trouble = "exit-code-" status
			if (trouble != "-")
				failed++
			print passed + 0, failed + 0, skipped + 0, seconds, trouble
		}' "$1"
}

# tap_line KERNEL VENDOR SUMMARY
tap_line() {
	local passed failed skipped seconds trouble
	read -r passed failed skipped seconds trouble <"$3"
	[ "$trouble" != - ] || trouble=
	printf '%-5s %-6s %4d passed %4d failed %4d skipped %5d s  %s\n' \
		"$1" "$2" "$passed" "$failed" "$skipped" "$seconds" "$trouble"
}

# tap_failures KERNEL VENDOR PREFIX: the failed results, each behind what its
# program printed just before and before what not_ok() says of it (selftests/ukrun/lib.sh),
# and what the machine said.
tap_failures() {
	awk -v on="$1/$2" -v file="$3.tap" -v context=6 -v limit=20 '
		/^# [^ ]*: #   / && n < 0 { print "    " $0; next }
		/^#/ { n = n < 0 ? 1 : n + 1; last[n % context] = $0; next }
		/^not ok / && ++failures <= limit {
			for (i = n - context + 1; i <= n; i++)
				if (i > 0)
					print "    " last[i % context]
			print "  " on ": " $0
			n = -1
			next
		}
		{ n = 0 }
		END {
			if (failures > limit)
				print "  " on ": " failures - limit " failures more in " file
		}' "$3.tap"
	sed "s#^#  $1/$2: #" "$3.err"
}

# tap_table RESULTS: reads "KERNEL VENDOR" lines; the sum is the last line.
tap_table() {
	local kernel vendor file passed failed skipped p=0 f=0 s=0
	while read -r kernel vendor; do
		file=$1/$kernel-$vendor.sum
		[ -s "$file" ] || echo "0 1 0 0 not-run" >"$file"
		tap_line "$kernel" "$vendor" "$file"
		read -r passed failed skipped _ <"$file"
		p=$((p + passed)) f=$((f + failed)) s=$((s + skipped))
	done
	if [ "$s" -gt 0 ]; then
		echo "$p passed, $f failed, $s skipped"
	else
		echo "$p passed, $f failed"
	fi
	[ "$f" = 0 ] && [ "$p" -gt 0 ]
}
