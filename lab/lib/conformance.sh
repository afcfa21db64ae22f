# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The kernel's own HMM tests (tools/testing/selftests/mm/hmm-tests.c), unmodified, on
# cdm_dmirror.ko and on the kernel's own lib/test_hmm.c, side by side. From the
# environment:
#	RUNS=N		of all tests on ours, in order; then one more in random order
#	SEED=N		for the same random order again
#	REFERENCE=no	ours alone

RUNS=${RUNS:-3} SEED=${SEED:-} REFERENCE=${REFERENCE:-yes}

# The regions are what test_hmm takes of one (DEVMEM_CHUNK_SIZE), and RAM is what its
# benchmark needs with huge pages wherever there can be some.
SPM_MACHINE=(--ram 2176 --region 256 --region 256)

# conformance_variables: that they make sense, before anything that takes long.
conformance_variables() {
	[[ $RUNS =~ ^[1-9][0-9]*$ ]] || die "RUNS=$RUNS is not a number from 1 on"
	[[ $SEED =~ ^[0-9]*$ ]] || die "SEED=$SEED is not a number"
	[[ $REFERENCE =~ ^(yes|no)$ ]] || die "REFERENCE=$REFERENCE is neither yes nor no"
}

# conformance_build DIR: what the kernel's source has, for the kernel that is booted.
conformance_build() {
	local dir=$1

	lock "$OUT/lock"
	STEP_TAIL=200 step "build the kernel's test drivers" \
		kbuild "$dir/module" M=/src/tests/conformance modules ||
		die "the kernel's test drivers do not build (see above)"
	STEP_TAIL=200 step "build the kernel's HMM tests" \
		programs tests/conformance "$dir" ||
		die "the kernel's HMM tests do not build (see above)"
	unlock
}

# conformance [TEST]...: all tests, or those with TEST in their name.
conformance() {
	local dir=${MODULE_DIR/#module/conformance} options

	options=(--conformance "/out/$dir" --runs "$RUNS")
	[ -z "$SEED" ] || options+=(--seed "$SEED")
	[ "$REFERENCE" = yes ] || options+=(--no-reference)
	# These have all that the tests ask for.
	[[ ! $NAME =~ ^(stock|amd64)$ ]] || options+=(--no-skips)
	promise_count "0 passed, 1 failed"
	build_modules
	conformance_build "$dir"
	promise_count ""
	run enter "${VM[@]}" conformance "${VM_OPTIONS[@]}" "${SPM_MACHINE[@]}" "${options[@]}" "$@"
}
