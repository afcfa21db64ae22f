# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian's programs for the guest, which run unmodified with their heap on a node. Unlike the
# guest's other programs they are linked dynamically: an archive has them with their libraries,
# and the test unpacks it.
#
# In the cache: userland-ARCH-KEY/userland.tar

USERLAND_PACKAGES=$TOP/lab/userland.packages
# The suite of packages that the mirror's PIN_SUITE lacks.
USERLAND_LATER=forky
# The files to take from the packages.
USERLAND_FILES=(usr/bin/sort usr/bin/xz 'usr/bin/python3.*' 'usr/lib64/*' 'usr/lib/*-linux-gnu/*.so*'
	'usr/lib/python3.*/*.py' 'usr/lib/python3.*/collections/*' 'usr/lib/python3.*/encodings/*'
	'usr/lib/python3.*/importlib/*' 'usr/lib/python3.*/re/*' 'usr/lib/python3.*/json/*')

userland_path() {
	printf '%s/userland-%s-%s\n' "$CACHE" "${FOREIGN_ARCH:-$PIN_ARCH}" \
		"$(cache_key "$TOP/lab/pins" "$USERLAND_PACKAGES" "$TOP/lab/lib/userland.sh")"
}

# userland_need: make the archive, unless it is in the cache; sets USERLAND.
userland_need() {
	USERLAND=$(userland_path)
	[ ! -d "$USERLAND" ] || return 0
	lock "$CACHE/userland.lock"
	if [ ! -d "$USERLAND" ]; then
		apt_init
		step "read the package lists of $MIRROR" apt_update ||
			die "$MIRROR does not answer, or lacks $PIN_SUITES (see above): check the network and this machine's apt sources, then start again"
		STEP_TAIL=50 step "fetch Debian's programs for the guest" userland_make "$SCRATCH/userland" ||
			die "Debian's programs for the guest cannot be had (see above)"
		mv -T "$SCRATCH/userland/done" "$USERLAND"
	fi
	unlock
}

# userland_fetch ARCH PACKAGE...: download to the current directory. After a point release a
# mirror may have an architecture's index long before its packages. Then those of the next
# suite serve: newer libraries run older programs.
userland_fetch() {
	local arch=$1 package apt=(timeout -k 5 600 apt-get "${APT_OPTS[@]}")
	shift

	"${apt[@]}" download "${@/%/:$arch}" && return
	echo "the mirror lacks some packages of $PIN_SUITE for $arch: those of $USERLAND_LATER"
	printf 'deb [signed-by=%s arch=%s] %s %s main\n' \
		"$KEYRING" "$arch" "$MIRROR" "$USERLAND_LATER" >>"$APT_SOURCES"
	"${apt[@]}" -qq update || return
	for package; do
		"${apt[@]}" download "$package:$arch/$PIN_SUITE" ||
			"${apt[@]}" download "$package:$arch/$USERLAND_LATER" || return
	done
}

# userland_make DIR
userland_make() {
	local arch=${FOREIGN_ARCH:-$PIN_ARCH} packages deb

	mapfile -t packages < <(sed 's/#.*//; /^$/d' "$USERLAND_PACKAGES")
	mkdir -p "$1/debs" "$1/root" "$1/done"
	(cd "$1/debs" && userland_fetch "$arch" "${packages[@]}") || return
	for deb in "$1"/debs/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -C "$1/root" -x --wildcards --no-anchored "${USERLAND_FILES[@]/#/./}" 2>/dev/null ||
			true
	done
	# For a merged /usr; the guest's own /lib has only modules.
	ln -s usr/lib64 "$1/root/lib64"
	find "$1/root" -name __pycache__ -prune -exec rm -r {} +
	[ -x "$1/root/usr/bin/sort" ] && [ -x "$1/root/usr/bin/xz" ] &&
		tar -C "$1/root" -cf "$1/done/userland.tar" .
}
