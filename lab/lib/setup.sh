# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Set-up: root and kernel, made once and kept in the cache.

# setup: make root and kernel unless they are in the cache; sets ROOT, KERNEL, RELEASE and
# NAME, the name of the kernel.
# shellcheck disable=SC2034	# for the other parts
setup() {
	need_root
	need_namespaces
	scratch_init
	mkdir -p "$OUT"
	if ! warm; then
		lock "$CACHE/setup.lock"
		# Another run may have made them while this one waited.
		warm || make_all
		unlock
	fi
	ROOT=$(root_path)
	kernel_find
	[ "$KIND" = stock ] || compiled_need "$KIND"
	RELEASE=$(cat "$KERNEL/release")
	guest_options
}

# kernel_find: sets KERNEL, whether it is in the cache or not, NAME, and the output directories.
kernel_find() {
	NAME=$KIND
	if [ "$KIND" = stock ]; then
		KERNEL=$(kernel_path)
		[ "$FLAVOUR" = "$PIN_KERNEL_FLAVOUR" ] || NAME=$FLAVOUR
	else
		KERNEL=$(compiled_path "$KIND")
	fi
	build_for "$NAME"
}

# built: print the kernel's release and the directory of its modules below build/. For scripts:
# prints nothing else, and makes nothing.
built() {
	kernel_find
	[ -f "$KERNEL/release" ] ||
		die "there is no $KERNEL, so the release is not known: run make with the same" \
			"variables first"
	say "$(cat "$KERNEL/release") $MODULE_DIR"
}

# Whether nothing has to come from the network. The stock kernel has to be complete.
warm() {
	[ -d "$(root_path)" ] || return
	case $KIND in
	stock) [ -d "$(kernel_path)" ] ;;
	*) [ -d "$(compiled_path "$KIND")" ] || [ -d "$(source_path)" ] ;;
	esac
}

make_all() {
	local start=$SECONDS

	say "set-up in $CACHE: once, 2 to 5 minutes; later runs start from there"
	need_space
	clear_leftovers
	apt_init
	step "read the package lists of $MIRROR" apt_update ||
		die "$MIRROR does not answer, or lacks $PIN_SUITES (see above): check the network and" \
			"this machine's apt sources, then start again"
	if [ "$KIND" = stock ]; then
		packages_need
		root_need
		kernel_need
	else
		packages_need source
		root_need
	fi
	say "set-up done in $((SECONDS - start)) s"
}
