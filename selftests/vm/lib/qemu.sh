# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# L1 with SVM and NPT: QEMU, which can emulate both. Before 10.2 its VMEXIT loses
# interrupts that another thread raises at the same time (a change of
# interrupt_request that is not atomic), so the newest is taken, from the
# backports of the next Debian. It is run unpacked, with all its libraries:
# nothing is installed. On hardware which nests it serves either vendor.

# What the model has and the emulation lacks is left out by name, or QEMU would
# warn of each.
QEMU_CPU='EPYC,+svm,+npt,-fxsr-opt,-misalignsse,-osvw,-topoext,-nrip-save,-xsavec'

qemu_prepare() {
	with_lock qemu __qemu_prepare
}

__qemu_prepare() {
	local tree=$CACHE_DIR/qemu-trixie
	[ -f "$tree.ready" ] && return 0
	with_lock apt-trixie apt_ready trixie
	# shellcheck disable=SC2046 # one word per package
	set -- $(apt_closure trixie trixie-backports qemu-system-x86)
	[ $# -gt 0 ] || die "no QEMU in the package lists of trixie-backports"
	deb_fetch trixie "$@"
	progress "QEMU: unpacking"
	deb_unpack "$tree" "$@"
	printf '%s\n' "$@" >"$tree.ready"
}

# qemu_command: sets COMMAND from RUN_DIR, LOG, VENDOR, MEMORY, SMP, ICOUNT,
# INTERACTIVE, CMDLINE.
# Ports: 0 kernel log, 1 output, 2 words for the host (see l1/init).
qemu_command() {
	local tree=$CACHE_DIR/qemu-trixie
	COMMAND=(
		"$tree/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
		--library-path "$tree/usr/lib/x86_64-linux-gnu"
		"$tree/usr/bin/qemu-system-x86_64"
		-L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios"
		-nodefaults -no-user-config -display none -no-reboot
		-M pc -m "$MEMORY"
		-kernel "$KERNEL_IMAGE" -initrd "$RUN_DIR/initrd" -append "$CMDLINE"
		-chardev "file,id=log,path=$LOG" -serial chardev:log
	)
	if [ -n "$INTERACTIVE" ]; then
		COMMAND+=(-chardev "stdio,id=out,signal=off" -serial chardev:out)
	else
		COMMAND+=(-chardev "file,id=out,path=$RUN_DIR/out" -serial chardev:out)
	fi
	COMMAND+=(-chardev "file,id=ctl,path=$RUN_DIR/ctl" -serial chardev:ctl)
	if [ -n "$ICOUNT" ]; then
		COMMAND+=(-accel "tcg,thread=single" -icount "shift=0,sleep=off" -smp 1
			-cpu "$QEMU_CPU")
	elif machine_has_hardware "$VENDOR"; then
		COMMAND+=(-accel kvm -cpu host -smp "$SMP")
	else
		# See docs/known-problems.md before giving it more than one CPU; and on
		# the thread that raises interrupts, which is not to be interrupted.
		COMMAND+=(-accel "tcg,thread=multi" -smp "$SMP" -cpu "$QEMU_CPU")
		if chrt --reset-on-fork --rr 1 true 2>/dev/null; then
			COMMAND=(chrt --reset-on-fork --rr 1 "${COMMAND[@]}")
		fi
	fi
}
