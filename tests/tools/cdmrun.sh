#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# shellcheck disable=SC2181	# the status is looked at beside what was written
#
# Unmodified programs of Debian under cdmrun: their output is unchanged, their heap is on
# the node until they end, and nothing was copied.

tools=/lab/tools
work=/tmp/cdmrun
count=0
failed=0
# Upper bound of system memory in any program: data of libraries, stacks of threads.
small=1000000

# check NAME: reports the status of the command before it.
check() {
	status=$?
	count=$((count + 1))
	if [ $status -eq 0 ]; then
		echo "ok $count $1"
	else
		echo "not ok $count $1"
		failed=$((failed + 1))
	fi
}

# told FILE: sets placed, node, system and copied to the bytes that cdmrun reported there.
told() {
	pattern='^cdmrun: .*: \([0-9]*\) bytes placed, \([0-9]*\) there at the end, \([0-9]*\) in system memory, \([0-9]*\) copied$'
	sed 's/^/# /' "$1"
	# shellcheck disable=SC2046	# four words
	set -- $(sed -n "s/$pattern/\1 \2 \3 \4/p" "$1")
	placed=${1:-0} node=${2:-0} system=${3:-0} copied=${4:-none}
	[ $# -eq 4 ]
}

# resides FILE LEAST MOST: at its end the program had at least LEAST bytes on the node and
# at most MOST in system memory, and nothing was copied.
resides() {
	told "$1" && [ "$placed" -ge "$node" ] && [ "$node" -ge "$2" ] &&
		[ "$system" -le "$3" ] && [ "$copied" = 0 ]
}

# both NAME LEAST PART PROGRAM...: runs PROGRAM without and with cdmrun on the same input.
# LEAST is for resides; PART percent of what was placed have to be there at the end.
both() {
	name=$1 least=$2 part=$3
	shift 3
	"$@" <"$input" >$work/plain 2>$work/errors
	[ $? -eq 0 ] && [ -s $work/plain ]
	check "$name runs by itself"
	$tools/cdmrun "$@" <"$input" >$work/placed 2>$work/report
	[ $? -eq 0 ] && cmp $work/plain $work/placed
	check "$name has the same output"
	resides $work/report "$least" $small && [ $((node * 100)) -ge $((placed * part)) ]
	check "$name has its heap on the node at its end, and nothing copied"
}

echo "TAP version 13"
echo "1..34"
mkdir -p $work
tar -C / -xf /lab/userland.tar
chmod +x $tools/cdmrun $tools/cdmrun-heap
# Input that takes some memory to work on.
i=0
while [ $i -lt 40 ]; do
	cat /proc/kallsyms
	i=$((i + 1))
done | head -c 3000000 >$work/text
input=$work/text

both sort 2000000 95 /usr/bin/sort -k 3
both xz 8000000 95 /usr/bin/xz -T 1 -3 -c
cat >$work/words.py <<'EOF'
import collections, sys
words = collections.Counter(sys.stdin.read().split())
tree = [{"word": w, "count": [n] * 10} for w, n in sorted(words.items())]
for entry in tree[::97]:
    print(entry["word"], sum(entry["count"]))
EOF
# Python unmaps some of its own mappings.
both python 4000000 20 /usr/bin/python3.13 -I -S $work/words.py

# Each way to allocate memory, in a C++ program that queries where its pages are.
heap=$tools/cdmrun-heap
ways="malloc calloc realloc new mmap mprotect mremap madvise again"
$heap >$work/plain 2>$work/errors &&
	[ "$(awk '$2 == 0 && $3 > 0' $work/plain | wc -l)" = "$(echo "$ways" | wc -w)" ]
check "a program in C++ has nothing on the node by itself"
$tools/cdmrun $heap >$work/placed 2>$work/report
check "a program in C++ runs"
sed 's/^/# /' $work/placed
resides $work/report 60000000 $small
check "a program in C++ has what it holds on the node at its end"
for way in $ways; do
	awk -v way="$way" '$1 == way && $3 > 0 && $2 == $3 { found = 1 } END { exit !found }' \
		$work/placed
	check "$way: all pages on the node from the first touch on"
done

# Freed memory is kept, so eight allocations are placed once ...
$tools/cdmrun $heap again >$work/placed 2>$work/report
[ $? -eq 0 ] && resides $work/report 16000000 $small && [ "$placed" -lt 100000000 ]
check "what is freed and asked for again is not placed again"
# ... and if the user wants it returned to the kernel, each time.
MALLOC_CONF=dirty_decay_ms:0 $tools/cdmrun $heap again >$work/placed 2>$work/report
[ $? -eq 0 ] && awk '{ exit !($3 > 0 && $2 == $3) }' $work/placed &&
	resides $work/report 16000000 $small && [ "$placed" -ge 200000000 ]
check "what is given back to the kernel and asked for again is on the node"

# A child has its own mirror; cdmrun exits with the status of the program.
$tools/cdmrun /usr/bin/python3.13 -I -S -c '
import os
def system_pages():
    # Pages of the node are in none of its columns.
    words = open("/proc/self/numa_maps").read().split()
    parts = [w.split("=") for w in words if w[0] == "N" and w[1:2].isdigit()]
    return sum(int(n) for node, n in parts)
big = bytearray(8 << 20)
pid = os.fork()
if pid == 0:
    before = system_pages()
    more = bytearray(b"x" * (8 << 20))
    # Pages of the parent that the child writes to are copied.
    if system_pages() - before > (4 << 20) // os.sysconf("SC_PAGESIZE"):
        os._exit(2)
    os._exit(7 if more[-1] == 120 and big[-1] == 0 else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))' 2>$work/report
