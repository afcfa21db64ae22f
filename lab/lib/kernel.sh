# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian's kernel, and a build tree for modules. Debian's headers packages lack the Rust
# metadata, so that is rebuilt from the same source, with the same compilers and Debian's
# configuration. Symbol versions and release string are Debian's. No kernel is compiled.
#
# In the cache: the packages, in debs-FLAVOUR-KEY/ and source-KEY/, and
# kernel-FLAVOUR-KEY/ with
#	image/vmlinuz	the unmodified kernel
#	source/		linux-source, unpacked
#	build/		the build tree for modules (make -C /kernel/build M=...)
#	release		e.g. 7.3.4+deb13-cloud-amd64

KERNEL_INPUTS=("${ROOT_INPUTS[@]}" "$TOP/lab/lib/kernel.sh" "$TOP/lab/lib/prepare.sh")

# One of PIN_KERNEL_FLAVOURS.
FLAVOUR=${FLAVOUR:-$PIN_KERNEL_FLAVOUR}

kernel_path() {
	printf '%s/kernel-%s-%s\n' "$CACHE" "$FLAVOUR" "$(cache_key "${KERNEL_INPUTS[@]}")"
}

debs_path() {
	printf '%s/debs-%s-%s\n' "$CACHE" "$FLAVOUR" "$(cache_key "$TOP/lab/pins")"
}

# One source for all flavours and for the kernels that are compiled here.
source_path() {
	printf '%s/source-%s\n' "$CACHE" "$(cache_key "$TOP/lab/pins")"
}

# Choose the pinned build of the kernel or, if the archive has it no more, the newest of its
# series. Sets KERNEL_ABI (7.3.4+deb13) and KERNEL_VERSION (7.3.4-1~bpo13+1).
kernel_choose() {
	local binary=linux-binary-$PIN_KERNEL_ABI-$FLAVOUR

	KERNEL_ABI=$PIN_KERNEL_ABI KERNEL_VERSION=$PIN_KERNEL_VERSION
	apt-cache "${APT_OPTS[@]}" madison "$binary" 2>/dev/null |
		awk -F '|' -v v="$KERNEL_VERSION" '{ gsub(/ /, "", $2); if ($2 == v) f = 1 } END { exit !f }' &&
		return 0
	binary=$(apt-cache "${APT_OPTS[@]}" pkgnames "linux-binary-$PIN_KERNEL_SERIES." |
		grep -- "^linux-binary-[0-9.]*+deb[0-9]*-$FLAVOUR\$" | sort -V | tail -n 1)
	[ -n "$binary" ] || return 1
	KERNEL_ABI=${binary#linux-binary-}
	KERNEL_ABI=${KERNEL_ABI%"-$FLAVOUR"}
	KERNEL_VERSION=$(apt-cache "${APT_OPTS[@]}" madison "$binary" |
		awk -F '|' '{ gsub(/ /, "", $2); print $2; exit }')
	say "    note: kernel $PIN_KERNEL_VERSION has left the archive, using $KERNEL_VERSION"
}

# fetch DIR PACKAGE...: download packages of KERNEL_VERSION. Apt checks them against the
# signed indices.
fetch() {
	local dir=$1 p packages=()
	shift

	for p; do
		packages+=("$p=$KERNEL_VERSION")
	done
	mkdir -p "$dir"
	cd "$dir" || return
	printf '%s\n' "$KERNEL_ABI-$FLAVOUR" >release
	printf '%s\n' "$KERNEL_VERSION" >version
	exec timeout -k 5 1200 apt-get "${APT_OPTS[@]}" download "${packages[@]}"
}

# fetch_need PATH WHAT PACKAGE...: download the packages to PATH, unless it exists.
fetch_need() {
	local path=$1 what=$2 tmp=$SCRATCH/debs
	shift 2

	[ ! -d "$path" ] || return 0
	step "download $what" fetch "$tmp" "$@" ||
		die "the kernel's packages could not be downloaded from $MIRROR (see above): check the network, then start again"
	mv -T "$tmp" "$path"
}

# unpack_source DIR: unpack the archive of the source from its package.
unpack_source() {
	dpkg-deb --fsys-tarfile "$(source_path)"/*.deb |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' >"$1/source.tar.xz"
}

# kernel_unpack DEBS DIR: unpack the image, the source and Debian's configuration.
kernel_unpack() {
	local debs=$1 dir=$2 release deb
	release=$(cat "$debs/release")

	mkdir -p "$dir"/{x,image,headers}
	unpack_source "$dir"
	cp "$debs/release" "$dir/"
	for deb in "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$dir/x"
	done
	mv "$dir/x/usr/lib/modules/$release/vmlinuz" "$dir/image/"
	mv "$dir/x/usr/src/linux-headers-$release"/{.config,Module.symvers} "$dir/headers/"
	rm -rf "$dir/x"
}

# packages_need [source]: download the packages of the source and, without that argument, of
# the stock kernel, unless they are in the cache. Does not need the root.
packages_need() {
	local source debs
	source=$(source_path) debs=$(debs_path)

	if [ "${1:-}" = source ]; then
		debs=$source
	fi
	[ ! -d "$source" ] || [ ! -d "$debs" ] || return 0
	kernel_choose ||
		die "$MIRROR has no kernel $PIN_KERNEL_SERIES ($FLAVOUR) in $PIN_SUITES: use another mirror in the apt sources of this machine"
	fetch_need "$source" "the kernel's source, $KERNEL_VERSION" \
		"linux-source-$PIN_KERNEL_SERIES"
	fetch_need "$debs" "the stock kernel $KERNEL_ABI-$FLAVOUR" \
		linux-{binary,headers}-"$KERNEL_ABI-$FLAVOUR"
	cmp -s "$source/version" "$debs/version" ||
		die "the archive has moved on: $source is $(cat "$source/version") and $debs is $(cat "$debs/version"); run make distclean, then start again"
}

# Make the kernel, unless it is in the cache; sets KERNEL. Expects ROOT and the packages.
kernel_need() {
	local tmp

	KERNEL=$(kernel_path)
	if [ ! -d "$KERNEL" ]; then
		need_space
		tmp=$SCRATCH/kernel
		step "unpack the stock kernel" kernel_unpack "$(debs_path)" "$tmp" ||
			die "the kernel's packages in $(debs_path) do not unpack: remove that directory, then start again"
		step "rebuild the kernel's Rust metadata (about 2 min)" \
			enter -k "$tmp" bash /src/lab/lib/prepare.sh ||
			die "the kernel's metadata could not be rebuilt (see above): run make distclean, then start again"
		mv -T "$tmp" "$KERNEL"
	fi
}
