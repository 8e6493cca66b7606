# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Debian packages without touching the system's own package state: private apt
# configurations (one per Debian release, so that a resolver never mixes them),
# a store of verified .deb files, and trees unpacked from them.

APT_LISTS_MAX_AGE_DAYS=7
DEB_DIR=$CACHE_DIR/debs

# The system's own sources say where the mirrors are; no name is kept here.
# Prints: URI suite, one per line. Without release info it needs no lists, which
# a new system has none of.
__apt_system_sources() {
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --no-release-info --format '$(CREATED_BY) $(REPO_URI) $(RELEASE)' |
		sed -n 's/^Packages //p' | sort -u
}

# The mirror of Debian itself is the one which carries the release that runs.
__apt_mirror() {
	local codename uri
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
	uri=$(__apt_system_sources | awk -v c="$codename" '
		$2 == c || $2 == "stable" || $2 == "oldstable" { print $1; exit }')
	[ -n "$uri" ] ||
		die "apt's sources name no mirror for $codename; see /etc/apt/sources.list*"
	echo "$uri"
}

__apt_security_mirror() {
	__apt_system_sources | awk '$2 ~ /-security$/ { print $1; exit }'
}

__apt_write_config() {
	local release=$1 dir=$CACHE_DIR/apt/$1 key mirror security
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -f "$key" ] || die "$key is missing: apt-get install debian-archive-keyring"
	mirror=$(__apt_mirror)
	security=$(__apt_security_mirror)
	mkdir -p "$dir/none" "$dir/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/status"
	{
		echo "deb [signed-by=$key] $mirror $release main"
		echo "deb [signed-by=$key] $mirror $release-backports main"
		if [ "$release" = bookworm ] && [ -n "$security" ]; then
			echo "deb [signed-by=$key] $security $release-security main"
		fi
	} >"$dir/sources.list.new"
	# Another mirror makes the lists stale.
	if ! cmp -s "$dir/sources.list.new" "$dir/sources.list"; then
		mv "$dir/sources.list.new" "$dir/sources.list"
		rm -f "$dir/updated"
	fi
	# An empty status makes the resolver name all that a package needs, so
	# that an unpacked tree never depends on what the host has installed.
	cat >"$dir/apt.conf" <<-CONF
	Dir::State "$dir";
	Dir::State::lists "$dir/lists";
	Dir::State::status "$dir/status";
	Dir::State::extended_states "$dir/extended_states";
	Dir::Etc::sourcelist "$dir/sources.list";
	Dir::Etc::sourceparts "-";
	Dir::Etc::preferences "$dir/none/preferences";
	Dir::Etc::preferencesparts "$dir/none";
	Dir::Cache "$dir/cache";
	Dir::Cache::archives "$dir/cache/archives";
	Dir::Cache::pkgcache "$dir/cache/pkgcache.bin";
	Dir::Cache::srcpkgcache "$dir/cache/srcpkgcache.bin";
	APT::Architecture "amd64";
	APT::Install-Recommends "false";
	APT::Sandbox::User "root";
	APT::Update::Post-Invoke-Success "";
	Acquire::Languages "none";
	Acquire::Retries "2";
	CONF
}

__apt_update() {
	local release=$1 dir=$CACHE_DIR/apt/$1
	progress "reading the package lists of $release"
	APT_CONFIG=$dir/apt.conf quietly "$CACHE_DIR/log/apt-$release.log" \
		apt-get -q -o APT::Update::Error-Mode=any update || return 1
	touch "$dir/updated"
}

# apt_ready RELEASE [fresh]: the lists are there and not too old.
apt_ready() {
	local release=$1 dir=$CACHE_DIR/apt/$1
	__apt_write_config "$release"
	if [ "${2:-}" = fresh ] || [ ! -e "$dir/updated" ] ||
	   [ -n "$(find "$dir/updated" -mtime "+$APT_LISTS_MAX_AGE_DAYS")" ]; then
		retry "reading the package lists of $release" __apt_update "$release" ||
			die "no package lists of $release: is the mirror in $dir/sources.list reachable?"
	fi
}

# apt_cache RELEASE ARGS...
apt_cache() {
	local release=$1
	shift
	APT_CONFIG=$CACHE_DIR/apt/$release/apt.conf apt-cache "$@"
}

