#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The first process of enter()'s namespaces: mount what the command needs below the root,
# run the command there, and return its status.
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

# The root itself is read-only.
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

# The first process of a PID namespace gets only signals that it handles. When it exits, the
# kernel kills the others.
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chroot "$root" env -C /src -i "$@"
