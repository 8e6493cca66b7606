# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# For the tests of ukrun, which run in L1 under busybox's shell. To be sourced.
# Each script prints TAP; the plan comes last, from `finish`.

UKRUN=${UKRUN:-/kvmfork/ukrun}
GUESTS=${GUESTS:-/kvmfork/guests}
VENDOR=${VENDOR:-amd}

work=$(mktemp -d)
out=$work/out

# SHELLS=N: all that forks does so with so many shells. Another user runs it, too.
UKRUN_EXE=$UKRUN
if [ -n "${SHELLS:-}" ]; then
	chmod 755 "$work"
	UKRUN=$work/ukrun
	cat >"$UKRUN" <<-WRAPPER
	#!/bin/sh
	case "\$*" in
	ps*|*--fork-on=off*) exec $UKRUN_EXE "\$@" ;;
	esac
	exec $UKRUN_EXE --shells $SHELLS "\$@"
	WRAPPER
	chmod 755 "$UKRUN"
fi
status=0
results=0
failures=0

# The Intel emulator does a tenth of the work in a second; kernels differ, too.
case $VENDOR in
intel) slow=10 ;;
*) slow=1 ;;
esac
slow=$((slow * ${KVMFORK_TEST_SLOWNESS:-1}))

ok() {
	results=$((results + 1))
	echo "ok $results - $*"
}

# What the last command printed says why.
not_ok() {
	results=$((results + 1))
	failures=$((failures + 1))
	echo "not ok $results - $*"
	[ ! -s "$out" ] || tail -n 30 "$out" | sed 's/^/#   /'
}

skip() {
	results=$((results + 1))
	echo "ok $results - # SKIP $*"
}

# Processes of ukrun, zombies apart: their ids.
ukruns() {
	for exe in /proc/[0-9]*/exe; do
		[ "$(readlink "$exe")" = "$UKRUN_EXE" ] || continue
		exe=${exe#/proc/}
		echo "${exe%/exe}"
	done 2>/dev/null
}

# Those of them that are VMs.
vms() {
	for pid in $(ukruns); do
		grep -q '^ukrun:[0-9]' "/proc/$pid/comm" && echo "$pid"
	done 2>/dev/null
}

# A test that was stopped must not leave VMs which slow the next one down.
kill_all() {
	for pid in $(ukruns); do
		kill -9 "$pid"
	done 2>/dev/null
}

# run SECONDS COMMAND...: sets status, and fills $out with stdout and stderr.
run() {
	limit=$(($1 * slow))
	shift
	timeout -s KILL "$limit" "$@" >"$out" 2>&1 </dev/null
	status=$?
	[ $status != 137 ] || kill_all
	# Linux ends its lines as a terminal wants them.
	sed -i 's/\r//' "$out"
}

# has PATTERN...: each is in the last output.
has() {
	for pattern; do
		if ! grep -qE -e "$pattern" "$out"; then
			echo "# the output lacks: $pattern"
			return 1
		fi
	done
}

lacks() {
	for pattern; do
		if grep -qE -e "$pattern" "$out"; then
			echo "# the output has: $pattern"
			return 1
		fi
	done
}

ended_with() {
	[ "$status" = "$1" ] && return 0
	echo "# exit code $status, expected $1"
	return 1
}

# check NAME COMMAND...: one result, by COMMAND's success.
check() {
	name=$1
	shift
	if "$@"; then
		ok "$name"
	else
		not_ok "$name"
	fi
}

# A guest that finds all well: exit code 0, its word, and no failed check.
well() { ended_with 0 && has "$1" && lacks FAIL; }

# guest NAME PATTERN SECONDS COMMAND...
guest() {
	name=$1 pattern=$2
	shift 2
	run "$@"
	check "$name" well "$pattern"
}

# wait_until SECONDS COMMAND...
wait_until() {
	tries=$(($1 * slow * 10))
	shift
	until "$@"; do
		[ "$tries" -gt 0 ] || return 1
		tries=$((tries - 1))
		usleep 100000
	done
}

nobody_left() { [ -z "$(ukruns)" ]; }

finish() {
	kill_all
	rm -rf "$work"
	echo "1..$results"
	[ $failures = 0 ]
	exit
}
