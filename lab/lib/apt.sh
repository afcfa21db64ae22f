# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian's archive, reached as the host is configured to: by the mirror in its apt sources
# (in both formats), its proxy and other Acquire options, and the archive keyring. The host's
# apt configuration is only read.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Every enabled binary entry of the host, one a line: "URI SUITE COMPONENT...".
host_entries() {
	local dir=${APT_ETC:-/etc/apt} f

	for f in "$dir"/sources.list "$dir"/sources.list.d/*.list; do
		[ -f "$f" ] || continue
		sed -n 's/#.*//; s/^[[:space:]]*deb[[:space:]]\+\(\[[^]]*\]\)\?[[:space:]]*//p' "$f"
	done
	for f in "$dir"/sources.list.d/*.sources; do
		[ -f "$f" ] || continue
		# A comment line does not end a paragraph, and a line that begins
		# with a blank continues the field above it.
		sed '/^#/d' "$f" | awk -v RS= -v FS='\n' '{
			split("", v); key = ""
			for (i = 1; i <= NF; i++) {
				line = $i
				if (line ~ /^[^ \t:]+:/) {
					key = tolower(substr(line, 1, index(line, ":") - 1))
					line = substr(line, index(line, ":") + 1)
				}
				v[key] = v[key] " " line
			}
			if (tolower(v["enabled"]) ~ /no/ || v["types"] !~ /(^| )deb( |$)/)
				next
			nu = split(v["uris"], u, " "); ns = split(v["suites"], s, " ")
			for (i = 1; i <= nu; i++)
				for (j = 1; j <= ns; j++)
					print u[i], s[j], v["components"]
		}'
	done
}

# The mirror of the host's release: the first entry of a Debian release (not -security,
# -updates or -backports) with main.
host_mirror() {
	local found

	found=$(host_entries | awk '
		$2 ~ /^(bookworm|trixie|forky|sid|stable|oldstable|testing|unstable)$/ {
			for (i = 3; i <= NF; i++) if ($i == "main") { print $1; exit }
		}')
	printf '%s\n' "${found:-$PIN_MIRROR}"
}

# apt_init: set up a private apt in $SCRATCH, with the pinned suites of the host's mirror.
# Sets MIRROR, APT_OPTS and, for mmdebstrap too, APT_SOURCES and APT_CONF (the host's Acquire
# options).
apt_init() {
	local dir=$SCRATCH/apt suite archs

	MIRROR=$(host_mirror)
	[ -r "$KEYRING" ] ||
		die "$KEYRING is missing: apt-get install debian-archive-keyring"
	mkdir -p "$dir"/lists/partial "$dir"/archives/partial
	APT_SOURCES=$dir/sources.list
	for suite in $PIN_SUITES; do
		# Another architecture needs only one suite: one index less that
		# a mirror may have out of step.
		archs=$PIN_ARCH
		[ "$suite" != "$PIN_SUITE" ] || archs=$ROOT_ARCHS
		printf 'deb [signed-by=%s arch=%s] %s %s main\n' \
			"$KEYRING" "$archs" "$MIRROR" "$suite"
	done >"$APT_SOURCES"
	APT_CONF=$dir/apt.conf
	{
		# The host's proxies, timeouts and validity checks, with timeouts
		# and retries where it has none.
		apt-config dump Acquire | grep '^Acquire::.*"' |
			grep -v '^Acquire::\(Allow\|Changelogs\|CompressionTypes\|GzipIndexes\|IndexTargets\|Languages\|cdrom\)' || true
		apt-config dump Acquire::http::Timeout | grep -q . ||
			echo 'Acquire::http::Timeout "30"; Acquire::https::Timeout "30";'
		apt-config dump Acquire::Retries | grep -q . || echo 'Acquire::Retries "3";'
		echo 'Acquire::Languages "none";'
		echo 'APT::Update::Error-Mode "any";'
		# Credentials for the mirror, if the host has some.
		echo 'Dir::Etc::netrc "/etc/apt/auth.conf";'
		echo 'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";'
		# User _apt cannot read the cache in root's home.
		echo 'APT::Sandbox::User "root";'
	} >"$APT_CONF"
	APT_OPTS=(-c "$APT_CONF"
		-o "Dir::Etc::sourcelist=$APT_SOURCES" -o Dir::Etc::sourceparts=-
		-o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=-
		-o "Dir::State::lists=$dir/lists" -o Dir::State::status=/dev/null
		-o "Dir::Cache=$dir" -o "APT::Architecture=$PIN_ARCH"
		-o "APT::Architectures=$ROOT_ARCHS")
}

# Fetch and check the indices of the pinned suites.
apt_update() {
	timeout -k 5 300 apt-get "${APT_OPTS[@]}" -qq update
}

# host_tool COMMAND PACKAGE: install PACKAGE on the host, unless it has COMMAND.
host_tool() {
	command -v "$1" >/dev/null && return 0
	step "install $2 on this machine" host_install "$2" ||
		die "apt-get install $2 failed (see above): install it by hand, then start again"
}

host_install() {
	export DEBIAN_FRONTEND=noninteractive
	timeout -k 5 300 apt-get -qq update &&
		timeout -k 5 600 apt-get -qq install -y --no-install-recommends "$1"
}
