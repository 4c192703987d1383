#!/bin/sh
# Do calls go one way? Reads the symbols of objects with nm: each object may call those before it in
# the list, and none behind it. Prints one line for each call that goes the wrong way.
# Usage: sh tests/layers.sh DIRECTORY name ...     lowest first, objects in DIRECTORY
directory=$1
shift
for name; do
    [ -e "$directory/$name.o" ] || { echo "tests/layers.sh: no $directory/$name.o" && exit 1; }
done
for name; do
    nm --extern-only --format=posix "$directory/$name.o" | sed "s|^|$name |"
done | awk '
    !($1 in rank) { rank[$1] = ++count }
    $3 == "U" { used[++uses] = $2; user[uses] = $1; next }
    { owner[$2] = $1 }
    END {
        for (i = 1; i <= uses; i++) {
            callee = owner[used[i]]
            if (callee != "" && rank[callee] > rank[user[i]]) {
                printf "%s.c calls %s() of %s.c, which stands above it\n", user[i], used[i], callee
                wrong = 1
            }
        }
        exit wrong
    }'
