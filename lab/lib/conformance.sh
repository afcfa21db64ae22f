# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make conformance`: the kernel's HMM tests (tools/testing/selftests/mm/hmm-tests.c),
# unmodified, on cdm_dmirror.ko and on the kernel's lib/test_hmm.c. From the environment:
#	RUNS=N		runs of all tests on ours, before one in random order
#	SEED=N		repeats a random order
#	REFERENCE=no	leaves out test_hmm

RUNS=${RUNS:-3} SEED=${SEED:-} REFERENCE=${REFERENCE:-yes}

# Regions of the size that test_hmm uses (DEVMEM_CHUNK_SIZE), and RAM for its benchmark with
# huge pages everywhere.
SPM_MACHINE=(--ram 2176 --region 256 --region 256)

# conformance_variables: check them, before anything that takes long.
conformance_variables() {
	[[ $RUNS =~ ^[1-9][0-9]*$ ]] || die "RUNS=$RUNS is not a number from 1 on"
	[[ $SEED =~ ^[0-9]*$ ]] || die "SEED=$SEED is not a number"
	[[ $REFERENCE =~ ^(yes|no)$ ]] || die "REFERENCE=$REFERENCE is neither yes nor no"
}

# conformance_build DIR: the kernel's HMM tests and test drivers, into build/DIR.
conformance_build() {
	local dir=$1

	lock "$OUT/lock"
	build_step "the kernel's test drivers" \
		kbuild "$dir/module" M=/src/tests/conformance modules
	build_step "the kernel's HMM tests" programs tests/conformance "$dir"
	unlock
}

# conformance [TEST]...: all tests, or those with TEST in their name.
conformance() {
	local dir=${MODULE_DIR/#module/conformance} options

	options=(--conformance "/out/$dir" --runs "$RUNS")
	[ -z "$SEED" ] || options+=(--seed "$SEED")
	[ "$REFERENCE" = yes ] || options+=(--no-reference)
	# These kernels have all options that the tests need.
	[[ ! $NAME =~ ^(stock|amd64)$ ]] || options+=(--no-skips)
	promise_count "0 passed, 1 failed"
	build_modules
	conformance_build "$dir"
	promise_count ""
	run enter "${VM[@]}" conformance "${VM_OPTIONS[@]}" "${SPM_MACHINE[@]}" "${options[@]}" "$@"
}
