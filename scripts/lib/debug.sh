# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034	# what other parts of the lab read
#
# The debug kernel (`make check KERNEL=debug`): the stock kernel's source,
# compiled with every checker that can see a mistake of the modules'. With clang,
# as KASAN and Rust do not go together otherwise.
#
# In the cache: debug-KEY/ with
#	image/vmlinuz	the kernel
#	build/		the build tree for modules (make -C /kernel/build M=...)
#	source/		empty: where enter.sh mounts the stock kernel's source
#	release		e.g. 7.3.4-hmm-cdm-debug

DEBUG_CC=clang-19
# How many times the stock kernel's time limits everything gets there.
DEBUG_PATIENCE=6
# The source is what the pins name, so the stock kernel's own scripts do not
# count: this one takes ten minutes.
DEBUG_INPUTS=("${ROOT_INPUTS[@]}" "$TOP/scripts/lib/compile.sh"
	"$TOP/scripts/kernels/debug.config")

debug_path() {
	printf '%s/debug-%s\n' "$CACHE" "$(cache_key "${DEBUG_INPUTS[@]}")"
}

# Have the debug kernel, and use it from now on: sets KERNEL and what build.sh
# and guest.sh make of it. Expects ROOT and the stock kernel in KERNEL.
debug_need() {
	local path tmp=$SCRATCH/debug

	path=$(debug_path)
	KERNEL_SOURCE=$KERNEL/source
	if [ ! -d "$path" ]; then
		lock "$CACHE/debug.lock"
		[ -d "$path" ] || debug_make "$tmp" "$path"
		unlock
	fi
	KERNEL=$path KERNEL_CC=$DEBUG_CC MODULE_DIR=module-debug TEST_DIR=tests-debug
	PATIENCE=$DEBUG_PATIENCE
	VM_OPTIONS=(--debug --patience "$PATIENCE")
}

# debug_make TMP PATH
debug_make() {
	need_space
	mkdir -p "$1/source"
	step "compile the debug kernel (about 10 min, once)" \
		enter -k "$1" bash /src/scripts/lib/compile.sh debug "$DEBUG_CC" ||
		die "the debug kernel does not compile (see above)"
	mv -T "$1" "$2"
}
