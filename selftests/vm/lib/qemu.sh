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
	with_lock qemu __qemu_repair
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

# VMRUN leaves the number of an interrupt that it injects in exception_index, from
# where the guest gets it again, with interrupts off as well; docs/known-problems.md.
# What delivers the interrupt has the number as an argument, so the store is taken
# out: in helper_vmrun(), the one before exception_is_int = 0 and exception_next_eip = -1.
QEMU_STORE='\x89\xb3..\xff\xff\xc7\x83....\x00{4}\x48\xc7\x83....\xff{4}'

__qemu_repair() {
	local binary=$CACHE_DIR/qemu-trixie/usr/bin/qemu-system-x86_64 at
	[ ! "$binary.repaired" -nt "$binary" ] || return 0
	at=$(LC_ALL=C grep -obUaP "$QEMU_STORE" "$binary" | cut -d: -f1) || true
	cp "$binary" "$binary.new"
	case $at in
	''|*[!0-9]*)
		say "this QEMU is not the one we know to repair: Linux guests may hang" ;;
	*)
		# nopw 0(%rax,%rax,1)
		printf '\x66\x0f\x1f\x44\x00\x00' |
			dd of="$binary.new" bs=1 seek="$at" conv=notrunc status=none ;;
	esac
	mv "$binary.new" "$binary.repaired"
}

# qemu_command: sets COMMAND from RUN_DIR, LOG, VENDOR, MEMORY, SMP, ICOUNT,
# INTERACTIVE, CMDLINE.
# Ports: 0 kernel log, 1 output, 2 words for the host (see l1/init).
qemu_command() {
	local tree=$CACHE_DIR/qemu-trixie
	COMMAND=(
		"$tree/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
		--library-path "$tree/usr/lib/x86_64-linux-gnu"
		"$tree/usr/bin/qemu-system-x86_64.repaired"
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
		# See docs/known-problems.md before giving it more than one CPU.
		COMMAND+=(-accel "tcg,thread=multi" -smp "$SMP" -cpu "$QEMU_CPU")
	fi
}
