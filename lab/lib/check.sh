# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make check`: all tests, or those of TESTS=. A test is a program of tests/selftests, or
#	lab	unit tests of the lab itself (tests/lab)
#	unit	unit tests of the driver's pure logic (tests/unit)
#	kunit	the modules' KUnit suites (KERNEL=debug)
#	cdmrun	Debian's programs under cdmrun
#	demo	cdm-demo, and whether it notices mistakes
#	examples	tools/examples, and the tests and examples of the crates

# Whether the machine's device tree describes the device memory.
TREE=n

# check [TEST]...
check() {
	local list

	promise_count "0 passed, 1 failed"
	list=$(programs tests/selftests "$TEST_DIR" "KERNEL=$NAME" "TREE=$TREE" -s list) ||
		die "tests/selftests does not list its programs"
	mapfile -t SELFTESTS <<<"$list"
	EXAMPLES=(--plain "/out/$TOOL_DIR/examples/first")
	# Where the root has a standard library of Rust for the guest.
	[ -n "${FOREIGN_ARCH:-}" ] || EXAMPLES+=(--plain "/out/$TOOL_DIR/hmmcdm-sum"
		--plain "/out/$TOOL_DIR/hmmcdm-test --ignored")
	if [ $# -eq 0 ]; then check_all; else check_some "$@"; fi
}

# check_run OPTION...: run what the options name.
check_run() {
	local bind=()

	[ -z "${USERLAND:-}" ] || bind=(-b "ro /input $USERLAND")
	promise_count ""
	run enter "${bind[@]}" "${VM[@]}" check "${VM_OPTIONS[@]}" "${TWO_REGIONS[@]}" "$@"
}

check_all() {
	local options=(--host lab --host unit)

	userland_need
	build_all tests
	# Debian's kernels have no KUnit.
	[ "$KIND" != debug ] || options+=(--kunit)
	sample_modules
	options+=("${SAMPLES[@]}" --userland /input/userland.tar --tools "/out/$TOOL_DIR"
		--demo "/out/$TOOL_DIR/cdm-demo" "${EXAMPLES[@]}")
	check_run "${options[@]}" "${SELFTESTS[@]/#//out/$TEST_DIR/}"
}

# check_some TEST...: build and run only these.
check_some() {
	local test options=() paths=() parts=()

	for test; do
		case $test in
		lab | unit) options+=(--host "$test") ;;
		kunit)
			[ "$KIND" = debug ] ||
				die "TESTS=kunit: Debian's kernels have no KUnit; add KERNEL=debug"
			options+=(--kunit)
			parts+=(modules)
			;;
		cdmrun)
			options+=(--userland /input/userland.tar --tools "/out/$TOOL_DIR")
			parts+=(modules tools)
			;;
		demo)
			options+=(--demo "/out/$TOOL_DIR/cdm-demo")
			parts+=(modules tools)
			;;
		examples)
			options+=("${EXAMPLES[@]}")
			parts+=(modules tools crates)
			;;
		*)
			[[ " ${SELFTESTS[*]} " == *" $test "* ]] ||
				die "TESTS=$test: no such test here; there are lab unit kunit cdmrun" \
					"demo examples ${SELFTESTS[*]}"
			paths+=("/out/$TEST_DIR/$test")
			parts+=(modules tests)
			# They load the drivers of samples/.
			[[ ! $test =~ ^(samples|fail_alloc)$ ]] || parts+=(samples)
			;;
		esac
	done
	[[ " $* " != *" cdmrun "* ]] || userland_need
	build_parts "${parts[*]}" "${paths[@]}"
	SAMPLES=()
	[[ " ${parts[*]} " != *" samples "* ]] || sample_modules
	check_run "${SAMPLES[@]}" "${options[@]}" "${paths[@]}"
}
