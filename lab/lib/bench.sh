# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make bench`: what everything costs in instructions, beside the kernel's own
# lib/test_hmm.c and beside the bare calls of the core mm. From the environment:
#	QUICK=yes	small sizes and few samples: whether it works, in half a minute
#	DOCS=yes	the table and the plots go to Documentation/images, too

QUICK=${QUICK:-no} DOCS=${DOCS:-no}

# Two regions for our driver, two for test_hmm, which takes 256 MiB of each, and two
# for the floor. The firmware has its tables at the end of RAM, so there is some more.
BENCH_MACHINE=(--ram 1472 --more 64 --region 256 --region 64 --region 256 --region 256
	--region 256 --region 64)

# What draws the plots: in no suite of Debian that the root has, so from PyPI.
MATPLOTLIB=3.10.7

# bench_variables: that they make sense, before anything that takes long.
bench_variables() {
	[[ $QUICK =~ ^(yes|no)$ ]] || die "QUICK=$QUICK is neither yes nor no"
	[[ $DOCS =~ ^(yes|no)$ ]] || die "DOCS=$DOCS is neither yes nor no"
	[ "$KIND-$FLAVOUR-${MACHINE:-}" = "stock-$PIN_KERNEL_FLAVOUR-" ] || die "make bench is done with the stock kernel, on x86-64"
}

# matplotlib_need: sets PLOTTER to its directory, or to nothing if it cannot be had.
matplotlib_need() {
	local tmp=$SCRATCH/matplotlib PIP

	PLOTTER=$CACHE/matplotlib-$MATPLOTLIB
	[ ! -d "$PLOTTER" ] || return 0
	mkdir -p "$tmp"
	pip_settings "$SCRATCH/pip"
	if step "download matplotlib $MATPLOTLIB" enter -n -b "rw /opt $tmp" "${PIP[@]}" \
		timeout -k 5 300 python3 -m pip install --quiet --no-cache-dir --target /opt \
		--only-binary :all: "matplotlib==$MATPLOTLIB"; then
		# Another run may have been faster.
		mv -T "$tmp" "$PLOTTER" 2>/dev/null || [ -d "$PLOTTER" ]
	else
		say "matplotlib $MATPLOTLIB could not be installed from PyPI (see above): there are no plots"
		PLOTTER=
	fi
}

bench_build() {
	lock "$OUT/lock"
	STEP_TAIL=200 step "build the modules" kbuild "$MODULE_DIR" modules ||
		die "the modules do not build (see above)"
	STEP_TAIL=200 step "build the kernel's test drivers" \
		kbuild conformance/module M=/src/tests/conformance modules ||
		die "the kernel's test drivers do not build (see above)"
	STEP_TAIL=200 step "build the floor" kbuild bench/module M=/src/bench modules ||
		die "the floor does not build (see above)"
	STEP_TAIL=200 step "build cdm-bench" programs bench bench ||
		die "cdm-bench does not build (see above)"
	unlock
}

bench() {
	local arguments=() status=0

	[ "$QUICK" = no ] || arguments=(quick)
	promise_count "0 passed, 1 failed"
	bench_build
	[ "$QUICK" = yes ] || matplotlib_need
	promise_count ""
	run enter "${VM[@]}" bench "${VM_OPTIONS[@]}" "${BENCH_MACHINE[@]}" --bench /out/bench \
		--conformance /out/conformance "${arguments[@]}" || status=$?
	if [ "$status" = 0 ] && [ -n "${PLOTTER:-}" ]; then
		run enter -b "ro /opt $PLOTTER" -e PYTHONPATH=/opt:/src/lab -e MPLCONFIGDIR=/tmp \
			python3 -m vm.plot /out/bench/bench.csv /out/bench || return
		[ "$DOCS" = no ] || cp "$OUT"/bench/bench.txt "$OUT"/bench/*.svg "$TOP/Documentation/images"
	fi
	return "$status"
}
