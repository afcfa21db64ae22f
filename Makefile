# SPDX-License-Identifier: GPL-2.0
#
# hmm-cdm: `make help` says what can be made. What Kbuild needs is in Kbuild;
# how the lab (toolchain, kernels, guests) works is in lab/.

LAB := lab/lab
BUILD := $(CURDIR)/build

include scripts/install-dirs.mk
INSTALL_MOD_PATH ?= $(DESTDIR)

# With KDIR= the modules are built against that kernel with the caller's own
# toolchain; without, in the lab against the stock Debian kernel.
ifdef KDIR
KBUILD_OUT := $(BUILD)/kdir
KBUILD_RUN := $(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(KBUILD_OUT)
# Sets the shell variables release and out.
modules_built = release=$$(cat $(KDIR)/include/config/kernel.release); out=$(KBUILD_OUT)
else
modules_built = out=$$($(LAB) built); release=$${out% *}; out=$(BUILD)/$${out\#* }
endif

.PHONY: all modules rust-analyzer compile_commands.json demo check bench conformance kselftest \
	selftests-mm check-all lint hooks cdm-delta shell install install_modules install-headers install_uapi install_udev \
	install-tools uninstall clean distclean help
.NOTPARALLEL:

all: modules

modules:
ifdef KDIR
	+$(KBUILD_RUN) modules
	@find $(KBUILD_OUT) -mindepth 2 -name '*.ko' -exec ln -srft $(KBUILD_OUT) {} +
else
	@$(LAB) modules $(foreach v,W CLIPPY V,$(if $($(v)),$(v)=$($(v))))
endif

# What editors need: rust-project.json and compile_commands.json.
rust-analyzer compile_commands.json:
ifdef KDIR
	+$(KBUILD_RUN) modules rust-analyzer compile_commands.json
	@scripts/editor-files --from $(KBUILD_OUT) --to $(CURDIR)
else
	@$(LAB) editor
endif

demo:
	@$(LAB) demo $(if $(INPUT),"$(abspath $(INPUT))")

check:
	@$(LAB) check $(TESTS)

conformance:
	@$(LAB) conformance $(TESTS)

bench:
	@$(LAB) bench

check-all:
	@scripts/make-all lint check 'check FLAVOUR=amd64' 'check FLAVOUR=rt-amd64' \
		'check KERNEL=debug' \
		kselftest selftests-mm conformance 'conformance ARCH=powerpc' 'conformance ARCH=powerpc MMU=hash' \
		'conformance ARCH=powerpc MACHINE=pseries' \
		'check ARCH=powerpc' 'check ARCH=powerpc MMU=hash' \
		'check ARCH=powerpc MACHINE=pseries' \
		'check ARCH=powerpc MACHINE=pseries MMU=hash' \
		'check ARCH=powerpc PAGES=4K' 'check ARCH=powerpc MMU=hash PAGES=4K' \
		'check ARCH=powerpc MACHINE=pseries PAGES=4K'

kselftest:
	@$(LAB) kselftest $(TESTS)

selftests-mm:
	@$(LAB) mm

lint:
	@$(LAB) lint

# git commit then lints what it is about to take.
hooks:
	@set -e; hook=$$(git rev-parse --git-path hooks)/pre-commit; \
	[ ! -e "$$hook" ] || cmp -s scripts/pre-commit "$$hook" || \
		{ echo "$$hook is there already: remove it first" >&2; exit 1; }; \
	$(INSTALL) -D -m 0755 scripts/pre-commit "$$hook"; echo "  INSTALL $$hook"

shell:
	@$(LAB) shell

# Lines of driver code that coherent memory takes on top of private memory.
cdm-delta:
	@scripts/cdm-delta

install: install_modules install-headers install_udev

# Of the modules, those that serve users: cdm_dmirror and cdm_kunit test the library. cdm_emu, the
# emulated accelerator, is the device of a machine that has none.
DRIVERS := hmm_cdm cdm_emu
drivers := $(foreach m,$(DRIVERS),src/$(m)/$(m))

# With KDIR=, Kbuild installs, so that signing, compression and INSTALL_MOD_STRIP= work. It takes
# the list of modules from its output directory: that one has ours, and links to the rest.
install_modules: modules
ifdef KDIR
	@mkdir -p $(KBUILD_OUT)/install
	@ln -sfn ../src $(KBUILD_OUT)/install/src
	@printf '%s.o\n' $(drivers) >$(KBUILD_OUT)/install/modules.order
	+$(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(KBUILD_OUT)/install modules_install \
		INSTALL_MOD_PATH=$(INSTALL_MOD_PATH)
	@$(modules_built); scripts/depmod "$$release" "$(INSTALL_MOD_PATH)"
else
	@set -e; $(modules_built); dir="$(INSTALL_MOD_PATH)/lib/modules/$$release/updates"; \
	echo "  INSTALL $$dir"; \
	$(INSTALL) -d "$$dir"; \
	for m in $(DRIVERS); do $(INSTALL) -m 0644 "$$out/src/$$m/$$m.ko" "$$dir"; done; \
	scripts/depmod "$$release" "$(INSTALL_MOD_PATH)"
endif

# What drivers in other trees are built with, for the same kernel.
install-headers: modules install_uapi
	@set -e; $(modules_built); \
	scripts/install-headers "$$out" "$(INSTALL_MOD_PATH)/lib/modules/$$release/hmm-cdm"

install_uapi:
	$(INSTALL) -D -m 0644 include/uapi/linux/hmm_cdm.h \
		$(DESTDIR)$(INCLUDEDIR)/linux/hmm_cdm.h

install_udev:
	$(INSTALL) -d $(DESTDIR)$(UDEVDIR)
	$(INSTALL) -m 0644 $(wildcard tools/udev/*.rules) $(DESTDIR)$(UDEVDIR)

# With the compiler of this machine, as the library is linked against its C library.
install-tools:
	+$(MAKE) -C tools install

uninstall:
	@set -e; $(modules_built); dir="$(INSTALL_MOD_PATH)/lib/modules/$$release"; \
	echo "  REMOVE  $$dir"; \
	for m in $(DRIVERS); do \
		rm -f "$$dir/updates/$$m.ko" "$$dir/updates/src/$$m/$$m.ko"*; \
		[ ! -d "$$dir/updates/src/$$m" ] || rmdir "$$dir/updates/src/$$m"; \
	done; \
	rmdir "$$dir/updates/src" "$$dir/updates" 2>/dev/null || true; \
	rm -rf "$$dir/hmm-cdm"; \
	scripts/depmod "$$release" "$(INSTALL_MOD_PATH)"
	rm -f $(patsubst tools/udev/%,$(DESTDIR)$(UDEVDIR)/%,$(wildcard tools/udev/*.rules)) \
		$(DESTDIR)$(INCLUDEDIR)/linux/hmm_cdm.h
	+$(MAKE) -C tools uninstall

clean:
	rm -rf $(BUILD)

# The cache serves every checkout of this user: the next run makes it anew.
distclean: clean
	@$(LAB) distclean

help:
	@echo 'Targets (as root, but for those with KDIR=):'
	@echo '  modules    build the modules against the stock Debian kernel, into build/module'
	@echo '             (default); with KDIR=/path/to/kernel/build against that tree, with'
	@echo '             your own toolchain, into build/kdir'
	@echo '  rust-analyzer, compile_commands.json  both files for editors, in this directory'
	@echo '  demo       boot the stock kernel in QEMU and run the main job; INPUT=FILE names'
	@echo '             a text to work on'
	@echo '  check      every test; ends with "N passed, M failed". TESTS="NAME..." for some, which'
	@echo '             takes seconds: programs of tests/selftests, or lab and unit (unit tests),'
	@echo '             kunit (with KERNEL=debug), cdmrun, demo, examples'
	@echo '  conformance  the kernel'"'"'s own HMM tests on our driver, cdm_dmirror, and on the one'
	@echo '             that they come with, test_hmm, side by side; RUNS=N whole runs on ours'
	@echo '             (3) before one in random order, SEED=N for the same order again,'
	@echo '             REFERENCE=no without test_hmm, TESTS=NAME with NAME in their name'
	@echo '  bench      what moving and sharing memory costs in instructions, beside test_hmm and'
	@echo '             beside the bare calls of the core mm, and which targets are met; into'
	@echo '             build/bench (4 minutes); QUICK=yes for a look at whether it works'
	@echo '  check-all  every test on every kernel and machine there is (an hour)'
	@echo '  kselftest  tests/selftests built, packed and run by the kernel'"'"'s own makefiles and'
	@echo '             run_kselftest.sh; TESTS=NAMES for some of them'
	@echo '  selftests-mm  the kernel'"'"'s own tests of gup, copy on write, mremap, userfaultfd, ...,'
	@echo '             on system memory and on a node, and where the two differ'
	@echo '  lint       rustfmt, clippy, checkpatch, kernel-doc, shellcheck, ruff'
	@echo '  hooks      have git commit lint what is staged, in a few seconds'
	@echo '  shell      a shell in a guest that has the modules loaded'
	@echo '             modules, demo, check, conformance, selftests-mm, shell and install take'
	@echo '             another kernel or machine than the cloud kernel of Debian on x86-64 (each'
	@echo '             set up once, 10 minutes where it has to be compiled):'
	@echo '               FLAVOUR=amd64, FLAVOUR=rt-amd64   Debian'"'"'s other kernels'
	@echo '               KERNEL=debug        with KASAN, lockdep, kmemleak, ...'
	@echo '               ARCH=powerpc        POWER9; with MACHINE=powernv9 (bare metal, device'
	@echo '                                   tree; default) or pseries (under a hypervisor),'
	@echo '                                   MMU=radix (default) or hash, PAGES=64K (default) or 4K'
	@echo '  cdm-delta  lines of code from private to coherent memory in samples/c; fails at 100'
	@echo '  install    modules, headers, udev rule: hmm_cdm and cdm_emu, the emulated'
	@echo '             accelerator, which is a device for machines without one and does nothing'
	@echo '             until it is loaded; not cdm_dmirror and cdm_kunit, which are tests'
	@echo '  install-headers  what other drivers are built with, into'
	@echo '             /lib/modules/<release>/hmm-cdm, and the uapi header'
	@echo '  install-tools  cdmrun, cdm-demo, libhmmcdm and their manual pages, built with the'
	@echo '             compiler of this machine'
	@echo '  uninstall  remove what the three have installed'
	@echo '             PREFIX= (/usr/local), BINDIR=, LIBDIR=, INCLUDEDIR=, MANDIR=, UDEVDIR= say'
	@echo '             where to, DESTDIR= and INSTALL_MOD_PATH= put a directory before that'
	@echo '  clean      remove build/'
	@echo '  distclean  remove build/ and the cache of toolchain and kernel, which is in'
	@echo '             $${XDG_CACHE_HOME:-~/.cache}/hmm-cdm and serves all checkouts'
