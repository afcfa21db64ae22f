# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make kselftest`: tests/selftests by the kernel's own means. Its makefiles build and
# pack the tests, its run_kselftest.sh runs them in a guest.
#	build/kselftest/	the archive, kselftest.tar; for other kernels than the
#			stock one with that kernel's name behind it

# kselftest_build DIR: modules, samples, and the archive in build/DIR.
kselftest_build() {
	local dir=$1

	lock "$OUT/lock"
	STEP_TAIL=200 step "build the modules" kbuild "$MODULE_DIR" modules ||
		die "the modules do not build (see above)"
	STEP_TAIL=200 step "build the samples out of tree" build_samples ||
		die "the samples do not build (see above)"
	mkdir -p "$SCRATCH/kselftest" "$OUT/$dir"
	STEP_TAIL=200 step "build the tests in the kernel's tree" \
		enter -b "rw /mnt $SCRATCH/kselftest" bash /src/lab/lib/kselftest-tar.sh \
		/mnt "/out/$dir" "CC=$USER_CC" "PATIENCE=$PATIENCE" ||
		die "the tests do not build in the kernel's tree (see above)"
	unlock
}

# kselftest [NAME]...: all tests, or those named.
kselftest() {
	local dir=${TEST_DIR/#tests/kselftest}

	promise_count "0 passed, 1 failed"
	kselftest_build "$dir"
	promise_count ""
	sample_modules
	run enter "${VM[@]}" kselftest "${VM_OPTIONS[@]}" "${TWO_REGIONS[@]}" "${SAMPLES[@]}" \
		--kselftest "/out/$dir/kselftest.tar" "$@"
}