[ $? -eq 7 ]
check "fork: the child has its memory on the node; the status of the program"
$tools/cdmrun --quiet /usr/bin/python3.13 -I -S -c 'import os; os.kill(os.getpid(), 15)' \
	2>$work/report
[ $? -eq 143 ] && ! grep -q cdmrun $work/report
check "a signal, and nothing said with --quiet"

# Four blocks more than the second node holds: the rest is in system memory.
available=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
# shellcheck disable=SC2086	# a list of START+SIZE@NODE
set -- $CDM_REGIONS
size=${2#*+}
blocks=$((${size%@*} / (4 << 20) + 4))
$tools/cdmrun --node 1 /usr/bin/python3.13 -I -S -c '
import sys
blocks = [bytearray(b"y" * (4 << 20)) for i in range(int(sys.argv[1]))]
print(sum(b[-1] for b in blocks))' $blocks >$work/placed 2>$work/report
[ "$(cat $work/placed)" = $((121 * blocks)) ]
check "no program fails on a full node ($available MiB of RAM)"
resides $work/report 1000000 100000000 && [ "$system" -ge 1000000 ]
check "what does not fit is in system memory"

# Mappings larger than the node are left alone: one reservation would take all of it.
$tools/cdmrun /usr/bin/python3.13 -I -S -c '
space = bytearray(512 << 20)
block = bytearray(b"y" * (4 << 20))
print(space[-1] + block[-1])' >$work/placed 2>$work/report
[ "$(cat $work/placed)" = 121 ] && resides $work/report 4000000 600000000 &&
	[ "$placed" -lt 100000000 ]
check "a reservation does not take the node"
$tools/cdmrun --node 9 /usr/bin/sort </dev/null 2>$work/report
[ $? -eq 0 ] && grep -q '/dev/hmm_cdm9: No such file or directory' $work/report
check "a node that does not exist is reported, and no program fails"
$tools/cdmrun /no/such/program 2>$work/report
[ $? -eq 127 ] && grep -q 'not found' $work/report
check "no such program"
$tools/cdmrun /bin/busybox true 2>$work/report
[ $? -eq 126 ] && grep -q statically $work/report
check "a program that is linked statically is refused"
cp /usr/bin/sort $work/setuid && chmod 4755 $work/setuid
$tools/cdmrun $work/setuid </dev/null 2>$work/report
[ $? -eq 126 ] && grep -q setuid $work/report
check "a setuid program is refused"
$tools/cdmrun --min-size 12X /usr/bin/sort </dev/null 2>$work/report
[ $? -eq 2 ] && grep -q "'12X' is not a number of bytes" $work/report
check "a size that is none"
# Larger than any mapping of the program.
$tools/cdmrun --min-size 1G /usr/bin/sort -k 3 <$work/text 2>$work/report >/dev/null
grep -q ': 0 bytes placed' $work/report
check "--min-size leaves what is smaller"
rm -rf $work
exit $((failed > 0))
