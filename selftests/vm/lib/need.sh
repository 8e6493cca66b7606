# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Programs that few scripts want, so that `setup host` does not install them.

# need PACKAGE: installed on this machine, now if it is not yet.
need() {
	dpkg -s "$1" >/dev/null 2>&1 && return 0
	[ "$(id -u)" = 0 ] || die "please run: sudo apt-get install --no-install-recommends $1"
	say "installing $1"
	quietly "$CACHE_DIR/log/need.log" env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=120 --no-install-recommends install "$1"
}
