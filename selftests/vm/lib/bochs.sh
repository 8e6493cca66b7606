# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# L1 with VMX and EPT: Bochs of Debian 12, an interpreter (QEMU's emulation has
# SVM only). It boots from a CD image which carries kernel and initrd.

# It is installed, by setup: its plugins have a fixed place.
bochs_prepare() { :; }

# Time in L1 is a count of instructions, at this many for a second. Real speed
# is about that of the machine below; fewer would make the timer interrupt
# take more of it, more would make the serial ports wait longer.
BOCHS_IPS=40000000

__bochs_boot_image() {
	local dir=$RUN_DIR/cd
	mkdir -p "$dir/boot/grub"
	ln "$RUN_DIR/initrd" "$dir/initrd"
	cp "$KERNEL_IMAGE" "$dir/vmlinuz"
	cat >"$dir/boot/grub/grub.cfg" <<-GRUB
	set timeout=0
	linux /vmlinuz $CMDLINE
	initrd /initrd
	boot
	GRUB
	quietly "$RUN_DIR/grub.log" grub-mkrescue -d /usr/lib/grub/i386-pc \
		--compress=no --locales= --fonts= --themes= \
		--install-modules='linux normal iso9660 biosdisk' \
		-o "$RUN_DIR/cd.iso" "$dir" || die "could not make the boot disk"
	rm -rf "$dir"
}

__bochs_config() {
	cat <<-CONF
	config_interface: textconfig
	display_library: term
	romimage: file=/usr/share/bochs/BIOS-bochs-latest
	vgaromimage: file=/usr/share/vgabios/vgabios.bin
	cpu: model=corei7_haswell_4770, count=1, ips=$BOCHS_IPS
	memory: guest=$MEMORY, host=$MEMORY
	clock: sync=none, time0=utc
	vga: extension=none, update_freq=1
	ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
	ata0-master: type=cdrom, path=$RUN_DIR/cd.iso, status=inserted
	ata1: enabled=0
	boot: cdrom
	com1: enabled=1, mode=file, dev=$LOG
	com2: enabled=1, mode=file, dev=$RUN_DIR/out
	com3: enabled=1, mode=file, dev=$RUN_DIR/ctl
	parport1: enabled=0
	log: $RUN_DIR/bochs.log
	panic: action=fatal
	error: action=ignore
	info: action=ignore
	debug: action=ignore
	CONF
}

# bochs_command: sets COMMAND from RUN_DIR, MEMORY and CMDLINE. The display is
# text on a terminal, which script provides. Debian builds the debugger in, and it
# waits for a word: continue.
bochs_command() {
	__bochs_boot_image
	__bochs_config >"$RUN_DIR/bochsrc"
	echo c >"$RUN_DIR/bochs.rc"
	COMMAND=(env TERM=linux script -qefc "echo \$\$ >$RUN_DIR/pid
		exec bochs -q -f $RUN_DIR/bochsrc -rc $RUN_DIR/bochs.rc" /dev/null)
}
