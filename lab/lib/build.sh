# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Build what guests run, inside the root. Sources are only read (MO= gives Kbuild another
# output directory); everything is made in build/:
#	build/module/	hmm_cdm.ko and the drivers on top of it
#	build/tests/	the kselftests
#	build/tools/	programs for users, cdm-demo among them
#	build/samples/	the drivers of samples/, built out of tree
#	build/conformance/	the kernel's HMM tests, and in module/ its drivers for them
#	build/mm/	the kernel's mm tests, and in module/ the module that some need
#
# The output for other kernels than the stock one has the kernel's name added, as in
# build/module-debug/.

# How modules are built for the stock kernel; kernel-cache.sh sets this for the others.
KERNEL_MAKE=("CC=$PIN_CC")
PATIENCE=1
# The compiler of the guest's programs.
USER_CC=$PIN_HOSTCC

# build_for NAME: sets the output directories for that kernel.
build_for() {
	local suffix=

	[ "$1" = stock ] || suffix=-$1
	MODULE_DIR=module$suffix TEST_DIR=tests$suffix TOOL_DIR=tools$suffix
	SAMPLE_DIR=samples$suffix
	MM_DIR=mm$suffix
}

# kbuild DIR [VAR=VALUE]... TARGET: run Kbuild with its output in build/DIR.
kbuild() {
	local dir=$1 make
	shift

	make=(make --no-print-directory -C /kernel/build M=/src "${KERNEL_MAKE[@]}" "-j$(nproc)")
	[ -f "$TOP/Kbuild" ] || die "$TOP has no Kbuild: the checkout is not complete"
	# There is no BTF, as that takes the stock kernel's vmlinux, and no need for it.
	# In a subshell: enter() does not return.
	(enter "${make[@]}" "MO=/out/$dir" "$@") 2> >(grep -v '^Skipping BTF generation' >&2) || return
	# All modules side by side.
	find "$OUT/$dir" -mindepth 2 -name '*.ko' -exec ln -srft "$OUT/$dir" {} +
}

# build_modules [VAR=VALUE]...
build_modules() {
	lock "$OUT/lock"
	run kbuild "$MODULE_DIR" "$@" modules ||
		die "the modules do not build (see above)"
	unlock
	say "build/$MODULE_DIR has the modules for $RELEASE"
}

# programs DIR OUTPUT [ARGUMENT]...: run make for the userspace programs in DIR, with its
# output in build/OUTPUT.
programs() {
	local dir=$1 out=$2
	shift 2

	enter make --no-print-directory -C "/src/$dir" "OUTPUT=/out/$out" \
		KSRC=/kernel/source "CC=$USER_CC" "-j$(nproc)" "$@"
}

# build_samples: the drivers of samples/, against what make install-headers installs.
build_samples() {
	local installed=$SCRATCH/installed

	"$TOP/scripts/install-headers" "$OUT/$MODULE_DIR" \
		"$installed/lib/modules/$RELEASE/hmm-cdm" || return
	# A sample that is not built now must not be loaded later.
	rm -rf "${OUT:?}/$SAMPLE_DIR"
	mkdir -p "$OUT/$SAMPLE_DIR"
	enter -b "ro /input $installed" -b "rw /mnt $OUT/$SAMPLE_DIR" \
		bash /src/lab/lib/samples.sh /input /mnt "${KERNEL_MAKE[@]}" \
		2> >(grep -v '^Skipping BTF generation' >&2)
}

# build_step WHAT COMMAND...
build_step() {
	local what=$1
	shift

	STEP_TAIL=200 step "build $what" "$@" || die "cannot build $what (see above)"
}

# build_parts 'PART...' [TEST]...: build these parts, of the tests only those given by path.
build_parts() {
	local parts=" $1 "
	shift

	lock "$OUT/lock"
	[[ $parts != *" modules "* ]] || build_step "the modules" kbuild "$MODULE_DIR" modules
	if [[ $parts == *" tools "* ]]; then
		build_step "the tools" programs tools "$TOOL_DIR"
		build_step "a program for cdmrun" programs tests/tools "$TOOL_DIR"
	fi
	[[ $parts != *" tests "* ]] ||
		build_step "the tests" programs tests/selftests "$TEST_DIR" "PATIENCE=$PATIENCE" "$@"
	# Where the root has a standard library of Rust for the guest.
	[[ $parts != *" crates "* || -n ${FOREIGN_ARCH:-} ]] ||
		build_step "the crates" programs tools "$TOOL_DIR" crates \
			"CARGOFLAGS=--config /src/lab/cargo.toml"
	[[ $parts != *" samples "* ]] || build_step "the samples out of tree" build_samples
	unlock
}

# build_all [tests]: modules and tools, and the tests with the samples.
build_all() {
	build_parts "modules tools ${1:+crates tests samples}"
}

# build_mm: modules, the kernel's mm tests, and the module that some of them need.
build_mm() {
	lock "$OUT/lock"
	build_step "the modules" kbuild "$MODULE_DIR" modules
	build_step "gup_test" kbuild "$MM_DIR/module" M=/src/tests/conformance modules
	build_step "the kernel's mm tests" programs tests/mm "$MM_DIR"
	unlock
}
