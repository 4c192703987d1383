#!/bin/sh
# Stop with one line when a program, or a header (a name that ends in .h), is missing.
# shellcheck disable=SC2086 # CC may be several words
# Usage: CC=cc sh tests/need.sh WHOSE NAME...     `make WHOSE` would install it
whose=$1
shift
missing=
for name; do
    case $name in
    *.h) echo "#include <$name>" | ${CC:-cc} -E - >/dev/null 2>&1 ;;
    *) command -v "$name" >/dev/null ;;
    esac || missing="$missing $name"
done
[ -z "$missing" ] && exit 0
echo "missing here:$missing; \`make $whose\` installs what is needed" >&2
exit 1
