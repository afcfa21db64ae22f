#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Inside the root: compile the kernel of scripts/kernels/NAME.config from
# /kernel/source into /kernel, which is empty but for that.
#
# usage: compile.sh NAME COMPILER

set -euo pipefail

config=/src/scripts/kernels/$1.config cc=$2
# shellcheck source=scripts/pins
. /src/scripts/pins
cd /kernel
mkdir -p build image
make=(make -C source O=/kernel/build "CC=$cc" "HOSTCC=$PIN_HOSTCC" "-j$LAB_JOBS")

# Every line that Kconfig did not take: it says nothing itself about an option
# whose dependencies are not there, or that something selects.
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
	done <"$config"
}

"${make[@]}" allnoconfig "KCONFIG_ALLCONFIG=$config"
missing=$(not_taken)
if [ -n "$missing" ]; then
	printf 'Kconfig did not take these lines of %s:\n%s\n' "${config#/src/}" "$missing" >&2
	exit 1
fi
"${make[@]}" bzImage modules_prepare

cp build/arch/x86/boot/bzImage image/vmlinuz
cp build/include/config/kernel.release release
# No module of its own is built: the symbols are those of the image alone.
cp build/vmlinux.symvers build/Module.symvers
# Modules need the tools, headers and metadata, not what the image was made of.
find build -type f ! -path 'build/scripts/*' ! -path 'build/tools/*' \
	\( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '*.bin*' \
	-o -name vmlinux -o -name 'vmlinux.[aou]*' -o -name bzImage \) -delete
