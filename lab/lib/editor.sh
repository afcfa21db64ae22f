# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make rust-analyzer` and `make compile_commands.json`: what editors need to know of the
# crates and the C files, with the host's paths.

editor() {
	lock "$OUT/lock"
	STEP_TAIL=200 step "build the modules and describe them" kbuild "$MODULE_DIR" \
		modules rust-analyzer compile_commands.json ||
		die "the modules do not build (see above)"
	unlock
	"$TOP/scripts/editor-files" --from "$OUT/$MODULE_DIR" --to "$TOP" --map "/src=$TOP" \
		--map "/out=$OUT" --map "/kernel=$KERNEL" --map "/usr=$ROOT/usr"
}
