#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Inside the root: build the drivers of samples/ with nothing but what `make install-headers`
# installs, and copy the modules to OUTPUT. Needs a mount namespace of its own: it unmounts the
# checkout.
#
# usage: samples.sh INSTALLED OUTPUT [VAR=VALUE]...

set -euo pipefail

installed=$1 output=$2
shift 2

# shellcheck disable=SC2016	# for make
args=(KDIR=/kernel/build "HMM_CDM=$installed/lib/modules/\$(KERNELRELEASE)/hmm-cdm" "$@")
dir=$(mktemp -d)
cp -r /src/samples/. "$dir"
cd "$dir"
busybox umount -l /src
busybox umount -l /out

for sample in */; do
	make --no-print-directory -C "$sample" "${args[@]}" "-j$LAB_JOBS" modules
	cp "$sample"*.ko "$output"
done
