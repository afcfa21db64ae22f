#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Inside the root: compile a kernel from /kernel/source.tar.xz, and leave in /kernel what
# boots and what modules are built with. The environment has CONFIGS and PATCHES (files below
# /src) and CCACHE_DIR.
#
# usage: build-kernel.sh IMAGE COMPILER [VAR=VALUE]...

set -euo pipefail

image=$1 cc=$2
shift 2
cd /kernel
mkdir -p source build image
tar -C source --strip-components=1 -xJf source.tar.xz
rm source.tar.xz
for patch in $PATCHES; do
	patch -d source -p1 --no-backup-if-mismatch <"/src/$patch"
done

config=build/wanted.config
# shellcheck disable=SC2086	# a list
(cd /src && cat $CONFIGS) >$config
# HOSTCC also links Rust's macros, where it has to be one word.
make=(make -C source O=/kernel/build "$@" "CC=ccache $cc" "HOSTCC=$cc" "-j$LAB_JOBS")

# Print every line that Kconfig did not take. It is silent about options whose dependencies
# are missing, and about those that others select.
not_taken() {
	local line

	while read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF "$line" build/.config || echo "$line"
			;;
		'# CONFIG_'*' is not set')
			line=${line#\# }
			! grep -q "^${line%% *}=" build/.config || echo "# $line"
			;;
		esac
	done <$config
}

"${make[@]}" allnoconfig "KCONFIG_ALLCONFIG=/kernel/$config"
missing=$(not_taken)
if [ -n "$missing" ]; then
	printf 'Kconfig did not take these lines of %s:\n%s\n' "$CONFIGS" "$missing" >&2
	exit 1
fi
"${make[@]}" "$(basename "$image")" modules_prepare

cp build/include/config/kernel.release release
case $image in
# Without its symbols the ELF file is small.
vmlinux) llvm-strip-19 -o image/vmlinux build/vmlinux ;;
*) cp "build/$image" image/vmlinuz ;;
esac
# No modules are built: all symbols are those of the image.
cp build/vmlinux.symvers build/Module.symvers
# Modules need the tools, headers and metadata, not the objects of the image. On powerpc they
# are linked with crtsavres.o.
find build -type f ! -path 'build/scripts/*' ! -path 'build/tools/*' ! -name crtsavres.o \
	\( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '*.bin*' \
	-o -name vmlinux -o -name 'vmlinux.[aou]*' -o -name '.tmp_vmlinux*' -o -name bzImage \) \
	-delete
