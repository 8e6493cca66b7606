# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Which emulator, or which hardware, stands in for a vendor's machine.

# machine_has_hardware VENDOR: only a kvm_amd or kvm_intel that says it nests
# counts; a /dev/kvm whose module is not to be seen promises nothing.
machine_has_hardware() {
	case ${KVMFORK_ACCEL:-auto} in
	tcg) return 1 ;;
	kvm) return 0 ;;
	esac
	case $(cat "/sys/module/kvm_$1/parameters/nested" 2>/dev/null) in
	1|Y) [ -w /dev/kvm ] ;;
	*) return 1 ;;
	esac
}

# machine_emulator VENDOR: qemu or bochs, the prefix of their functions.
machine_emulator() {
	if [ "$1" = intel ] && ! machine_has_hardware intel; then
		echo bochs
	else
		echo qemu
	fi
}
