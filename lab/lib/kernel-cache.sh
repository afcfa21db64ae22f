# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034	# what other parts of the lab read
#
# Kernels that Debian does not have: compiled from the stock kernel's source with a short
# configuration from lab/kernels/.
#
# In the cache: kernel-NAME-KEY/ with
#	image/		the kernel, vmlinuz or vmlinux
#	source/		the source, unpacked, with the patches for it
#	build/		the build tree for modules (make -C /kernel/build M=...)
#	release		e.g. 7.3.4-hmm-cdm-debug
# and ccache/, so that after a change of configuration only the difference is compiled.

# compiled_define NAME: sets what the kernel is made from: COMPILED_CONFIG (files for Kconfig,
# later ones override), COMPILED_PATCHES, COMPILED_MAKE (variables of make, for the kernel and
# for modules), COMPILED_CC, and COMPILED_PATIENCE (factor of the stock kernel's time limits).
compiled_define() {
	COMPILED_CONFIG=("lab/kernels/${1%-4k}.config")
	COMPILED_PATCHES=()
	case $1 in
	debug)
		# With gcc, KASAN excludes Rust.
		COMPILED_CC=clang-19
		COMPILED_MAKE=()
		COMPILED_IMAGE=arch/x86/boot/bzImage
		COMPILED_PATIENCE=6
		;;
	powerpc*)
		COMPILED_CC=clang-19
		COMPILED_MAKE=(ARCH=powerpc LLVM=-19)
		COMPILED_IMAGE=vmlinux
		COMPILED_PATIENCE=4
		COMPILED_PATCHES=(lab/kernels/powerpc/*.patch)
		;;
	esac
	if [[ $1 == *-4k ]]; then
		COMPILED_CONFIG+=("lab/kernels/$1.config")
	fi
}

# compiled_path NAME
compiled_path() {
	local inputs=("${ROOT_INPUTS[@]}" "$TOP/lab/lib/build-kernel.sh")

	compiled_define "$1"
	inputs+=("${COMPILED_CONFIG[@]/#/$TOP/}" "${COMPILED_PATCHES[@]/#/$TOP/}")
	printf '%s/kernel-%s-%s\n' "$CACHE" "$1" "$(cache_key "${inputs[@]}")"
}

# compiled_need NAME: make that kernel, unless it is in the cache, and use it: sets KERNEL,
# KERNEL_MAKE and PATIENCE. Expects ROOT and the package of the source.
compiled_need() {
	local name=$1 path

	path=$(compiled_path "$name")
	compiled_define "$name"
	if [ ! -d "$path" ]; then
		lock "$CACHE/$name.lock"
		[ -d "$path" ] || compiled_make "$name" "$path"
		unlock
	fi
	KERNEL=$path
	KERNEL_MAKE=("CC=$COMPILED_CC" "${COMPILED_MAKE[@]}")
	PATIENCE=$COMPILED_PATIENCE
}

# compiled_make NAME PATH
compiled_make() {
	local tmp=$SCRATCH/compiled

	need_space
	mkdir -p "$tmp" "$CACHE/ccache"
	step "unpack the kernel's source" unpack_source "$tmp" ||
		die "the package in $(source_path) does not unpack: run make distclean, then start again"
	step "compile the kernel '$1' (about 10 min, once)" \
		enter -k "$tmp" -b "rw /mnt $CACHE/ccache" -e CCACHE_DIR=/mnt \
		-e "CONFIGS=${COMPILED_CONFIG[*]}" -e "PATCHES=${COMPILED_PATCHES[*]}" \
		bash /src/lab/lib/build-kernel.sh "$COMPILED_IMAGE" "$COMPILED_CC" "${COMPILED_MAKE[@]}" ||
		die "the kernel '$1' does not compile (see above)"
	mv -T "$tmp" "$2"
}
