#!/bin/sh
# Does every test that a document names in the last column of its tables exist in the file it is named
# with, and does that file run it? Prints what is missing, and nothing when all is well.
# Usage: sh tests/conformance.sh table.md
cd "$(dirname "$0")/.." || exit 1
table=$1
missing=$(
    # In the last column of each row: `file.c` once, then its tests.
    grep '^| [0-9]' "$table" | awk -F'|' '{print $(NF - 1)}' | while read -r cell; do
        file=
        tests=0
        for name in $(printf '%s\n' "$cell" | grep -o '`[^`]*`' | tr -d '`'); do
            case $name in
            *.c)
                file=tests/$name
                [ -e "$file" ] || file=socketio/tests/$name
                [ -e "$file" ] || file=cluster/tests/$name
                ;;
            *)
                tests=$((tests + 1))
                grep -q "^static void $name(void \*\*state)" "$file" 2>/dev/null ||
                    echo "$table: no test $name in ${file:-no file}"
                grep -qE "(cmocka_unit_test|[A-Z]*TEST)\($name\)|^#include \"${file%.c}[.]list\"" "$file" 2>/dev/null ||
                    echo "$table: $name is not run by ${file:-no file}"
                ;;
            esac
        done
        [ "$tests" -gt 0 ] || echo "$table: a row without a test: $cell"
    done
)
rows=$(grep -c '^| [0-9]' "$table")
[ "$rows" -gt 0 ] || missing="$table: no rows"
[ -z "$missing" ] && exit 0
printf '%s\n' "$missing"
exit 1
