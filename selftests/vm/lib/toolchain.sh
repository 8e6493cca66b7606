# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Compilers for the test kernels' modules. Debian 12's own serves its own kernels.
# 7.x wants a newer gcc, and its objtool a newer libc: a tree of Debian 13
# packages, unpacked and entered with chroot.

TOOLCHAIN_DIR=$CACHE_DIR/toolchain-trixie

# No maintainer script runs, so what they would link is linked below.
TOOLCHAIN_PACKAGES='base-files bash coreutils dash diffutils findutils gawk gcc gcc-14
	grep gzip kmod libelf1t64 libc6-dev make pahole perl-base sed tar xz-utils zstd'

toolchain_needs_chroot() { [ "$1" = 7.x ]; }

__toolchain_prepare() {
	[ -f "$TOOLCHAIN_DIR.ready" ] && return 0
	with_lock apt-trixie apt_ready trixie
	# shellcheck disable=SC2046,SC2086 # one word per package
	set -- $(apt_closure trixie trixie $TOOLCHAIN_PACKAGES)
	[ $# -gt 0 ] || die "no compiler in the package lists of trixie"
	deb_fetch trixie "$@"
	progress "compiler of Debian 13: unpacking"
	deb_unpack "$TOOLCHAIN_DIR" "$@"
	mkdir -p "$TOOLCHAIN_DIR"/{proc,tmp,dev}
	[ -e "$TOOLCHAIN_DIR/usr/bin/awk" ] || ln -s gawk "$TOOLCHAIN_DIR/usr/bin/awk"
	[ -e "$TOOLCHAIN_DIR/usr/bin/sh" ] || ln -s dash "$TOOLCHAIN_DIR/usr/bin/sh"
	printf '%s\n' "$@" >"$TOOLCHAIN_DIR.ready"
}

toolchain_prepare() {
	toolchain_needs_chroot "$1" || return 0
	with_lock toolchain __toolchain_prepare
}

# toolchain_run SERIES COMMAND...: with a compiler for this kernel. The cache and
# the working directory have the same names inside. The mounts live in a
# namespace of their own and vanish with it, however it ends.
toolchain_run() {
	local series=$1
	shift
	if ! toolchain_needs_chroot "$series"; then
		"$@"
		return
	fi
	mkdir -p "$TOOLCHAIN_DIR$CACHE_DIR"
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --propagation unchanged sh -eu -c '
		# Not possible, and not needed, where / is no mount point.
		mount --make-rprivate / 2>/dev/null || :
		root=$1 cache=$2 dir=$3
		shift 3
		mount --bind "$cache" "$root$cache"
		mount -t proc proc "$root/proc"
		mount --bind /dev "$root/dev"
		exec chroot "$root" /bin/sh -c "cd \"\$0\" && exec \"\$@\"" "$dir" "$@"
	' toolchain "$TOOLCHAIN_DIR" "$CACHE_DIR" "$PWD" \
		/usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C "$@"
}
