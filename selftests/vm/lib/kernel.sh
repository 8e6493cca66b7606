# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The test kernels: which there are, where Debian has them, unpacking them.
# They are of Debian's cloud flavour, but for 6.1-generic, which is for guests that
# want drivers which that one has not.

. "$VM_DIR/lib/need.sh"
. "$VM_DIR/lib/source.sh"
. "$VM_DIR/lib/debug.sh"

# Oldest first. What the test matrix covers; besides there is debug (debug.sh).
KERNEL_SERIES='6.1 6.12 7.x'
export KERNEL_SERIES

# kernel_series NAME: the series which NAME (6.1, 6.1.192-2, 6.1.0-50-cloud-amd64)
# belongs to.
kernel_series() {
	case $1 in
	6.1-generic) echo 6.1-generic ;;
	6.1|6.1.*|6.1-*) echo 6.1 ;;
	6.12|6.12.*|6.12-*|6.12+*) echo 6.12 ;;
	7|7.*) echo 7.x ;;
	debug) echo debug ;;
	*) die "KERNEL=$1 is not known; choose one of: $KERNEL_SERIES debug" ;;
	esac
}

# kernel_slowness SERIES: by how much more time everything takes there.
kernel_slowness() {
	case $1 in debug) echo 4 ;; *) echo 1 ;; esac
}

# Debian release, and the versions which are meant. 6.12 exists in trixie too,
# built by a compiler which bookworm lacks: the backport it must be.
__kernel_release() {
	case $1 in 7.x) echo trixie ;; *) echo bookworm ;; esac
}

__kernel_versions() {
	case $1 in
	6.1|6.1-generic) echo '6.1.*' ;;
	6.12) echo '6.12.*~bpo12+*' ;;
	7.x) echo '7.*~bpo13+*' ;;
	esac
}

__kernel_flavour() {
	case $1 in *-generic) echo amd64 ;; *) echo cloud-amd64 ;; esac
}

# Sets KERNEL_DIR (unpacked tree), KERNEL_RELEASE (uname -r) and KERNEL_IMAGE.
kernel_vars() {
	local series=$1
	KERNEL_DIR=$CACHE_DIR/kernel/$series
	[ -f "$KERNEL_DIR.ready" ] || return 1
	read -r _ KERNEL_RELEASE _ <"$KERNEL_DIR.ready"
	# Since 7.x the image lies among its modules.
	for KERNEL_IMAGE in "$KERNEL_DIR/boot/vmlinuz-$KERNEL_RELEASE" \
			    "$KERNEL_DIR/lib/modules/$KERNEL_RELEASE/vmlinuz"; do
		[ -f "$KERNEL_IMAGE" ] && return 0
	done
	return 1
}

# Headers packages refer to each other by absolute names, of a system they are
# installed on; let them find each other in the unpacked tree.
__kernel_fix_headers() {
	local tree=$1 link target
	find "$tree/usr/src" -maxdepth 2 \( -name Makefile -o -name .kernelvariables \) -type f \
		-exec sed -i "s#/usr/\(src\|lib\)/linux-#$tree/usr/\1/linux-#g" {} +
	find "$tree/usr/src" "$tree/lib/modules/" -maxdepth 2 -type l -lname '/usr/*' |
	while read -r link; do
		target=$(readlink "$link")
		ln -sfn "$tree$target" "$link"
	done
}

__kernel_prepare() {
	local series=$1 release flavour version name
	kernel_vars "$series" && return 0
	release=$(__kernel_release "$series")
	flavour=$(__kernel_flavour "$series")
	with_lock "apt-$release" apt_ready "$release"
	version=$(apt_newest "$release" "linux-image-$flavour" "$(__kernel_versions "$series")") ||
		die "no kernel $series in the package lists of $release"
	progress "kernel $series: Debian's $version"
	# shellcheck disable=SC2046 # one word per package
	set -- $({
		apt_depends "$release" "linux-image-$flavour=$version" 'linux-(image|binary|modules|base)-[0-9]'
		apt_depends "$release" "linux-headers-$flavour=$version" 'linux-(headers|kbuild)-[0-9]'
	} | sort -u | grep -Ev "^linux-(image|headers)-$flavour=")
	deb_fetch "$release" "$@"
	progress "kernel $series: unpacking"
	deb_unpack "$KERNEL_DIR" "$@"
	# Debian moved /lib into /usr; one name for all users.
	[ -d "$KERNEL_DIR/lib/modules" ] || ln -s usr/lib "$KERNEL_DIR/lib"
	__kernel_fix_headers "$KERNEL_DIR"
	name=$(cd "$KERNEL_DIR/lib/modules" && echo *)
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$KERNEL_DIR" "$name"
	echo "$version $name" >"$KERNEL_DIR.ready"
	kernel_vars "$series" || die "kernel $series: no image in the packages"
}

# kernel_prepare SERIES: the kernel is unpacked; kernel_vars are set.
kernel_prepare() {
	case $1 in
	debug) with_lock kernel-debug debug_prepare ;;
	*) with_lock "kernel-$1" __kernel_prepare "$1" ;;
	esac
	kernel_vars "$1" || die "kernel $1 is not ready"
}
