# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The test kernel `debug`: built here, of Debian's source of 6.12 and
# kernel/debug.config, to find what a distribution's kernel keeps quiet about. It
# is unpacked where the others are (kernel.sh), with its source beside it, and is
# built anew when its configuration or the compiler changes.

DEBUG_DIR=$CACHE_DIR/kernel/debug
DEBUG_CONFIG=$VM_DIR/kernel/debug.config

# What the build depends on besides the source.
__debug_key() {
	{ cat "$DEBUG_CONFIG"; gcc --version; ld --version; } | sha256sum | cut -c1-16
}

# The last line of FILE.ready: version of the source, uname -r, key.
debug_fresh() {
	local key=
	[ -f "$DEBUG_DIR.ready" ] && read -r _ _ key <"$DEBUG_DIR.ready"
	[ "$key" = "$(__debug_key)" ]
}

__debug_source() {
	local version
	[ -f "$DEBUG_DIR/source.version" ] && return 0
	version=$(source_version) || exit 1
	progress "kernel debug: unpacking Debian's $version"
	rm -rf "$DEBUG_DIR"
	mkdir -p "$DEBUG_DIR/source"
	with_lock source source_unpack "$version" "$DEBUG_DIR/source"
	echo "$version" >"$DEBUG_DIR/source.version"
}

# kconfig drops without a word what depends on something that is off.
__debug_check_config() {
	local line option lacks=
	while read -r line; do
		case $line in
		CONFIG_*) grep -qxF -- "$line" "$1" || lacks="$lacks $line" ;;
		'# CONFIG_'*' is not set')
			option=${line#\# }
			! grep -q "^${option%% *}=" "$1" || lacks="$lacks no-${option%% *}" ;;
		esac
	done <"$DEBUG_CONFIG"
	[ -z "$lacks" ] || die "kernel debug: $DEBUG_CONFIG asks for what it did not get:$lacks"
}

# Not with the variables of the make that may have called.
__debug_make() {
	MAKEFLAGS='' make -C "$DEBUG_DIR/source" -j"$(nproc)" "$@"
}

__debug_build() {
	__debug_make KCONFIG_ALLCONFIG="$DEBUG_CONFIG" allnoconfig
	__debug_check_config "$DEBUG_DIR/source/.config"
	__debug_make bzImage modules
	rm -rf "${DEBUG_DIR:?}/lib" "${DEBUG_DIR:?}/boot"
	__debug_make INSTALL_MOD_PATH="$DEBUG_DIR" modules_install
	mkdir "$DEBUG_DIR/boot"
	cp "$DEBUG_DIR/source/arch/x86/boot/bzImage" \
		"$DEBUG_DIR/boot/vmlinuz-$(__debug_make -s kernelrelease)"
}

# debug_prepare: the kernel is built and installed below DEBUG_DIR.
debug_prepare() {
	local release log=$CACHE_DIR/log/kernel-debug.log
	debug_fresh && return 0
	need flex
	need bison
	need libelf-dev
	__debug_source
	say "building the debug kernel; with two CPUs that takes about 12 minutes"
	# In a shell of its own, as set -e does not reach into functions called here.
	# shellcheck disable=SC2016 # for the inner shell
	quietly "$log" bash -eu -c '
		. "$0/lib/common.sh"
		. "$VM_DIR/lib/debug.sh"
		__debug_build' "$VM_DIR" || die "no debug kernel"
	release=$(__debug_make -s kernelrelease)
	echo "$(cat "$DEBUG_DIR/source.version") $release $(__debug_key)" >"$DEBUG_DIR.ready"
}
