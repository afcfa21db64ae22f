# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The stock Debian kernel and what modules for it are built against. Debian's
# headers packages ship no Rust metadata, so that is rebuilt from the same
# source with the same compilers and Debian's own configuration; symbol versions
# and release string are Debian's. No kernel is compiled.
#
# In the cache: debs-KEY/ (the packages) and kernel-KEY/ with
#	image/vmlinuz	the unmodified kernel
#	source/		linux-source, unpacked
#	build/		the build tree for modules (make -C /kernel/build M=...)
#	release		e.g. 7.3.4+deb13-cloud-amd64

KERNEL_INPUTS=("${ROOT_INPUTS[@]}" "$TOP/scripts/lib/kernel.sh" "$TOP/scripts/lib/prepare.sh")

kernel_path() {
	printf '%s/kernel-%s\n' "$CACHE" "$(cache_key "${KERNEL_INPUTS[@]}")"
}

# The pinned build of the kernel, or the newest one of its series that the
# archive has. Sets KERNEL_ABI (7.3.4+deb13) and KERNEL_VERSION (7.3.4-1~bpo13+1).
kernel_choose() {
	local binary=linux-binary-$PIN_KERNEL_ABI-$PIN_KERNEL_FLAVOUR

	KERNEL_ABI=$PIN_KERNEL_ABI KERNEL_VERSION=$PIN_KERNEL_VERSION
	apt-cache "${APT_OPTS[@]}" madison "$binary" 2>/dev/null |
		awk -F '|' -v v="$KERNEL_VERSION" '{ gsub(/ /, "", $2); if ($2 == v) f = 1 } END { exit !f }' &&
		return 0
	binary=$(apt-cache "${APT_OPTS[@]}" pkgnames "linux-binary-$PIN_KERNEL_SERIES." |
		grep -- "^linux-binary-[0-9.]*+deb[0-9]*-$PIN_KERNEL_FLAVOUR\$" | sort -V | tail -n 1)
	[ -n "$binary" ] || return 1
	KERNEL_ABI=${binary#linux-binary-}
	KERNEL_ABI=${KERNEL_ABI%"-$PIN_KERNEL_FLAVOUR"}
	KERNEL_VERSION=$(apt-cache "${APT_OPTS[@]}" madison "$binary" |
		awk -F '|' '{ gsub(/ /, "", $2); print $2; exit }')
	say "    note: kernel $PIN_KERNEL_VERSION has left the archive, using $KERNEL_VERSION"
}

# kernel_fetch DIR: download the packages; apt checks them against the signed
# indices.
kernel_fetch() {
	local release=$KERNEL_ABI-$PIN_KERNEL_FLAVOUR p packages=()

	for p in "linux-binary-$release" "linux-headers-$release" "linux-source-$PIN_KERNEL_SERIES"; do
		packages+=("$p=$KERNEL_VERSION")
	done
	mkdir -p "$1"
	printf '%s\n' "$release" >"$1/release"
	cd "$1" || return
	exec timeout -k 5 1200 apt-get "${APT_OPTS[@]}" download "${packages[@]}"
}

# kernel_unpack DEBS DIR: image, source and Debian's configuration of the build.
kernel_unpack() {
	local debs=$1 dir=$2 release deb
	release=$(cat "$debs/release")

	mkdir -p "$dir"/{x,image,headers}
	cp "$debs/release" "$dir/"
	for deb in "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$dir/x"
	done
	mv "$dir/x/usr/lib/modules/$release/vmlinuz" "$dir/image/"
	mv "$dir/x/usr/src/linux-headers-$release"/{.config,Module.symvers} "$dir/headers/"
	mv "$dir"/x/usr/src/linux-source-*.tar.xz "$dir/source.tar.xz"
	rm -rf "$dir/x"
}

# Have the packages; sets DEBS. Nothing of it needs the root, so that it can
# run while the root is made.
kernel_fetch_need() {
	local tmp

	DEBS=$CACHE/debs-$(cache_key "$TOP/scripts/pins")
	[ -d "$DEBS" ] && return 0
	kernel_choose ||
		die "$MIRROR has no kernel $PIN_KERNEL_SERIES ($PIN_KERNEL_FLAVOUR) in $PIN_SUITES: use another mirror in the apt sources of this machine"
	tmp=$SCRATCH/debs
	step "download the stock kernel $KERNEL_ABI-$PIN_KERNEL_FLAVOUR and its source" kernel_fetch "$tmp" ||
		die "the kernel's packages could not be downloaded from $MIRROR (see above): check the network, then start again"
	mv -T "$tmp" "$DEBS"
}

# Have the kernel; sets KERNEL. Expects ROOT and DEBS.
kernel_need() {
	local tmp

	KERNEL=$(kernel_path)
	if [ ! -d "$KERNEL" ]; then
		need_space
		tmp=$SCRATCH/kernel
		step "unpack the stock kernel" kernel_unpack "$DEBS" "$tmp" ||
			die "the kernel's packages in $DEBS do not unpack: remove that directory, then start again"
		step "rebuild the kernel's Rust metadata (about 2 min)" \
			enter -k "$tmp" bash /src/scripts/lib/prepare.sh ||
			die "the kernel's metadata could not be rebuilt (see above): run make distclean, then start again"
		mv -T "$tmp" "$KERNEL"
	fi
}
