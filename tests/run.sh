#!/bin/sh
# Run the test programs, JOBS at once since most of them wait most of the time, show the output of
# those that fail, and add up what cmocka counted. A fuzzer gets the inputs that are kept for it, and
# counts them in the same way.
# Usage: [RUN=valgrind] [JOBS=N] sh tests/run.sh PROGRAM...     RUN: what runs the programs
if [ "$1" != --one ]; then
    passed=0
    failed=0
    for program; do rm -f "$program.count"; done
    printf '%s\n' "$@" | xargs -P "${JOBS:-$(nproc)}" -n 1 sh "$0" --one
    for program; do
        p=0
        f=1 # where the shell that ran it was killed
        [ ! -f "$program.count" ] || read -r p f <"$program.count"
        passed=$((passed + p))
        failed=$((failed + f))
    done
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
fi

program=$2
log=$program.log
inputs=
case $program in
*/fuzz_*)
    inputs=$(find tests/fuzz socketio/tests/fuzz cluster/tests/fuzz -type f \
        -path "*/regression/${program##*/fuzz_}/*")
    ;;
esac
# shellcheck disable=SC2086 # nothing when there are none, or several words
$RUN "$program" $inputs >"$log" 2>&1
status=$?
p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | head -n 1)
f=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$log" | head -n 1)
p=${p:-0}
f=${f:-0}
# A crash, or a run without a count, is a failure even when nothing says so.
if [ "$status" -ne 0 ] && [ "$f" -eq 0 ] || [ $((p + f)) -eq 0 ]; then
    f=$((f + 1))
fi
echo "$p $f" >"$program.count"
printf '%-40s %4d passed, %d failed\n' "$program" "$p" "$f"
if [ "$f" -ne 0 ]; then
    grep -v '^\[ RUN\|^\[       OK' "$log"
fi
exit 0
