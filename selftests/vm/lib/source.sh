# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Some files of the kernel's source which no smaller package has: the test
# harness and checkpatch.

SOURCE_DIR=$CACHE_DIR/linux-source
SOURCE_PACKAGE=linux-source-6.12

__source_extract() {
	local name=$SOURCE_PACKAGE deb=$1 dest=$2
	# One pass over the archive, which is one long xz stream.
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$name.tar.xz" | xz -dc |
		tar -x -C "$dest" --strip-components=1 \
		"$name/.clang-format" \
		"$name/scripts/checkpatch.pl" \
		"$name/scripts/const_structs.checkpatch" \
		"$name/scripts/spelling.txt" \
		"$name/tools/testing/selftests/kselftest.h" \
		"$name/tools/testing/selftests/kselftest_harness.h"
}

__source_prepare() {
	local version deb
	[ -f "$SOURCE_DIR.ready" ] && return 0
	with_lock apt-bookworm apt_ready bookworm
	version=$(apt_newest bookworm "$SOURCE_PACKAGE" '*') ||
		die "no $SOURCE_PACKAGE in the package lists of bookworm-backports"
	deb_fetch bookworm "$SOURCE_PACKAGE=$version"
	deb=$(__deb_stored "$SOURCE_PACKAGE=$version")
	progress "$SOURCE_PACKAGE: taking the test harness and checkpatch out"
	rm -rf "$SOURCE_DIR"
	mkdir -p "$SOURCE_DIR"
	__source_extract "$deb" "$SOURCE_DIR"
	# It is the largest of all, and done with.
	rm -f "$deb" "$deb.sha256"
	echo "$version" >"$SOURCE_DIR.ready"
}

source_prepare() {
	with_lock source __source_prepare
}
