# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make bench`: costs in instructions, beside those of lib/test_hmm.c and of the bare calls
# of the core mm. From the environment:
#	QUICK=yes	small sizes and few samples, to see in half a minute that it works
#	DOCS=yes	copies the table and the plots to Documentation/images

QUICK=${QUICK:-no} DOCS=${DOCS:-no}

# Two regions for our driver, two for test_hmm, which takes 256 MiB of each, and two for the
# floor. The firmware keeps its tables at the end of memory, so there is more RAM there.
BENCH_MACHINE=(--ram 1472 --more 64 --region 256 --region 64 --region 256 --region 256
	--region 256 --region 64)

# For the plots. From PyPI, as none of the root's suites has this version.
MATPLOTLIB=3.10.7

# bench_variables: check them, before anything that takes long.
bench_variables() {
	[[ $QUICK =~ ^(yes|no)$ ]] || die "QUICK=$QUICK is neither yes nor no"
	[[ $DOCS =~ ^(yes|no)$ ]] || die "DOCS=$DOCS is neither yes nor no"
	[ "$KIND-$FLAVOUR-${MACHINE:-}" = "stock-$PIN_KERNEL_FLAVOUR-" ] ||
		die "make bench is for the stock kernel, on x86-64"
}

# matplotlib_need: sets PLOTTER to its directory, or to nothing if PyPI does not answer.
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
	build_step "the modules" kbuild "$MODULE_DIR" modules
	build_step "the kernel's test drivers" \
		kbuild conformance/module M=/src/tests/conformance modules
	build_step "the floor" kbuild bench/module M=/src/bench modules
	build_step "cdm-bench" programs bench bench
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
