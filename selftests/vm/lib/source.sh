# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The kernel's source: some files of it which no smaller package has (the test
# harness and checkpatch), and all of it for the debug kernel.

SOURCE_DIR=$CACHE_DIR/linux-source
SOURCE_PACKAGE=linux-source-6.12

# The newest version there is.
source_version() {
	with_lock apt-bookworm apt_ready bookworm
	apt_newest bookworm "$SOURCE_PACKAGE" '*' ||
		die "no $SOURCE_PACKAGE in the package lists of bookworm"
}

# source_unpack VERSION DIR [FILE...]: all files, or these. One pass over the
# archive, which is one long xz stream.
source_unpack() {
	local item=$SOURCE_PACKAGE=$1 dir=$2 deb
	shift 2
	deb_fetch bookworm "$item"
	deb=$(__deb_stored "$item")
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$SOURCE_PACKAGE.tar.xz" | xz -dc |
		tar -x -C "$dir" --strip-components=1 "${@/#/$SOURCE_PACKAGE/}"
	# It is the largest of all, and done with.
	rm -f "$deb" "$deb.sha256"
}

__source_prepare() {
	local version
	[ -f "$SOURCE_DIR.ready" ] && return 0
	version=$(source_version) || exit 1
	progress "$SOURCE_PACKAGE: taking the test harness and checkpatch out"
	rm -rf "$SOURCE_DIR"
	mkdir -p "$SOURCE_DIR"
	source_unpack "$version" "$SOURCE_DIR" .clang-format scripts/checkpatch.pl \
		scripts/const_structs.checkpatch scripts/spelling.txt \
		tools/testing/selftests/kselftest.h tools/testing/selftests/kselftest_harness.h
	echo "$version" >"$SOURCE_DIR.ready"
}

source_prepare() {
	with_lock source __source_prepare
}
