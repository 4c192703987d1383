#!/bin/sh
# Does docs/security.md name every function of the product that takes memory? Prints what is missing, and
# nothing when all is well.
# Usage: sh tests/allocations.sh
cd "$(dirname "$0")/.." || exit 1
takers='malloc|calloc|realloc|strdup|block_new|block_resize|account_new|account_resize|account_spare'
takers="$takers|ws_account_take|ws_account_resize|buf_reserve|buf_append|ws_timer_new|ws_timer_start|ws_post|ws_prepare"
missing=$(
    for file in *.c program/*.c cluster/*.c socketio/*.c; do
        awk -v takers="(^|[^a-z_])($takers)[(]" '
            /^[a-z].*[(]/ && !/;$/ { name = $0; sub(/[(].*/, "", name); sub(/.*[ *]/, "", name) }
            { sub(/\/\*.*/, "") }
            /^[ \t]/ && $0 ~ takers { print name }
        ' "$file" | sort -u | while read -r name; do
            grep -q "^| [0-9].*\`$name()\`" docs/security.md ||
                echo "docs/security.md: does not tell of $name() in $file"
        done
    done
)
[ -z "$missing" ] && exit 0
printf '%s\n' "$missing"
exit 1
