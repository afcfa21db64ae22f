# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Run commands inside the toolchain root. Each call makes mount and PID namespaces: when its
# first process ends, or is killed, all its processes and mounts go.

# enter [OPTION]... COMMAND...: run COMMAND in $ROOT, in /src, with a clean environment. The
# root has the checkout at /src, its build/ at /out, the kernel at /kernel (read-only) and the
# host's /dev.
#	-k DIR		mount DIR at /kernel, writable, instead of $KERNEL
#	-b 'MODE DEST SOURCE'
#			mount SOURCE at DEST; MODE is ro or rw
#	-e VAR=VALUE	set a variable of the environment
#	-n		use the network, with the host's resolver and proxies
enter() {
	local kernel="ro /kernel ${KERNEL:-}" net=n opt OPTIND=1 env binds

	binds=("rw /src $TOP" "rw /out $OUT")
	env=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8
		"TERM=${TERM:-dumb}" "LAB_JOBS=$(nproc)" PYTHONDONTWRITEBYTECODE=1
		PYTHONUNBUFFERED=1)
	while getopts k:b:e:n opt; do
		case $opt in
		k) kernel="rw /kernel $OPTARG" ;;
		b) binds+=("$OPTARG") ;;
		e) env+=("$OPTARG") ;;
		n) net=y ;;
		*) return 2 ;;
		esac
	done
	shift $((OPTIND - 1))
	[ "$kernel" = "ro /kernel " ] || binds+=("$kernel")
	if [ "$net" = y ]; then
		mapfile -t -O "${#env[@]}" env < <(env | grep -iE '^(https?_proxy|no_proxy)=')
	fi
	# If the script gets SIGKILL, so does this.
	exec setpriv --pdeathsig KILL \
		unshare --mount --pid --fork --kill-child --propagation private \
		bash "$TOP/lab/lib/inside.sh" "$ROOT" "$net" "${binds[@]}" -- \
		"${env[@]}" "$@"
}
