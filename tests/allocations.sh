#!/bin/sh
# Which functions of the product take memory? Prints "file.c function" for each.
# Usage: sh tests/allocations.sh
cd "$(dirname "$0")/.." || exit 1
takers='malloc|calloc|realloc|strdup|block_new|block_resize|account_new|account_resize|account_spare'
takers="$takers|ws_account_take|ws_account_resize|buf_reserve|buf_append|ws_timer_new|ws_timer_start|ws_post|ws_freeze"
for file in *.c socketio/*.c; do
    awk -v takers="(^|[^a-z_])($takers)[(]" -v file="$file" '
        /^[a-z].*[(]/ && !/;$/ { name = $0; sub(/[(].*/, "", name); sub(/.*[ *]/, "", name) }
        /^[ \t]/ && $0 ~ takers && !(file name in seen) { seen[file name] = 1; print file, name }
    ' "$file"
done
