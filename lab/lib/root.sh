# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The toolchain root: a Debian tree in the cache with every compiler, checker and emulator of
# the lab, whatever the host is. Made once, then mounted read-only. There is one for each
# architecture of guests, as they need different versions of rustc.

# For x86-64; lab/powerpc/arch.sh has those of the other.
ROOT_NAME=root
ROOT_PACKAGES=$TOP/lab/root.packages
ROOT_ARCHS=$PIN_ARCH
ROOT_OPTIONS=()
ROOT_INPUTS=("$TOP/lab/pins" "$ROOT_PACKAGES" "$TOP/lab/lib/root.sh")

root_path() {
	printf '%s/%s-%s\n' "$CACHE" "$ROOT_NAME" "$(cache_key "${ROOT_INPUTS[@]}")"
}

# root_make DIR: make the root in DIR.
root_make() {
	local packages

	packages=$(sed 's/#.*//' "$ROOT_PACKAGES" | xargs | tr ' ' ,)
	# In namespaces: mmdebstrap mounts /proc and the like for the packages' scripts, and
	# they go with it.
	exec setpriv --pdeathsig KILL \
		unshare --mount --pid --fork --kill-child --mount-proc \
		timeout -k 10 1800 mmdebstrap --mode=root --variant=apt \
		--architectures="$ROOT_ARCHS" --aptopt="$APT_CONF" \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"${ROOT_OPTIONS[@]}" --include="$packages" "$PIN_SUITE" "$1" - <"$APT_SOURCES"
}

# Report compilers that are not the pinned ones.
root_check_pins() {
	local have

	have=$(chroot "$1" rustc --version | cut -d' ' -f2)
	[ "$have" = "$PIN_RUSTC" ] ||
		say "    note: rustc $PIN_RUSTC has left the archive, using $have"
	have=$(chroot "$1" bindgen --version | cut -d' ' -f2)
	[ "$have" = "$PIN_BINDGEN" ] ||
		say "    note: bindgen $PIN_BINDGEN has left the archive, using $have"
}

# Make the root, unless it is in the cache; sets ROOT.
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
	# Mount points for enter.sh, as the root is read-only later.
	mkdir -p "$tmp"/src "$tmp"/kernel "$tmp"/out "$tmp"/input
	mv -T "$tmp" "$ROOT"
}
