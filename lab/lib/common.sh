# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the lab says and how it fails: steps with their time, one-line errors,
# locks, cache keys. Sourced; expects $TOP (the checkout) and $CACHE.

# Process group of what the script runs at the moment, for cleanup().
JOB=

# The last line of a command that ends with a count, should it fail before that.
COUNT=
promise_count() { COUNT=$1; }

say() { printf '%s\n' "$*"; }

# One clear line, then out. The traps below clean up.
die() {
	printf 'hmm-cdm: error: %s\n' "$*" >&2
	exit 1
}

# Whatever ends this script also ends what it started. Jobs that mount or boot
# anything have a PID namespace of their own (see enter.sh), so that killing the
# group takes the whole tree with it, and the mounts go with their namespace.
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

# Start COMMAND as a process group of its own, in the background: a signal for
# this script is then handled at once, and not when COMMAND ends.
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

# Run COMMAND with its output as it comes.
run() {
	spawn "$@"
	reap
}

# Install the traps and make $SCRATCH, removed at exit, on the caches' disk.
scratch_init() {
	mkdir -p "$CACHE" || die "cannot write to $CACHE; set XDG_CACHE_HOME to a directory that is writable"
	SCRATCH=$(mktemp -d "$CACHE/tmp.$$.XXXXXX")
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
}

# Remove what runs have left that were killed before they could.
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

# step TEXT COMMAND...: run COMMAND with its output in a log file, say what is
# going on every so often, and how long it took. On failure the end of the log
# is shown (STEP_TAIL lines) and the status returned, for the caller to turn into
# one line.
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

# The last line of a log with something in it, short enough for a terminal.
last_line() {
	tail -c 2000 "$1" | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c 1-90 || true
}

# cache_key FILE...: the key of a cache entry, from the content of its inputs and of the
# scripts that make it. Comments do not count, nor does the folder that the lab is in: it
# enters the key by one name, so that to move or to rename a file keeps what is cached.
cache_key() {
	sed -e '/^[[:space:]]*\(#\|$\)/d' -e 's,/lab/,/scripts/,g' -- "$@" | sha256sum |
		cut -c 1-12
}

# lock FILE: hold it until unlock, or the end of the script; says so if it has to
# wait. One at a time.
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
	[ "$(id -u)" -eq 0 ] || die "the lab makes a root file system and mounts: run make as root (sudo make ...)"
}

need_namespaces() {
	unshare --mount --pid --fork true 2>/dev/null ||
		die "this machine does not let root make mount namespaces: in a container, start it with --privileged"
}

# The lab's root, source and build trees together need about 5 GiB.
need_space() {
	local need=8 have

	have=$(df --output=avail -BM "$CACHE" | tail -n 1 | tr -dc 0-9)
	[ "$have" -ge $((need * 1024)) ] ||
		die "$CACHE has $have MiB free and the set-up needs $need GiB: make room, or set XDG_CACHE_HOME to a larger disk"
}
