# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The toolchain root: a Debian tree in the cache that holds every compiler,
# checker and emulator the lab uses, whatever the host is. Made once, then
# mounted read-only. Each architecture of guests has one of its own, as they need
# different versions of rustc.

# Of the root for x86-64; see lab/powerpc/arch.sh for another.
ROOT_NAME=root
ROOT_PACKAGES=$TOP/lab/root.packages
ROOT_ARCHS=$PIN_ARCH
ROOT_OPTIONS=()
ROOT_INPUTS=("$TOP/lab/pins" "$ROOT_PACKAGES" "$TOP/lab/lib/root.sh")

root_path() {
	printf '%s/%s-%s\n' "$CACHE" "$ROOT_NAME" "$(cache_key "${ROOT_INPUTS[@]}")"
}

# root_make DIR: make the root in DIR. Runs in a mount namespace of its own.
root_make() {
	local packages

	packages=$(sed 's/#.*//' "$ROOT_PACKAGES" | xargs | tr ' ' ,)
	# /proc and the rest that packages' scripts need are mounted by
	# mmdebstrap inside this namespace, and vanish with it.
	exec setpriv --pdeathsig KILL \
		unshare --mount --pid --fork --kill-child --mount-proc \
		timeout -k 10 1800 mmdebstrap --mode=root --variant=apt \
		--architectures="$ROOT_ARCHS" --aptopt="$APT_CONF" \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"${ROOT_OPTIONS[@]}" --include="$packages" "$PIN_SUITE" "$1" - <"$APT_SOURCES"
}

# Say it when the compilers are not the pinned ones.
root_check_pins() {
	local have

	have=$(chroot "$1" rustc --version | cut -d' ' -f2)
	[ "$have" = "$PIN_RUSTC" ] ||
		say "    note: rustc $PIN_RUSTC has left the archive, using $have"
	have=$(chroot "$1" bindgen --version | cut -d' ' -f2)
	[ "$have" = "$PIN_BINDGEN" ] ||
		say "    note: bindgen $PIN_BINDGEN has left the archive, using $have"
}

# Have the root; sets ROOT.
root_need() {
	local tmp

	ROOT=$(root_path)
	[ -d "$ROOT" ] && return 0
	need_space
	host_tool mmdebstrap mmdebstrap
	tmp=$SCRATCH/root
	step "make the toolchain root: $PIN_SUITE from $MIRROR (about 1 min)" root_make "$tmp" ||
		die "the toolchain root could not be made from $MIRROR (see above): check the network, then start again"
	root_check_pins "$tmp"
	# Mount points of enter.sh: the root is read-only when it is used.
	mkdir -p "$tmp"/src "$tmp"/kernel "$tmp"/out "$tmp"/input
	mv -T "$tmp" "$ROOT"
}
