# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make lint`: the checks of scripts/lint inside the root. Ruff comes from PyPI, into the
# cache.

# pip_settings DIR: set PIP to options of enter that give pip the settings of this
# host: its PIP_* variables, the first of its configuration files, and its
# certificates, which may be those of a proxy. Files are copied to DIR, /input.
pip_settings() {
	local dir=$1 f name value

	PIP=(-b "ro /input $dir")
	mkdir -p "$dir"
	while IFS='=' read -r name value; do
		case $name in
		PIP_CERT | PIP_CONFIG_FILE) continue ;;
		PIP_FIND_LINKS)
			if [ -d "$value" ]; then
				PIP+=(-b "ro /mnt $value" -e "$name=/mnt")
			else
				PIP+=(-e "$name=$value")
			fi
			;;
		PIP_*) PIP+=(-e "$name=$value") ;;
		esac
	done < <(env)
	for f in "${PIP_CONFIG_FILE:-}" ~/.config/pip/pip.conf ~/.pip/pip.conf /etc/pip.conf; do
		[ -f "$f" ] || continue
		cp "$f" "$dir/pip.conf"
		PIP+=(-e PIP_CONFIG_FILE=/input/pip.conf)
		break
	done
	for f in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt; do
		[ -f "$f" ] || continue
		cp "$f" "$dir/certificates"
		PIP+=(-e PIP_CERT=/input/certificates)
		break
	done
}

# Ruff is in no suite of Debian that is used here: from PyPI, pinned, once.
# Sets RUFF to its directory, or to nothing if it cannot be had.
ruff_need() {
	local tmp=$SCRATCH/ruff PIP

	RUFF=$CACHE/ruff-$PIN_RUFF
	[ ! -d "$RUFF" ] || return 0
	mkdir -p "$tmp"
	pip_settings "$SCRATCH/pip"
	if step "download ruff $PIN_RUFF" enter -n -b "rw /opt $tmp" "${PIP[@]}" \
		timeout -k 5 300 python3 -m pip install --quiet --no-cache-dir --target /opt \
		--only-binary :all: --no-deps "ruff==$PIN_RUFF"; then
		# Another run may have been faster.
		mv -T "$tmp" "$RUFF" 2>/dev/null || [ -d "$RUFF" ]
	else
		say "ruff $PIN_RUFF could not be installed from PyPI (see above): check the network," \
			"then start again"
		RUFF=
	fi
}

# lint TREE [FILE]...: all checks of a tree, or only those of single files in it.
lint() {
	local tree=$1 options
	shift

	ruff_need
	options=(-e "CC=$PIN_CC" -b "rw /src $tree")
	[ -z "$RUFF" ] || options+=(-b "ro /opt $RUFF")
	run enter "${options[@]}" bash /src/scripts/lint "$@"
}

# lint_possible: whether a hook can lint. It does not set the lab up, which takes minutes.
lint_possible() {
	if [ "$(id -u)" -ne 0 ]; then
		say "hmm-cdm: not linted: the lab needs root; see make lint"
	elif ! warm; then
		say "hmm-cdm: not linted: the lab is not set up; run make lint once"
	else
		return 0
	fi
	return 1
}

# lint_staged: the checks of single files, on what git commit is about to take.
lint_staged() {
	local tree=$SCRATCH/staged files

	mapfile -t files < <(git -C "$TOP" diff --cached --name-only --diff-filter=d)
	[ ${#files[@]} -gt 0 ] || return 0
	git -C "$TOP" checkout-index --all --prefix="$tree/" || return
	lint "$tree" "${files[@]}"
}