# apt_newest RELEASE PACKAGE GLOB: the newest version which matches.
apt_newest() {
	local release=$1 package=$2 glob=$3 version best=
	while read -r version; do
		# shellcheck disable=SC2254 # a pattern on purpose
		case $version in $glob) ;; *) continue ;; esac
		if [ -z "$best" ] || dpkg --compare-versions "$version" gt "$best"; then
			best=$version
		fi
	done < <(apt_cache "$release" madison "$package" | awk '{ print $3 }')
	[ -n "$best" ] || return 1
	echo "$best"
}

# apt_depends RELEASE PACKAGE=VERSION REGEX: it, and what it needs among the
# packages which match REGEX, as package=version lines.
apt_depends() {
	local release=$1 regex=$3 todo=("$2") seen=' ' item package name version
	while [ ${#todo[@]} -gt 0 ]; do
		item=${todo[0]}
		todo=("${todo[@]:1}")
		case $seen in *" $item "*) continue ;; esac
		seen="$seen$item "
		echo "$item"
		while read -r name version; do
			if [ -z "$version" ]; then
				package=${item#*=}
				version=$(apt_newest "$release" "$name" "$package") ||
					version=$(apt_newest "$release" "$name" '*') ||
					die "$release: $item needs $name, which is not there"
			fi
			todo+=("$name=$version")
		done < <(apt_cache "$release" show "$item" | sed -n 's/^\(Pre-\)\{0,1\}Depends: //p' |
			tr ',' '\n' | tr '|' '\n' | sed 's/^ *//; s/:any//' | grep -E "^($regex)" |
			sed -E 's/^([^ ]+)( *\(= *([^)]*)\))?.*/\1 \3/')
	done
}

# apt_closure RELEASE SUITE PACKAGE...: all packages needed to run these on an
# empty machine, as package=version lines.
apt_closure() {
	local release=$1 suite=$2
	shift 2
	APT_CONFIG=$CACHE_DIR/apt/$release/apt.conf \
		apt-get -q -s -t "$suite" install "$@" |
		sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1=\2/p'
}

# The file apt-get download makes of package=version: the epoch's colon is
# percent-encoded in the name.
__deb_glob() {
	local version=${1#*=}
	echo "${1%%=*}_${version//:/%3a}_*.deb"
}

__deb_check() {
	(cd "$DEB_DIR" && sha256sum --status -c "$1.sha256")
}

# The stored file of package=version, if it is there and still what it was.
__deb_stored() {
	local file
	for file in "$DEB_DIR"/$(__deb_glob "$1"); do
		[ -f "$file.sha256" ] || continue
		if __deb_check "$(basename "$file")"; then
			echo "$file"
			return 0
		fi
		say "$(basename "$file") in the cache is damaged: fetching it anew"
		rm -f "$file" "$file.sha256"
	done
	return 1
}

__deb_download() {
	local release=$1 dir=$CACHE_DIR/partial.$BASHPID file status=0
	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	# apt verifies each file against the signed index.
	(cd "$dir" && APT_CONFIG=$CACHE_DIR/apt/$release/apt.conf \
		quietly "$CACHE_DIR/log/download-$release.log" apt-get -q download "$@") || status=1
	for file in "$dir"/*.deb; do
		if [ "$status" != 0 ] || [ ! -f "$file" ]; then
			continue
		fi
		(cd "$dir" && sha256sum "$(basename "$file")" >"$file.sha256")
		mv "$file" "$DEB_DIR/"
		mv "$file.sha256" "$DEB_DIR/"
	done
	rm -rf "$dir"
	return "$status"
}

# deb_fetch RELEASE package=version...: puts what is missing into the store.
deb_fetch() {
	local release=$1 item missing=()
	shift
	mkdir -p "$DEB_DIR"
	for item; do
		__deb_stored "$item" >/dev/null || missing+=("$item")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	progress "downloading ${#missing[@]} packages of $release (${missing[0]%%=*}, …)"
	retry "downloading ${missing[*]}" __deb_download "$release" "${missing[@]}" ||
		die "could not download: ${missing[*]} (log: $CACHE_DIR/log/download-$release.log)"
}

# deb_unpack TREE package=version...: all of them into TREE, which appears
# whole or not at all.
deb_unpack() {
	local tree=$1 item file
	shift
	rm -rf "$tree.new"
	mkdir -p "$tree.new"
	for item; do
		file=$(__deb_stored "$item") || die "$item vanished from the cache"
		dpkg-deb --fsys-tarfile "$file" |
			tar -x -C "$tree.new" --keep-directory-symlink --no-same-owner
	done
	rm -rf "$tree"
	mv "$tree.new" "$tree"
}
