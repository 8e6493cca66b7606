# SPDX-License-Identifier: GPL-2.0-only
#
# `make help` lists the targets.

PREFIX	?= /usr/local
DESTDIR	?=
V	?= 0
KDIR	?= /lib/modules/$(shell uname -r)/build

# Test machines; see selftests/vm/run --help. Empty: all of them for `make test`,
# the defaults for the others.
KERNEL	?=
VENDOR	?=
TIMEOUT	?=
CMD	?=
APP	?=
ARGS	?=
# How long make stress goes on, in seconds.
DURATION ?= 60
# More options of selftests/vm/run.
VMFLAGS	?=
# Options of selftests/bench/run.
BENCHFLAGS ?=
FUZZ_SECONDS ?= 60

VM	:= selftests/vm
VMRUN	 = $(VM)/run $(if $(KERNEL),--kernel $(KERNEL)) $(if $(VENDOR),--vendor $(VENDOR)) \
	   $(if $(TIMEOUT),--timeout $(TIMEOUT)) $(VMFLAGS)
Q	:= $(if $(filter 0,$(V)),@,)

export V

# Text for a shell's word, whatever it holds.
quote	 = '$(subst ','\'',$(1))'

.PHONY: all module userspace selftests programs clean install help
.PHONY: setup vm run demo test stress bench check fuzz

all: module programs

help:
	@sed -n 's/^#@ \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

#@ Building
#@   all          kvmfork.ko for the running kernel (KDIR=...), ukrun, guests, selftests
#@   module       kvmfork.ko alone
#@   userspace    ukrun alone; needs no kernel headers
#@   selftests    the tests and the guests
#@   install      kvmfork.ko, ukrun, the headers and the udev rule
#@                (PREFIX=/usr/local, DESTDIR=)
#@   clean

module:
	$(Q)test -e $(KDIR)/Makefile || { \
		echo "no kernel headers in $(KDIR): apt-get install linux-headers-\$$(uname -r)," \
		     "or name another place with KDIR=. 'make userspace' needs none; 'make vm'" \
		     "and 'make test' fetch the headers of the kernels they run." >&2; exit 1; }
	$(Q)$(MAKE) -C $(KDIR) M=$(CURDIR) V=$(V) modules

userspace:
	$(Q)$(MAKE) -C userspace

selftests: userspace
	$(Q)$(MAKE) -C selftests

programs: userspace selftests

install: module userspace
	$(Q)$(MAKE) -C $(KDIR) M=$(CURDIR) \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) modules_install
	$(Q)install -D -m 755 ukrun $(DESTDIR)$(PREFIX)/bin/ukrun
	$(Q)cd uapi && find . -name '*.h' -exec \
		install -D -m 644 {} $(DESTDIR)$(PREFIX)/include/{} \;
	$(Q)install -D -m 644 packaging/60-kvmfork.rules \
		$(DESTDIR)/lib/udev/rules.d/60-kvmfork.rules

clean:
	$(Q)if test -e $(KDIR)/Makefile; then $(MAKE) -C $(KDIR) M=$(CURDIR) clean; fi
	$(Q)$(MAKE) -C userspace clean
	$(Q)$(MAKE) -C selftests clean
	$(Q)rm -rf selftests/results

#@
#@ Test machines (L1): Debian kernels under emulators, no hardware support needed.
#@ The first use downloads what is missing (make setup does it ahead).
#@   test         all tests on all test machines; KERNEL= and VENDOR= choose
#@                (KERNEL=debug: one that looks for mistakes, see docs/debug-kernel.md)
#@   stress       everything at once, at random, for DURATION=60 seconds
#@   vm           one test machine: CMD='...' runs that, without it a shell
#@                (KERNEL=6.1|6.12|7.x|debug VENDOR=amd|intel TIMEOUT=seconds VMFLAGS=...)
#@   run          APP=elf ARGS='...': your unikernel under ukrun in a test machine
#@   demo         what forking a VM looks like
#@   bench        what everything takes, counted in instructions (BENCHFLAGS='--quick')
#@   setup        download and prepare everything for `make test`
#@   check        checkpatch, sparse, shellcheck, the tests that docs/state.md names
#@   fuzz         ukrun's devices with hostile rings, FUZZ_SECONDS=60 on this machine

setup:
	$(Q)$(VM)/setup all

vm:
	$(Q)$(VM)/setup host
	$(Q)$(if $(findstring --no-project,$(VMFLAGS)),,$(MAKE) programs)
	$(Q)$(VMRUN) $(if $(value CMD),-- $(call quote,$(value CMD)))

run:
	$(Q)test -n "$(APP)" || { echo "which program? make run APP=elf ARGS='...'" >&2; exit 1; }
	$(Q)$(VM)/setup host
	$(Q)$(MAKE) programs
	$(Q)$(VMRUN) --add $(call quote,$(APP)):/app \
		-- $(call quote,exec /kvmfork/ukrun /app $(value ARGS))

demo:
	$(Q)$(VM)/setup host
	$(Q)$(MAKE) programs
	$(Q)$(if $(KERNEL),KERNEL=$(KERNEL)) $(if $(VENDOR),VENDOR=$(VENDOR)) \
		$(if $(TIMEOUT),TIMEOUT=$(TIMEOUT)) $(VM)/demo

test:
	$(Q)$(VM)/setup host
	$(Q)$(MAKE) programs
	$(Q)$(VM)/test $(if $(KERNEL),--kernel $(KERNEL)) $(if $(VENDOR),--vendor $(VENDOR)) \
		$(if $(TIMEOUT),--timeout $(TIMEOUT))

stress:
	$(Q)$(VM)/setup host
	$(Q)$(MAKE) programs
	$(Q)$(VMRUN) $(if $(TIMEOUT),,--timeout $$(($(DURATION) + 600))) \
		-- $(call quote,cd /kvmfork/selftests && KVMFORK_TEST_SECONDS=$(DURATION) ./stress)

bench:
	$(Q)$(VM)/setup host
	$(Q)$(MAKE) programs
	$(Q)selftests/bench/run $(BENCHFLAGS) $(if $(VMFLAGS),-- $(VMFLAGS))

check:
	$(Q)$(VM)/check

fuzz:
	$(Q)$(VM)/setup host
	$(Q)selftests/fuzz/run $(FUZZ_SECONDS)
#@
#@ V=1 shows all commands and all output.
