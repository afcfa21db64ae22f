# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Build what the guest runs, inside the root. The checkout's sources are only
# read (MO= keeps Kbuild's output apart from them); everything lands in build/:
#	build/module/	hmm_cdm.ko and the drivers on top of it
#	build/tests/	the kselftests
#	build/tools/	programs for users, cdm-demo among them
#	build/samples/	the drivers of samples/, built out of tree
#	build/conformance/	the kernel's HMM tests, and module/ with its own drivers
#			for them
#	build/mm/	the kernel's own tests of memory management, and in module/ that
#			of the kernel that some of them need

# For other kernels than the stock one the names have that of the kernel behind
# them, as in build/module-debug/.

# Of the kernel that modules are built for; see kernel-cache.sh for others than this.
KERNEL_MAKE=("CC=$PIN_CC")
PATIENCE=1
# The compiler of what runs in the guest.
USER_CC=$PIN_HOSTCC

# build_for NAME: where the output goes.
build_for() {
	local suffix=

	[ "$1" = stock ] || suffix=-$1
	MODULE_DIR=module$suffix TEST_DIR=tests$suffix TOOL_DIR=tools$suffix
	SAMPLE_DIR=samples$suffix
	MM_DIR=mm$suffix
}

# kbuild DIR [VAR=VALUE]... TARGET: Kbuild with its output in build/DIR.
kbuild() {
	local dir=$1 make
	shift

	make=(make --no-print-directory -C /kernel/build M=/src "${KERNEL_MAKE[@]}" "-j$(nproc)")
	[ -f "$TOP/Kbuild" ] || die "there is no Kbuild in $TOP: this is not a complete checkout"
	# BTF of modules needs the stock kernel's vmlinux; nothing here needs it.
	# enter() does not return.
	(enter "${make[@]}" "MO=/out/$dir" "$@") 2> >(grep -v '^Skipping BTF generation' >&2) || return
	# Side by side, whatever directories they are made in.
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

# programs DIR OUTPUT [VAR=VALUE]...: make in a directory of userspace programs.
programs() {
	local dir=$1 out=$2
	shift 2

	enter make --no-print-directory -C "/src/$dir" "OUTPUT=/out/$out" \
		KSRC=/kernel/source "CC=$USER_CC" "-j$(nproc)" "$@"
}

# build_samples: the drivers of samples/, against nothing but what is installed.
build_samples() {
	local installed=$SCRATCH/installed

	"$TOP/scripts/install-headers" "$OUT/$MODULE_DIR" \
		"$installed/lib/modules/$RELEASE/hmm-cdm" || return
	# What is not built now must not be loaded later.
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
			"CARGOFLAGS=--config /src/scripts/cargo.toml"
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
