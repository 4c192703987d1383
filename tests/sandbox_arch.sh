#!/bin/sh
# Does a program for another machine make only the system calls that docs/security.md lists? qemu-user emulates that
# machine, but no seccomp: the list is not enforced there. So this runs the tests of the program and compares what it
# calls, from the moment when it asks for its filter, with the list. Names alone: of arguments qemu shows too little.
# Usage: TEST=build/test/test_minnow sh tests/sandbox_arch.sh EMULATOR PROGRAM
cd "$(dirname "$0")/.." || exit 1
emulator=$1
program=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/calls"
printf '#!/bin/sh\nexec %s -strace -D "%s/calls/$$" "%s" "$@"\n' "$emulator" "$work" "$program" >"$work/traced"
chmod +x "$work/traced"
# Some tests fail: they look at the filter itself, or leave the program too few descriptors for the emulator.
MINNOW=$work/traced "$TEST" >"$work/log" 2>&1
awk 'FNR == 1 { inside = 0 } inside; / seccomp\(1,/ { inside = 1 }' "$work"/calls/* |
    sed -n 's/^[0-9]* \([a-z0-9_]*\)(.*/\1/p; s/^[0-9]* Unknown syscall \([0-9]*\).*/number_\1/p' |
    sort | uniq -c >"$work/seen"
# `ppoll` stands beside poll, in the same row.
sed -n '/^## The sandbox/,/^## Attacks/s/^| [0-9]* | \([a-z0-9_]*\) |.*/\1/p' docs/security.md >"$work/allowed"
echo ppoll >>"$work/allowed"
for call in epoll_pwait accept4 recvfrom sendto close exit_group; do
    grep -qw "$call" "$work/seen" || { echo "sandbox_arch: $call was never called" >&2; cat "$work/log" >&2; exit 1; }
done
awk 'NR == FNR { allowed[$1] = 1; next }
     { calls += $1; names++ }
     !($2 in allowed) { printf "sandbox_arch: %s is called, and is not in docs/security.md\n", $2; wrong = 1 }
     END { printf "%d calls of %d names\n", calls, names; exit wrong }' "$work/allowed" "$work/seen"
