# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make kselftest`: tests/selftests as part of the kernel's selftests. The kernel's makefiles
# build and pack them into build/kselftest/kselftest.tar, its run_kselftest.sh runs them in a
# guest.

# kselftest_build DIR: build modules and samples, and the archive in build/DIR.
kselftest_build() {
	local dir=$1

	lock "$OUT/lock"
	build_step "the modules" kbuild "$MODULE_DIR" modules
	build_step "the samples out of tree" build_samples
	mkdir -p "$SCRATCH/kselftest" "$OUT/$dir"
	build_step "the tests in the kernel's tree" \
		enter -b "rw /mnt $SCRATCH/kselftest" bash /src/lab/lib/kselftest-tar.sh \
		/mnt "/out/$dir" "CC=$USER_CC" "PATIENCE=$PATIENCE"
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
