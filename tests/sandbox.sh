#!/bin/sh
# Is the list of system calls in docs/security.md as short as it says? Runs the tests of the program under strace, on
# each program given, and looks at what it calls once its filter is active. A row that says "yes" must have been seen
# with one of them; a row that says "no" must not, else it should say "yes".
# Usage: TEST=build/test/test_minnow sh tests/sandbox.sh PROGRAM...
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program; do
    mkdir "$work/calls"
    printf '#!/bin/sh\nexec strace -D -qq -o "%s/calls/$$" "%s" "$@"\n' "$work" "$(realpath "$program")" >"$work/traced"
    chmod +x "$work/traced"
    # Under strace a test may fail that leaves the program only a few descriptors: strace has none then.
    MINNOW=$work/traced "$TEST" >"$work/log" 2>&1
    awk 'FNR == 1 { inside = 0 } inside; /^seccomp\(SECCOMP_SET_MODE_FILTER/ { inside = 1 }' "$work"/calls/* >"$work/one"
    [ "$(grep -c '^exit_group(' "$work/one")" -gt 0 ] || {
        echo "sandbox: strace saw nothing of $program" >&2
        cat "$work/log" >&2
        exit 1
    }
    cat "$work/one" >>"$work/seen"
    rm -r "$work/calls"
done
wrong=$(
    sed -n '/^## The sandbox/,/^## Attacks/p' docs/security.md | grep '^| [0-9]' |
        while IFS='|' read -r _ number call arguments _ traced _; do
            case $arguments in
            *EINVAL*) ;;
            ' F_'* | ' MADV_'*) call="$call.*${arguments# }" ;;
            esac
            pattern="^$(printf '%s' "$call" | sed 's/^ *\([a-z0-9_]*\) */\1(/; s/ *$//')"
            case $arguments$traced in
            *EINVAL*) ;; # the same call is in another row, or never made
            *' yes ') grep -q "$pattern" "$work/seen" || echo "row$number: $pattern was never called" ;;
            *) grep -q "$pattern" "$work/seen" && echo "row$number: $pattern was called" ;;
            esac
        done
)
[ -z "$wrong" ] || printf 'docs/security.md: %s\n' "$wrong" >&2
[ -z "$wrong" ]
