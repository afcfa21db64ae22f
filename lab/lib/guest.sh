# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Boot guests, by lab/vm inside the root: the demo, programs, the kernel's mm tests, or a
# shell. Sizes of device memory are in MiB.

VM=(env PYTHONPATH=/src/lab python3 -m vm)
# The machine and the kernel; see guest_options.
VM_OPTIONS=()
ONE_REGION=(--region 256)
# The second is small, as tests fill it several times.
TWO_REGIONS=(--region 256 --region 32)

# guest_options: complete them, once the kernel is known.
guest_options() {
	# A window has 16 MiB there, and eviction needs eight of them.
	[ "${MMU:-}" != hash ] || TWO_REGIONS=(--region 256 --region 128)
	VM_OPTIONS+=(--kernel "$NAME" --patience "$PATIENCE")
}

# demo_input [FILE]: check it, before anything that takes long.
demo_input() {
	[ -z "${1:-}" ] || { [ -f "$1" ] && [ -r "$1" ]; } ||
		die "INPUT=$1 is not a readable file"
}

# guest_demo [FILE]: cdm-demo on a text, FILE or the root's copy of the GPL.
guest_demo() {
	local file=${1:-} bind=() text=()

	if [ -n "$file" ]; then
		file=$(realpath "$file")
		bind=(-b "ro /input $(dirname "$file")")
		text=(--text "/input/$(basename "$file")")
	fi
	build_all
	run enter "${bind[@]}" "${VM[@]}" demo "${VM_OPTIONS[@]}" "${ONE_REGION[@]}" "${text[@]}" \
		--demo "/out/$TOOL_DIR/cdm-demo"
}

# sample_modules: sets SAMPLES to options for the drivers of samples/ that are built.
sample_modules() {
	local module

	SAMPLES=()
	for module in "$OUT/$SAMPLE_DIR"/*.ko; do
		[ ! -f "$module" ] || SAMPLES+=(--module "/out/${module#"$OUT"/}")
	done
}

# guest_run PROGRAM...: statically linked TAP programs below build/, or `kunit` or `cdmrun`,
# as for check().
guest_run() {
	local p paths=() bind=()

	[ $# -gt 0 ] || die "name programs below build/, such as build/tests/region"
	for p; do
		if [ "$p" = kunit ]; then
			paths+=(--kunit)
			continue
		fi
		if [ "$p" = cdmrun ]; then
			userland_need
			bind=(-b "ro /input $USERLAND")
			paths+=(--userland /input/userland.tar --tools "/out/$TOOL_DIR")
			continue
		fi
		p=$(realpath -m "$p")
		[[ $p == "$OUT"/* ]] || die "$p is not below $OUT"
		paths+=("/out/${p#"$OUT"/}")
	done
	sample_modules
	run enter "${bind[@]}" "${VM[@]}" check "${VM_OPTIONS[@]}" "${TWO_REGIONS[@]}" \
		"${SAMPLES[@]}" "${paths[@]}"
}

# guest_mm [NAME]...: the kernel's mm tests, all or those named, on system memory and on a
# node, and where the two differ.
guest_mm() {
	local name names tests=() options=(--cpus 4)

	# Some tests need threads, and a second NUMA node with RAM. With ARCH=powerpc all RAM is
	# in one piece.
	[ -n "${MACHINE:-}" ] || options+=(--more 256)
	promise_count "0 passed, 1 failed"
	build_mm
	[ $# -gt 0 ] || mapfile -t names < <(programs tests/mm "$MM_DIR" -s list)
	for name in "${@:-${names[@]}}"; do
		tests+=("/out/$MM_DIR/$name")
	done
	promise_count ""
	run enter "${VM[@]}" compare "${VM_OPTIONS[@]}" "${TWO_REGIONS[@]}" "${options[@]}" \
		--module "/out/$MM_DIR/module/gup_test.ko" "${tests[@]}"
}

# guest_shell: a shell in a guest with the modules, tests and tools.
guest_shell() {
	local p paths=()

	build_all tests
	for p in "$OUT/$TEST_DIR"/* "$OUT/$TOOL_DIR"/*; do
		[ -f "$p" ] && [ -x "$p" ] && paths+=("/out/${p#"$OUT"/}")
	done
	sample_modules
	# In the foreground, as it reads the terminal.
	(enter "${VM[@]}" shell "${VM_OPTIONS[@]}" "${TWO_REGIONS[@]}" "${SAMPLES[@]}" \
		"${paths[@]}")
}
