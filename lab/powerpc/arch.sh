# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034	# what other parts of the lab read
#
# ARCH=powerpc: sourced by lab/lab after the parts whose variables it sets. Debian's kernel
# for ppc64el has no Rust, so the kernel is cross-compiled. MACHINE is powernv9 (bare metal,
# the default) or pseries (under a hypervisor), MMU radix (the default) or hash, PAGES 64K (the
# default) or 4K.

# Debian's architecture of the guest's programs, from PIN_SUITE only.
FOREIGN_ARCH=ppc64el

# Linux 7.3 needs rustc 1.95 on powerpc; backports have this one.
PIN_RUSTC=1.96.1

# The guest's busybox cannot be installed beside the root's, so it is only unpacked.
# shellcheck disable=SC2016	# mmdebstrap's shell expands it
BUSYBOX_HOOK='set -e; dir=$1/opt/ppc64el; mkdir -p "$dir"
chroot "$1" sh -ec "cd /opt/ppc64el; apt-get download busybox-static:ppc64el; dpkg-deb -x *.deb x"
find "$dir/x" -path "*/bin/busybox" -type f -exec mv {} "$dir/" \;
rm -r "$dir/x" "$dir"/*.deb
test -x "$dir/busybox"'

ROOT_NAME=root-powerpc
ROOT_PACKAGES=$TOP/lab/powerpc/root.packages
ROOT_ARCHS=$PIN_ARCH,$FOREIGN_ARCH
ROOT_OPTIONS=(--customize-hook="$BUSYBOX_HOOK")
ROOT_INPUTS=("$TOP/lab/pins" "$ROOT_PACKAGES" "$TOP/lab/lib/root.sh"
	"$TOP/lab/powerpc/arch.sh")

USER_CC=powerpc64le-linux-gnu-gcc

MACHINE=${MACHINE:-powernv9} MMU=${MMU:-radix} PAGES=${PAGES:-64K}
[[ $MACHINE =~ ^(powernv9|pseries)$ ]] ||
	die "MACHINE=$MACHINE is not supported: powernv9 and pseries are"
[ "$MACHINE" = pseries ] || TREE=y
[[ $MMU =~ ^(radix|hash)$ ]] ||
	die "MMU=$MMU is not supported: radix and hash are"
case $PAGES in
64K) KIND=powerpc ;;
4K) KIND=powerpc-4k ;;
*) die "PAGES=$PAGES is not supported: 64K and 4K are" ;;
esac
VM_OPTIONS=(--machine "$MACHINE" --mmu "$MMU")
