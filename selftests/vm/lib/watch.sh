# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Runs an emulator and watches over it: shows the output as it comes, notices the
# end of the command, of the time, or of the machine, and leaves nothing behind.

EXIT_TIMEOUT=124
EXIT_TROUBLE=125
EXIT_SPLAT=126

EMULATOR_PID='' TAIL_PID='' RUN_DIR=''

# Generous: two of them may share a busy machine.
__watch_boot_limit() {
	case $VENDOR in
	amd) echo $((240 * SLOWNESS)) ;;
	*) echo $((600 * SLOWNESS)) ;;
	esac
}

# The emulator leads a process group of its own: all of it goes. One which runs
# on another terminal has left that group, and its number in a file.
__watch_kill() {
	if [ -n "$EMULATOR_PID" ]; then
		if [ -s "$RUN_DIR/pid" ]; then
			kill -KILL "$(cat "$RUN_DIR/pid")" 2>/dev/null || true
		fi
		kill -KILL -- "-$EMULATOR_PID" 2>/dev/null || true
		wait "$EMULATOR_PID" 2>/dev/null || true
		EMULATOR_PID=
	fi
}

watch_cleanup() {
	local status=$?
	trap '' INT TERM HUP
	__watch_kill
	[ -z "$TAIL_PID" ] || kill "$TAIL_PID" 2>/dev/null || true
	[ -z "${STTY:-}" ] || stty "$STTY" || true
	[ -z "$RUN_DIR" ] || rm -rf "$RUN_DIR"
	exit "$status"
}

__watch_alive() { kill -0 "$EMULATOR_PID" 2>/dev/null; }

# The last word that L1 said to the host.
__watch_word() {
	local line word=
	while read -r line; do
		word=$line
	done <"$RUN_DIR/ctl"
	echo "$word"
}

# The log is complete when its last line is there; it may need a moment.
__watch_log_end() {
	local try
	for try in 1 2 3 4 5 6 7 8 9 10; do
		if grep -aq 'kvmfork-l1: end of log' "$LOG"; then
			return 0
		fi
		sleep 0.3
	done
	say "L1's log stops early (try $try)"
}

__watch_show_log() {
	{
		echo "--- the end of L1's log:"
		tail -n 40 "$LOG" | tr -d '\r'
		echo "---"
	} >&2
}

# Waits for the end; sets RESULT.
__watch_loop() {
	local limit started=$SECONDS word state=boot panic_at=
	limit=$(__watch_boot_limit)
	while :; do
		word=$(__watch_word)
		case $word in
		start)
			if [ "$state" = boot ]; then
				state=running
				progress "L1 $KERNEL/$VENDOR: up after $((SECONDS - started)) s"
				started=$SECONDS
				limit=$TIMEOUT
			fi ;;
		"exit "*)
			RESULT=${word#exit }
			__watch_log_end
			return ;;
		"trouble "*)
			say "L1 $KERNEL/$VENDOR: ${word#trouble }"
			__watch_show_log
			RESULT=$EXIT_TROUBLE
			return ;;
		esac
		if ! __watch_alive; then
			# It may have said its word and gone in between.
			case $(__watch_word) in "exit "*) continue ;; esac
			say "L1 $KERNEL/$VENDOR ended by itself ($state)"
			__watch_show_log
			RESULT=$EXIT_TROUBLE
			return
		fi
		# A panic that does not reset the machine: let the splat get out.
		if grep -aq 'Kernel panic - not syncing' "$LOG"; then
			: "${panic_at:=$SECONDS}"
			if [ $((SECONDS - panic_at)) -ge 3 ]; then
				say "L1 $KERNEL/$VENDOR panicked ($state)"
				__watch_show_log
				RESULT=$EXIT_TROUBLE
				return
			fi
		fi
		if [ $((SECONDS - started)) -ge "$limit" ] && [ -z "$INTERACTIVE" ]; then
			if [ "$state" = boot ]; then
				say "L1 $KERNEL/$VENDOR did not boot in $limit s"
				RESULT=$EXIT_TROUBLE
			else
				say "L1 $KERNEL/$VENDOR: the command did not end in $limit s"
				RESULT=$EXIT_TIMEOUT
			fi
			__watch_show_log
			return
		fi
		sleep 0.2
	done
}

# watch_run: COMMAND is the emulator. Exits with the script's result.
watch_run() {
	: >"$RUN_DIR/out"
	: >"$RUN_DIR/ctl"
	if [ -n "$INTERACTIVE" ]; then
		progress "L1 $KERNEL/$VENDOR: a shell; 'exit' or Ctrl-D ends it"
		if [ -t 0 ]; then
			STTY=$(stty -g)
			stty raw -echo
		fi
		# In the foreground group, or reading the terminal would stop it.
		"${COMMAND[@]}" <&0 &
		EMULATOR_PID=$!
	else
		setsid "${COMMAND[@]}" </dev/null >"$RUN_DIR/emulator" 2>&1 &
		EMULATOR_PID=$!
		tail -c +1 -s 0.2 -f --pid="$EMULATOR_PID" "$RUN_DIR/out" 2>/dev/null &
		TAIL_PID=$!
	fi
	__watch_loop
	[ "$RESULT" != "$EXIT_TROUBLE" ] || [ ! -s "$RUN_DIR/emulator" ] ||
		tail -n 5 "$RUN_DIR/emulator" >&2
	__watch_kill
	# It ends after the emulator, when it has shown everything.
	[ -z "$TAIL_PID" ] || wait "$TAIL_PID" 2>/dev/null || true
	TAIL_PID=
	if ! splat_check "$LOG"; then
		[ "$RESULT" = "$EXIT_TROUBLE" ] || [ "$RESULT" = "$EXIT_TIMEOUT" ] ||
			RESULT=$EXIT_SPLAT
	fi
	exit "$RESULT"
}
