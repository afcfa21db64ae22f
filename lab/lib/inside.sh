#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# First process of the namespaces that enter() makes: mount what the command
# needs below the root, run it there, pass its status on.
#
# usage: inside.sh ROOT y|n 'ro|rw DEST SOURCE'... -- [VAR=VALUE]... COMMAND...

set -euo pipefail

root=$1 net=$2
shift 2

# bind MODE DEST SOURCE
bind() {
	mount --bind "$3" "$root$2"
	[ "$1" = rw ] || mount -o remount,bind,ro "$root$2"
}

# The root itself stays as it was made.
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
	read -r mode dest source <<<"$1"
	bind "$mode" "$dest" "$source"
	shift
done
shift
if [ "$net" = y ]; then
	for f in /etc/resolv.conf /etc/hosts; do
		if [ -f "$f" ] && [ -f "$root$f" ]; then
			bind ro "$f" "$f"
		fi
	done
fi

# As the first process of its PID namespace this shell gets only the signals
# that it handles; when it exits the kernel ends the others.
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chroot "$root" env -C /src -i "$@"
