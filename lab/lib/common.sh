# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common to the parts of the lab: steps and their time, errors of one line, child
# processes, locks, cache keys. Sourced; expects $TOP (the checkout) and $CACHE.

# The process group that runs at the moment, for cleanup().
JOB=

# promise_count COUNT: print this as the last line, should the script fail before it has
# counted itself.
COUNT=
promise_count() { COUNT=$1; }

say() { printf '%s\n' "$*"; }

# die MESSAGE: print one line and exit. The traps below clean up.
die() {
	printf 'hmm-cdm: error: %s\n' "$*" >&2
	exit 1
}

# At the end of the script, kill what it started. A job that mounts or boots has namespaces
# of its own (enter.sh): all its processes and mounts go with its first process.
cleanup() {
	local rc=$?

	trap - EXIT INT TERM HUP
	if [ -n "$JOB" ]; then
		kill -KILL -- "-$JOB" 2>/dev/null || true
		wait "$JOB" 2>/dev/null || true
	fi
	rm -rf "${SCRATCH:-}"
	if [ -n "$COUNT" ] && [ "$rc" -ne 0 ] && [ "$rc" -lt 128 ]; then
		say "$COUNT"
	fi
	exit "$rc"
}

# spawn COMMAND...: start it in the background, as a process group of its own, so that the
# script handles signals at once, not when COMMAND has ended.
spawn() {
	set -m
	"$@" </dev/null &
	JOB=$!
	set +m
}

reap() {
	local rc=0

	wait "$JOB" || rc=$?
	JOB=
	return "$rc"
}

# run COMMAND...: run it, with its output unchanged.
run() {
	spawn "$@"
	reap
}

# Install the traps, and make $SCRATCH in the cache, which is removed at exit.
scratch_init() {
	mkdir -p "$CACHE" ||
		die "cannot write to $CACHE; set XDG_CACHE_HOME to a directory that is writable"
	SCRATCH=$(mktemp -d "$CACHE/tmp.$$.XXXXXX")
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
}

# Remove what killed runs have left behind.
clear_leftovers() {
	local dir pid

	for dir in "$CACHE"/tmp.*; do
		pid=${dir#"$CACHE"/tmp.}
		pid=${pid%%.*}
		[ -d "/proc/$pid" ] || rm -rf "$dir"
	done
}

# Remove the whole cache.
cache_remove() {
	need_root
	[ -d "$CACHE" ] || return 0
	lock "$CACHE/setup.lock"
	say "removing $CACHE"
	rm -rf "$CACHE"
}

# step TEXT COMMAND...: run COMMAND with its output in a log; print its last line every 15 s,
# and how long it took. On failure, print the last STEP_TAIL lines of the log and return the
# status. The caller reports the error in one line.
step() {
	local text=$1 log start now last next=15 rc=0
	shift

	log=$(mktemp "$SCRATCH/log.XXXXXX")
	start=$SECONDS
	printf '==> %s\n' "$text"
	spawn "$@" >"$log" 2>&1
	while kill -0 "$JOB" 2>/dev/null; do
		sleep 0.2
		now=$((SECONDS - start))
		if [ "$now" -ge "$next" ]; then
			next=$((now + 15))
			last=$(last_line "$log")
			printf '    %3d s  %s\n' "$now" "${last:-...}"
		fi
	done
	reap || rc=$?
	if [ "$rc" -eq 0 ]; then
		printf '    done in %d s\n' $((SECONDS - start))
	else
		tail -n "${STEP_TAIL:-25}" "$log" | sed 's/^/    | /' >&2
	fi
	return "$rc"
}

# The last line of a log that is not blank, cut for a terminal.
last_line() {
	tail -c 2000 "$1" | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c 1-90 || true
}

# cache_key FILE...: the key of a cache entry, made from its inputs and the scripts that make
# it. Comments and names of files do not count. The directory of the lab enters by a fixed
# name, so that moving it keeps what is cached.
cache_key() {
	sed -e '/^[[:space:]]*\(#\|$\)/d' -e 's,/lab/,/scripts/,g' -- "$@" | sha256sum |
		cut -c 1-12
}

# lock FILE: take the lock, until unlock or the end of the script. Only one at a time.
lock() {
	local fd

	exec {fd}>"$1"
	if ! flock -n "$fd"; then
		say "waiting for another run to finish with $1"
		run flock -w 1800 "$fd" ||
			die "another run has held $1 for 30 minutes: end it, then start again"
	fi
	LOCK_FD=$fd
}

unlock() {
	exec {LOCK_FD}>&-
}

need_root() {
	[ "$(id -u)" -eq 0 ] ||
		die "the lab makes a root file system and mounts: run make as root (sudo make ...)"
}

need_namespaces() {
	unshare --mount --pid --fork true 2>/dev/null ||
		die "root may not make mount namespaces here: start a container with --privileged"
}

# The lab's root, source and build trees together need about 5 GiB.
need_space() {
	local need=8 have

	have=$(df --output=avail -BM "$CACHE" | tail -n 1 | tr -dc 0-9)
	[ "$have" -ge $((need * 1024)) ] ||
		die "$CACHE has $have MiB free and the set-up needs $need GiB: free some, or set" \
			"XDG_CACHE_HOME to a larger disk"
}
