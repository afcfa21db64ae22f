#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# shellcheck disable=SC2181	# the status is looked at beside what was written
#
# Unmodified programs of Debian's with their heap on the node, by cdmrun: their output
# is what it is without, the heap is on the node, and nothing was copied.

tools=/lab/tools
work=/tmp/cdmrun
count=0
failed=0

# check NAME: after a condition.
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

# placed FILE LEAST: what cdmrun said there: at least that many bytes were placed, none
# copied.
placed() {
	sed 's/^/# /' "$1"
	pattern='^cdmrun: .*: \([0-9]*\) bytes placed, [0-9]* there at the end, [0-9]* in system memory, \([0-9]*\) copied$'
	bytes=$(sed -n "s/$pattern/\1/p" "$1")
	copied=$(sed -n "s/$pattern/\2/p" "$1")
	[ -n "$bytes" ] && [ "$bytes" -ge "$2" ] && [ "$copied" = 0 ]
}

# both NAME LEAST PROGRAM...: with and without, on the same input, if there is one.
both() {
	name=$1 least=$2
	shift 2
	"$@" <"$input" >$work/plain 2>$work/errors
	[ $? -eq 0 ] && [ -s $work/plain ]
	check "$name runs by itself"
	$tools/cdmrun "$@" <"$input" >$work/placed 2>$work/report
	[ $? -eq 0 ] && cmp $work/plain $work/placed
	check "$name has the same output"
	placed $work/report "$least"
	check "$name has its heap on the node, and nothing copied"
}

echo "TAP version 13"
echo "1..20"
mkdir -p $work
tar -C / -xf /lab/userland.tar
chmod +x $tools/cdmrun
# A file that takes some memory to work on.
i=0
while [ $i -lt 40 ]; do
	cat /proc/kallsyms
	i=$((i + 1))
done | head -c 3000000 >$work/text
input=$work/text

both sort 2000000 /usr/bin/sort -k 3
both xz 8000000 /usr/bin/xz -T 1 -3 -c
cat >$work/words.py <<'EOF'
import collections, sys
words = collections.Counter(sys.stdin.read().split())
tree = [{"word": w, "count": [n] * 10} for w, n in sorted(words.items())]
for entry in tree[::97]:
    print(entry["word"], sum(entry["count"]))
EOF
both python 4000000 /usr/bin/python3.13 -I -S $work/words.py

# A child mirrors itself, and the program's status is what one gets.
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
    # What the child writes to of its parent is copied.
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

# More than the node has: the rest is the system's.
room=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
$tools/cdmrun --node 1 /usr/bin/python3.13 -I -S -c '
blocks = [bytearray(b"y" * (4 << 20)) for i in range(12)]
print(sum(b[-1] for b in blocks))' >$work/placed 2>$work/report
[ "$(cat $work/placed)" = 1452 ]
check "a full node fails nobody ($room MiB of RAM)"
grep -q 'there at the end, [1-9][0-9]* in system memory' $work/report && placed $work/report 1000000
check "what does not fit is in system memory"

# What is larger than the node is left alone, or one reservation would take all of it.
$tools/cdmrun --node 1 /usr/bin/python3.13 -I -S -c '
space = bytearray(512 << 20)
block = bytearray(b"y" * (4 << 20))
print(space[-1] + block[-1])' >$work/placed 2>$work/report
system=$(sed -n 's/.* \([0-9]*\) in system memory.*/\1/p' $work/report)
[ "$(cat $work/placed)" = 121 ] && placed $work/report 4000000 && [ "$system" -lt 1000000 ]
check "a reservation does not take the node"
$tools/cdmrun --node 9 /usr/bin/sort </dev/null 2>$work/report
[ $? -eq 0 ] && grep -q '/dev/hmm_cdm9: No such file or directory' $work/report
check "no such node is said, and fails nobody"
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
# So large that only the program's own mappings of that size count.
$tools/cdmrun --min-size 1G /usr/bin/sort -k 3 <$work/text 2>$work/report >/dev/null
grep -q ': 0 bytes placed' $work/report
check "--min-size leaves what is smaller"
rm -rf $work
exit $((failed > 0))
