#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Inside the root: turn /kernel, as kernel_unpack() leaves it, into a build tree for modules
# of the stock kernel.

set -euo pipefail

# shellcheck source=lab/pins
. /src/lab/pins
cd /kernel
release=$(cat release)

mkdir -p source build
tar -C source --strip-components=1 -xJf source.tar.xz
rm source.tar.xz

cp headers/.config build/.config
# With the compilers' names in Debian's packages, the configuration has the same text, and
# Kconfig asks nothing.
make=(make -C source O=/kernel/build "CC=$PIN_CC" "HOSTCC=$PIN_HOSTCC" "-j$LAB_JOBS")
"${make[@]}" olddefconfig
if ! diff <(grep '^CONFIG_' headers/.config) <(grep '^CONFIG_' build/.config); then
	echo "the configuration is no longer that of the stock kernel (see above)" >&2
	exit 1
fi
"${make[@]}" prepare modules_prepare

# From a full build: the exported symbols, and the release in the version magic, which the
# stock kernel compares.
cp headers/Module.symvers build/Module.symvers
printf '%s\n' "$release" >build/include/config/kernel.release
printf '#define UTS_RELEASE "%s"\n' "$release" >build/include/generated/utsrelease.h
