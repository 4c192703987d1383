#!/bin/sh
# Silent when everything is fine, else one line for each complaint. `make lint` calls it.
# Usage: OBJECTS=build/packed LISTS=build/test PURE="sha1 ..." CORE="$PURE ws ..." LIBRARY="$CORE ..." \
#     sh tests/lint.sh
# shellcheck disable=SC2086 # lists of words on purpose: paths have no spaces, and that is a rule
sources=$(git ls-files '*.c') || exit 1
headers=$(git ls-files '*.h') || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Format, and a limit of 60 lines for a function among the rest of .clang-tidy.
clang-tidy --list-checks -- 2>&1 | grep 'error:' >>"$log"
clang-format --dry-run --Werror $sources $headers 2>&1 | grep -E '(error|warning):' >>"$log"
echo "$sources" | xargs -P 2 -n 1 sh -c \
    'clang-tidy --quiet "$0" -- -std=c11 -D_GNU_SOURCE -I. -I"$LISTS" 2>/dev/null' |
    grep -E '(error|warning):' | sort -u >>"$log"
cppcheck --quiet -j 2 --std=c11 --language=c -D_GNU_SOURCE -I. --inline-suppr \
    --enable=warning,performance,portability --suppress=missingIncludeSystem \
    --suppress=uninitvar --suppress=legacyUninitvar \
    --template='{file}:{line}: {severity}: {message} [{id}]' $sources 2>>"$log"

# 100 columns for comments, too, which clang-format leaves alone.
LC_ALL=C.UTF-8 grep -nE '^.{101}' $sources $headers | sed 's/^\([^:]*:[0-9]*\):.*/\1: over 100 columns/' >>"$log"

# 120 for the prose of documents. Tables and what programs print may be wider.
git ls-files '*.md' | xargs awk '
    FNR == 1 { printed = 0 }
    /^ *```/ { printed = !printed }
    !printed && !/^(\||    )/ { print FILENAME ":" FNR ":" $0 }' |
    LC_ALL=C.UTF-8 grep -E '^[^:]*:[0-9]*:.{121}' | sed 's/^\([^:]*:[0-9]*\):.*/\1: over 120 columns/' >>"$log"

# Pure files know no descriptor and no clock: of C what computes, memory, and each other. block.c
# asks the system for memory alone.
names() { echo "$@" | tr ' ' '|'; }
for name in $PURE cluster/resp cluster/redis_url; do echo "$name.c $name.h"; done |
    xargs grep -HnE '^ *# *include' ./*avx2.h |
    grep -vE '<(assert|limits|std[a-z]*|strings?|immintrin)\.h>' |
    grep -vE "\"(\.\./)?($(names $PURE block ws_protocol avx2 utf8_avx2 unmask_avx2 resp redis_url))\.h\"" |
    sed 's/$/: not in a pure file/' >>"$log"

# Calls go one way.
sh tests/layers.sh "$OBJECTS" $LIBRARY >>"$log"

# An application may compile the core as one file: no two of its files use a name for two things.
for name in $CORE; do echo "#include \"$name.c\""; done |
    ${CC:-cc} -x c -std=c11 -D_GNU_SOURCE -I. -fsyntax-only - 2>&1 | grep 'error:' >>"$log"

# Programs, cluster/ and socketio/ stand on the public header alone.
git ls-files 'program/*.[ch]' 'examples/*.[ch]' 'cluster/*.[ch]' 'socketio/*.[ch]' |
    xargs grep -HnE "^ *# *include *\"(\.\./)*($(names $CORE))\.h\"" |
    grep -vE '"(\.\./)*ws(_str)?\.h"' |
    sed 's/$/: of the core only ws.h may be included here/' >>"$log"

# What `make install` installs serves C++ as well, from C++11 on.
for header in ws.h cluster/bus.h cluster/bus_redis.h cluster/bus_local.h cluster/bus_hub.h cluster/bus_link.h cluster/ws_cluster.h socketio/sio.h socketio/sio_cluster.h \
    socketio/engineio.h socketio/json.h; do
    echo "#include \"$header\"" |
        clang -x c++ -std=c++11 -Wall -Wextra -Wpedantic -fsyntax-only -I. - 2>&1 |
        grep -E '(error|warning):' >>"$log"
    grep -q '^extern "C"' $header || echo "$header: no extern \"C\"" >>"$log"
done

sed "s|^$(pwd)/||; s|^\./||" "$log"
[ ! -s "$log" ]
