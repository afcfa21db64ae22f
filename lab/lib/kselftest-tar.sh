#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Inside the root: have the kernel's selftests make an archive of tests/selftests, linked into
# their directory. /kernel/source is read-only, so DIR gets a tree of symbolic links to it, in
# which that directory is a real one.
#
# usage: kselftest-tar.sh DIR OUTPUT [VAR=VALUE]...

set -euo pipefail

dir=$1 output=$2
shift 2
tree=$dir/linux
selftests=tools/testing/selftests

# link PATH: a directory with links to all that is in PATH of the kernel's tree.
link() {
	mkdir -p "$tree/$1"
	ln -s "/kernel/source/$1"/* "$tree/$1"
}

link .
for part in tools tools/testing $selftests; do
	rm "$tree/$part"
	link "$part"
done
ln -s /src/tests/selftests "$tree/$selftests/hmm_cdm"

make --no-print-directory -C "$tree/$selftests" "-j$LAB_JOBS" TARGETS=hmm_cdm FORCE_TARGETS=1 \
	KSRC=/kernel/source "O=$dir/build" FORMAT= "$@" gen_tar
cp "$dir/build/kselftest/kselftest_install/kselftest-packages/kselftest.tar" "$output"
