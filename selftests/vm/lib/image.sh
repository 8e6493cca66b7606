# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# L1's root file system: cpio archives, one after another, which the kernel
# unpacks into one tree. The first (busybox, init, KVM's modules) is kept in the
# cache per kernel; the others carry what is to be tested and are made per run.

# Modules of the distribution kernel which L1 carries, with all they need.
# KVM's are loaded at boot, the others by whoever wants them (modprobe).
L1_MODULES='kvm kvm-amd kvm-intel tun bridge veth vhost-net vhost-vsock loop'

# image_add ROOT SRC DEST: a file or a directory, and the shared libraries of
# every program in it.
image_add() {
	local root=$1 src=$2 dest=$3 file
	mkdir -p "$root/$(dirname "$dest")"
	if [ -d "$src" ]; then
		mkdir -p "$root/$dest"
		cp -a "$src/." "$root/$dest/"
	else
		cp -aL "$src" "$root/$dest"
	fi
	find "$root/$dest" -type f | while read -r file; do
		image_add_libs "$root" "$file"
	done
}

# Programs with the host's interpreter are asked which libraries they load; anything
# else (scripts, unikernels, static programs) has none.
image_add_libs() {
	local root=$1 file=$2 lib
	[ "$(head -c 4 "$file" | tr -d '\0')" = $'\177ELF' ] || return 0
	readelf -lW "$file" 2>/dev/null | grep -q 'program interpreter: /lib' || return 0
	{ echo "$file"; image_libs_later "$file"; } | xargs ldd |
		sed -nE 's#.*(=> |^[[:space:]]*|^)(/[^ ]+)( \(0x.*|:)$#\2#p' | sort -u |
	while read -r lib; do
		[ "$lib" != "$file" ] || continue
		[ -e "$root$lib" ] && continue
		mkdir -p "$root$(dirname "$lib")"
		cp -L "$lib" "$root$lib"
	done
}

# What a program may load when it is needed (dlopen()): it has the name in it.
image_libs_later() {
	local name
	{ strings "$1" | grep -E '^lib[a-z0-9-]+\.so\.[0-9]+$' || true; } | sort -u |
	while read -r name; do
		PATH=$PATH:/usr/sbin:/sbin ldconfig -p |
			awk -v name="$name" '$1 == name && !found++ { print $NF }'
	done
}

# image_merge_usr ROOT: where the common archive has links instead of
# directories, a directory of the same name would take the link's place.
image_merge_usr() {
	local root=$1 from to
	while read -r from to; do
		if [ -d "$root/$from" ] && [ ! -L "$root/$from" ]; then
			mkdir -p "$root/$to"
			cp -a "$root/$from/." "$root/$to/"
			rm -rf "${root:?}/$from"
		fi
	done <<-LINKS
	usr/bin bin
	usr/sbin bin
	sbin bin
	usr/lib lib
	usr/lib64 lib
	lib64 lib
	LINKS
}

# image_pack ROOT FILE: FILE appears whole or not at all.
image_pack() {
	local new=$2.new.$BASHPID
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
		cpio --quiet -o -H newc -R 0:0) >"$new"
	mv "$new" "$2"
}

__image_modules() {
	local root=$1 module line path
	for module in $L1_MODULES; do
		# A module unknown to this kernel is one that nobody can want.
		PATH=$PATH:/usr/sbin:/sbin modprobe -d "$KERNEL_DIR" -S "$KERNEL_RELEASE" \
			--show-depends "$module" 2>/dev/null || true
	done | awk '$1 == "insmod" { print $2 }' | sort -u |
	while read -r line; do
		path=$root/lib/modules/$KERNEL_RELEASE/${line##*"/$KERNEL_RELEASE/"}
		mkdir -p "$(dirname "$path")"
		case $line in
		*.xz) path=${path%.xz}; xz -dc "$line" >"$path" ;;
		*.zst) path=${path%.zst}; zstd -qdc "$line" >"$path" ;;
		*) cp "$line" "$path" ;;
		esac
		# Checking the signature and reading the type information takes
		# an interpreted machine ten seconds; strip takes both away.
		objcopy --strip-debug -R .BTF "$path"
	done
	cp "$KERNEL_DIR/lib/modules/$KERNEL_RELEASE"/modules.{builtin,order} \
		"$root/lib/modules/$KERNEL_RELEASE/"
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$root" "$KERNEL_RELEASE" 2>/dev/null
}

__image_base() {
	local out=$1 root=$1.root applet busybox
	image_base_fresh "$out" && return 0
	busybox=$(command -v busybox) || die "busybox-static is missing: run selftests/vm/setup"
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,etc,lib/modules,proc,root,run,sys,tmp,usr,var,home/guest,kvmfork}
	# The directories which programs expect, as one.
	ln -s bin "$root/sbin"
	ln -s ../bin "$root/usr/bin"
	ln -s ../bin "$root/usr/sbin"
	ln -s ../lib "$root/usr/lib"
	ln -s ../lib "$root/usr/lib64"
	ln -s lib "$root/lib64"
	cp -L "$busybox" "$root/bin/busybox"
	for applet in $("$busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	cp "$VM_DIR/l1/init" "$root/init"
	cp -a "$VM_DIR/l1/etc/." "$root/etc/"
	__image_modules "$root"
	image_pack "$root" "$out"
	rm -rf "$root"
}

# image_base_fresh FILE: FILE is there and newer than all it was made from.
image_base_fresh() {
	local src
	[ -f "$1" ] || return 1
	for src in "$VM_DIR/l1/init" "$VM_DIR"/l1/etc/* "$VM_DIR/lib/image.sh" "$KERNEL_DIR.ready"; do
		[ "$1" -nt "$src" ] || return 1
	done
}

# image_base: the archive which all runs of the prepared kernel share; prints
# its name.
image_base() {
	local out=$CACHE_DIR/l1/$KERNEL_RELEASE/base.cpio
	mkdir -p "$(dirname "$out")"
	with_lock "image-$KERNEL_RELEASE" __image_base "$out"
	echo "$out"
}

# image_project ROOT: puts the project's build products into ROOT, as
# l1/manifest names them; all of them when PROJECT is set, else those there are.
image_project() {
	local root=$1 pattern dest file found
	while read -r pattern dest; do
		case $pattern in ''|'#'*) continue ;; esac
		found=
		case $pattern in '?'*) found=optional pattern=${pattern#'?'} ;; esac
		for file in "$TOP_DIR"/$pattern; do
			[ -e "$file" ] || continue
			found=1
			case $dest in
			*/) image_add "$root" "$file" "$dest$(basename "$file")" ;;
			*) image_add "$root" "$file" "$dest" ;;
			esac
		done
		[ -n "$found" ] || [ -z "$PROJECT" ] ||
			die "$pattern is not built (make it, or give --no-project)"
	done <"$VM_DIR/l1/manifest"
}
