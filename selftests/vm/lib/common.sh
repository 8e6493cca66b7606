# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script here needs: messages, the cache directory, locks, retries.
# To be sourced after `set -eu`.

set -o pipefail

VM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOP_DIR=$(cd "$VM_DIR/../.." && pwd)
CACHE_DIR=${KVMFORK_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kvmfork}
# Read by the scripts which source this file.
export VM_DIR TOP_DIR CACHE_DIR

case ${V:-0} in 0|'') VERBOSE= ;; *) VERBOSE=1 ;; esac

# An outcome or a trouble: always shown.
say() { printf '%s\n' "kvmfork: $*" >&2; }

# What is going on: for someone who looks on, not for a log.
progress() {
	if [ -n "$VERBOSE" ] || [ -t 2 ]; then
		printf '  %s\n' "$*" >&2
	fi
}

die() { say "$*"; exit 1; }

# retry WHAT COMMAND...: three attempts, as a mirror may be away for a moment.
retry() {
	local what=$1 try
	shift
	for try in 1 2 3; do
		if "$@"; then
			return 0
		fi
		say "$what failed (attempt $try of 3)"
		[ "$try" = 3 ] || sleep $((try * try * 5))
	done
	return 1
}

# with_lock NAME COMMAND...: one at a time, over all invocations which share
# the cache. COMMAND runs in a subshell, so that the lock ends with it; the
# descriptor is closed for long-lived children only by their own exec, hence
# nothing run under a lock may stay behind.
with_lock() {
	local name=$1
	shift
	mkdir -p "$CACHE_DIR/lock"
	(
		if ! flock -n 9; then
			progress "waiting for another invocation ($name)"
			flock 9
		fi
		"$@"
	) 9>"$CACHE_DIR/lock/$name"
}

# quietly LOG COMMAND...: the output goes to LOG and is shown only when COMMAND
# fails, or at once with V=1.
quietly() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	if [ -n "$VERBOSE" ]; then
		"$@" 2>&1 | tee "$log" >&2
	elif ! "$@" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		say "failed: $* (all of it: $log)"
		return 1
	fi
}
