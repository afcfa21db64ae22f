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

# Two lists, made at the same time, of about the same length.
check-all:
	@scripts/make-all 'check KERNEL=debug' 'check FLAVOUR=amd64' 'check FLAVOUR=rt-amd64' \
		kselftest selftests-mm conformance 'bench QUICK=yes' \
		'conformance ARCH=powerpc MACHINE=pseries' -- \
		lint check 'check ARCH=powerpc' 'check ARCH=powerpc MMU=hash' \
		'check ARCH=powerpc MACHINE=pseries' 'check ARCH=powerpc MACHINE=pseries MMU=hash' \
		'check ARCH=powerpc PAGES=4K' 'check ARCH=powerpc MMU=hash PAGES=4K' \
		'check ARCH=powerpc MACHINE=pseries PAGES=4K' \
		'conformance ARCH=powerpc' 'conformance ARCH=powerpc MMU=hash'

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
	@echo 'Targets. They need root, except with KDIR=, and hooks, cdm-delta and clean.'
	@echo
	@echo 'Build and try:'
	@echo '  modules          the modules, for the stock Debian kernel, into build/module (default);'
	@echo '                   with KDIR=/path/to/kernel/build for that tree, with your toolchain, into'
	@echo '                   build/kdir'
	@echo '  rust-analyzer, compile_commands.json'
	@echo '                   files for editors, in this directory'
	@echo '  demo             run cdm-demo on the stock kernel in QEMU; INPUT=FILE for a text of your own'
	@echo '  shell            a shell in a guest with the modules loaded'
	@echo
	@echo 'Test:'
	@echo '  check            all tests; ends with "N passed, M failed". TESTS="NAME..." runs some, one in'
	@echo '                   half a minute: programs of tests/selftests, lab and unit (unit tests),'
	@echo '                   kunit (with KERNEL=debug), cdmrun, demo, examples'
	@echo '  conformance      the kernel'"'"'s HMM tests on our cdm_dmirror and on its own test_hmm;'
	@echo '                   RUNS=N runs on ours (3) before one in random order, SEED=N repeats that'
	@echo '                   order, REFERENCE=no leaves out test_hmm, TESTS=NAME selects by name'
	@echo '  selftests-mm     the kernel'"'"'s mm tests (gup, copy on write, mremap, userfaultfd, ...) on'
	@echo '                   system memory and on a node, compared'
	@echo '  kselftest        tests/selftests, built, packed and run by the kernel'"'"'s makefiles and'
	@echo '                   run_kselftest.sh; TESTS="NAME..." runs some'
	@echo '  bench            costs in instructions, beside test_hmm and the bare calls of the core mm,'
	@echo '                   and which targets are met, into build/bench (4 minutes); QUICK=yes for a'
	@echo '                   quick try, DOCS=yes to update Documentation/images'
	@echo '  lint             rustfmt, clippy, checkpatch, kernel-doc, shellcheck, ruff, ...'
	@echo '  hooks            have git commit lint what is staged, in a few seconds'
	@echo '  cdm-delta        lines of code from private to coherent memory in samples/c; fails at 100'
	@echo '  check-all        lint, check, kselftest, selftests-mm and conformance, on most kernels and'
	@echo '                   machines (an hour)'
	@echo
	@echo 'Install:'
	@echo '  install          modules, headers and udev rule: hmm_cdm, and cdm_emu, an emulated'
	@echo '                   accelerator, which does nothing until it is loaded'
	@echo '  install-headers  what other drivers are built with, into /lib/modules/<release>/hmm-cdm,'
	@echo '                   and the uapi header'
	@echo '  install-tools    cdmrun, cdm-demo, libhmmcdm and their manual pages, built with the compiler'
	@echo '                   of this machine'
	@echo '  uninstall        remove all of that; takes the variables of the installation'
	@echo '  PREFIX= (/usr/local), BINDIR=, LIBDIR=, INCLUDEDIR=, MANDIR= and UDEVDIR= choose the'
	@echo '  directories; DESTDIR= and INSTALL_MOD_PATH= are put in front.'
	@echo
	@echo 'Clean:'
	@echo '  clean            remove build/'
	@echo '  distclean        remove build/ and the cache of toolchains and kernels, which is in'
	@echo '                   $${XDG_CACHE_HOME:-~/.cache}/hmm-cdm and serves all checkouts'
	@echo
	@echo 'Kernels and machines, for modules, demo, shell, check, conformance, selftests-mm, kselftest and'
	@echo 'install; the default is Debian'"'"'s cloud kernel on x86-64. Each is set up once, which takes 10'
	@echo 'minutes if it has to be compiled.'
	@echo '  FLAVOUR=amd64, FLAVOUR=rt-amd64'
	@echo '                   Debian'"'"'s other kernels'
	@echo '  KERNEL=debug     with KASAN, lockdep, kmemleak, ...'
	@echo '  ARCH=powerpc     POWER9: MACHINE=powernv9 (bare metal, device tree; default) or pseries'
	@echo '                   (under a hypervisor), MMU=radix (default) or hash, PAGES=64K (default) or 4K'
